//! `mo-router check`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::connect;
use super::output::{Format, exit_code};
use crate::clock::Clock;
use crate::escape::escaped;
use crate::plugins::{Change, Folder, Host};
use crate::settings::Settings;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also try to reach the broker and MO, with the rights that run needs; changes nothing
    #[arg(long)]
    connect: bool,
}

/// Shows where settings come from and what may surprise about them, and loads every plugin in
/// the folder with its settings. That they are valid has been checked by reading them.
pub async fn run(args: &Args, settings: Settings, format: Format) -> Result<ExitCode> {
    show_settings(&settings, format)?;
    let host = Arc::new(Host::of_program(settings.cache_dir(), Clock::system())?);
    let mut passed = true;
    let changes = Folder::read(&settings.plugins.dir)?;
    // Compiling takes seconds in some languages.
    let progress = ProgressBar::new(changes.len() as u64)
        .with_style(ProgressStyle::with_template("{spinner} {msg} ({pos} of {len})")?);
    progress.enable_steady_tick(Duration::from_millis(100));
    for change in changes {
        progress.inc(1);
        let (name, checked) = match change {
            Change::Present(source) => {
                let name = source.name.clone();
                progress.set_message(format!("checking {}", escaped(&name)));
                let loaded = host.load(source, &settings.of_plugin(&name)).await;
                (name, loaded.map_err(|error| format!("{error:#}")))
            }
            Change::Unusable { name, path, reason } => {
                let reason = format!("plugin {name} ({}): {reason}", path.display());
                (name, Err(reason))
            }
            Change::Gone { .. } => continue,
        };
        passed &= checked.is_ok();
        progress.suspend(|| match checked {
            Ok(plugin) => {
                let (version, subscriptions) = (&plugin.version, &plugin.subscriptions);
                format.print(
                    &json!({ "plugin": name, "version": version, "subscriptions": subscriptions }),
                    format_args!("ok     {name}: version {version}, {subscriptions:?}"),
                )
            }
            Err(reason) => format.print(
                &json!({ "plugin": name, "wrong": reason }),
                format_args!("wrong  {reason}"),
            ),
        })?;
    }
    progress.finish_and_clear();
    if args.connect {
        passed &= connect::run(&settings, format).await?;
    }
    Ok(exit_code(passed))
}

/// Which settings the environment sets, and what may surprise about them.
fn show_settings(settings: &Settings, format: Format) -> Result<()> {
    for (key, variable) in &settings.origins.variables {
        format.print(
            &json!({ "setting": key, "set_by": variable }),
            format_args!("set    {key} by {variable}"),
        )?;
    }
    for warning in settings.warnings() {
        format.print(&json!({ "warning": warning }), format_args!("warn   {warning}"))?;
    }
    Ok(())
}
