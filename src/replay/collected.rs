//! What one plugin makes of a script, all of it.

use anyhow::Result;
use tracing::{debug, info};

use super::{Output, Script, Stage};
use crate::plugins::{Codegen, PluginFile};
use crate::settings::Settings;

/// What came of a script.
pub struct Collected<T> {
    /// What was made of the outputs, in the order in which they came.
    pub outputs: Vec<T>,
    /// The topic patterns of the events that the plugin gets.
    pub subscriptions: Vec<String>,
}

/// Plays a script with one plugin, and keeps what `of` makes of each output.
///
/// With [`Codegen::Baseline`] the answer comes sooner and is the same. Where that code could make a
/// difference, since it is slower, takes more stack, or cannot be made, it is left to the code that
/// the router runs.
///
/// # Errors
/// The plugin does not load.
pub async fn collect<T>(
    settings: &Settings,
    source: &PluginFile,
    script: Script<'_>,
    codegen: Codegen,
    of: impl Fn(Output) -> T,
) -> Result<Collected<T>> {
    if codegen == Codegen::Baseline {
        let played = played(settings, source, script, codegen, &of).await;
        match played {
            Ok((collected, false)) => return Ok(collected),
            Ok((_, true)) => info!(plugin = source.name, "once more, with optimised code"),
            // What is wrong with the plugin itself is wrong with the other code too.
            Err(error) => debug!(plugin = source.name, "not with baseline code: {error:#}"),
        }
    }
    let (collected, _) = played(settings, source, script, Codegen::Optimised, &of).await?;
    Ok(collected)
}

/// What came of the script, and whether the plugin was stopped for its time or its stack.
async fn played<T>(
    settings: &Settings,
    source: &PluginFile,
    script: Script<'_>,
    codegen: Codegen,
    of: impl Fn(Output) -> T,
) -> Result<(Collected<T>, bool)> {
    let stage = Stage::of(settings.clone(), source.clone(), codegen).await?;
    let subscriptions = stage.subscriptions().map(str::to_owned).collect();
    let mut outputs = Vec::new();
    let is_stopped = stage.play(script, &mut |output| outputs.push(of(output))).await;
    Ok((Collected { outputs, subscriptions }, is_stopped))
}
