//! `mo-router replay`

pub(super) mod difference;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use self::difference::Answer;
use super::output::{Format, print, remark};
use crate::event::Datetime;
use crate::plugins::{Codegen, PluginFile};
use crate::replay::{Output, Script, Stage, collect};
use crate::settings::Settings;

/// What to replay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events in JSON Lines, as `tail --record` writes them
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// What time it is at the start, for events that do not say when they were
    /// received [default: 1970-01-01T00:00:00Z, so that nothing is past]
    #[arg(long, value_name = "TIME")]
    at: Option<Datetime>,
    /// Show what two versions of a plugin do differently, instead of what the
    /// folder's plugins do; both have the name and the settings of OLD
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], value_hint = clap::ValueHint::FilePath)]
    diff: Vec<PathBuf>,
}

/// Prints what would leave the router, in the order in which it would; or how
/// that differs between two versions, which the exit status tells too.
///
/// # Errors
/// The file cannot be read, or a plugin does not load.
pub async fn run(args: Args, settings: Settings, format: Format) -> Result<ExitCode> {
    let file = &args.file;
    let events =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    match &args.diff[..] {
        [old, new] => compare(&args, &events, [old, new], &settings, format).await,
        _ => show(&args, &events, settings).await,
    }
}

/// Plays the events through the plugins of the folder.
async fn show(args: &Args, events: &str, settings: Settings) -> Result<ExitCode> {
    let stage = Stage::of_folder(settings).await?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    let script = Script { lines: events, at: args.at, ..Script::default() };
    stage
        .play(script, &mut |output| match output {
            Output::Line(line) if written.is_ok() => {
                written = writeln!(out, "{}", line);
            }
            // That an event concerns nobody is the usual case.
            Output::Line(_) | Output::NotSubscribed(_) => {}
            Output::Problem(problem) => report(args, &problem),
        })
        .await;
    written?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Plays the events through two versions of a plugin.
async fn compare(
    args: &Args,
    events: &str,
    [old, new]: [&Path; 2],
    settings: &Settings,
    format: Format,
) -> Result<ExitCode> {
    let before = PluginFile::read(old)?;
    // Under one name they have the same settings, and messages the same ids.
    let mut after = PluginFile::read(new)?;
    after.name.clone_from(&before.name);
    let script = Script { lines: events, at: args.at, ..Script::default() };
    let wrong = |problem: &str| report(args, problem);
    let lines = play(settings, &before, script, Codegen::Optimised, wrong).await?;
    // What cannot be read has been reported.
    let other = play(settings, &after, script, Codegen::Optimised, |_| {}).await?;
    let difference = match format {
        Format::Json => difference::as_json(&lines, &other),
        Format::Text => difference::unified([old, new], [&lines, &other]),
    };
    if difference.is_empty() {
        remark(format_args!("no difference in {} lines", lines.len()));
        return Ok(ExitCode::SUCCESS);
    }
    print(difference.trim_end())?;
    Ok(ExitCode::FAILURE)
}

/// Collects what one plugin does with the events.
pub(super) async fn play(
    settings: &Settings,
    source: &PluginFile,
    script: Script<'_>,
    codegen: Codegen,
    report: impl Fn(&str),
) -> Result<Vec<Answer>> {
    // A second try must not report what the first has.
    let of = |output| match output {
        Output::Line(line) => Some(Ok(Answer::from(&line))),
        Output::Problem(problem) => Some(Err(problem)),
        Output::NotSubscribed(_) => None,
    };
    let outputs = collect(settings, source, script, codegen, of).await?.outputs;
    let answers = outputs.into_iter().flatten();
    Ok(answers.filter_map(|answer| answer.map_err(|problem| report(&problem)).ok()).collect())
}

fn report(args: &Args, problem: &str) {
    remark(format_args!("{}, {problem}", args.file.display()));
}
