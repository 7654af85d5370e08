//! `mo-router plugin dev`

mod next;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::process::Command;
use tokio::time::Instant;

use self::next::Next;
use self::sources::Sources;
use super::output::{Format, print};
use super::plugin_test::cases::{self, CaseFile};
use super::plugin_test::{play, plugins, show};
use super::replay;
use super::replay::difference::{self, Answer};
use crate::plugins::{Codegen, PluginFile};
use crate::replay::Script;
use crate::settings::Settings;

/// How often the sources are looked at. A change is acted on when nothing has changed in
/// between: an editor may write several files.
const LOOK: Duration = Duration::from_millis(100);

/// Tells the build that what comes out is tried at once and then replaced: it may leave out what makes
/// it fast. `make` of a project in Zig does.
const SOON: &str = "PLUGIN_DEV";

/// How what comes out is compiled: soon, for the same reason.
const CODEGEN: Codegen = Codegen::Baseline;

/// The recorded events of a project, if it has any.
const RECORDING: &str = "events.jsonl";

/// What to build and try.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plugin's project
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
    /// Recorded events to play after the cases, as for replay [default: events.jsonl in DIR, if it
    /// exists]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    events: Option<PathBuf>,
    /// What builds the plugin, for the shell, in DIR [default: make, if there is a Makefile]
    #[arg(long, value_name = "COMMAND")]
    build: Option<String>,
}

/// What the plugins answered, by what they were asked: a case, or the recording.
type Answers = BTreeMap<String, Vec<Answer>>;

/// Builds and tries the project, again with every change, until interrupted.
///
/// # Errors
/// The folder cannot be read, or standard output cannot be written. A build or a test that fails
/// is shown, and the next change waited for.
pub async fn run(args: Args, settings: &Settings, format: Format) -> Result<()> {
    if !args.dir.is_dir() {
        bail!("{} is no folder: give the plugin's project", args.dir.display());
    }
    let mut before = None;
    let mut next = Next::default();
    let mut is_outdated = false;
    loop {
        let known = beside(&args);
        let tried = Sources::read(&args.dir, &known)?;
        match attempt(&args, settings, before.as_ref(), format).await {
            Ok(Some(answers)) => before = Some(answers),
            Ok(None) => {}
            Err(error) if is_of_output(&error) => return Err(error),
            Err(error) => {
                format.print(&json!({ "error": format!("{error:#}") }), format!("{error:#}"))?;
            }
        }
        let now = Sources::read(&args.dir, &known)?;
        // What changed meanwhile was perhaps not built. But a build may write sources itself,
        // again and again: that is no reason to build another time.
        if now != tried && !std::mem::replace(&mut is_outdated, true) {
            continue;
        }
        is_outdated = false;
        let (now, all) = match beside(&args) {
            all if all == known => (now, all),
            all => (Sources::read(&args.dir, &all)?, all),
        };
        if format == Format::Text {
            let named = match all.len() > args.events.iter().len() {
                true => format!(", and in what {} names", beside_file().display()),
                false => String::new(),
            };
            print(format_args!("waiting for a change in {}{named}\n", args.dir.display()))?;
        }
        // No command of a folder is run unless its build is.
        if build_command(&args).is_some()
            && let Err(error) = next.begin(&args.dir).await
        {
            super::output::remark(format_args!("{error:#}"));
        }
        now.changed(&args.dir, &all, LOOK).await?;
    }
}

/// Where a build names the files and folders outside of the project that the plugin is made of, a
/// line each.
fn beside_file() -> PathBuf {
    Path::new(cases::BUILD).join("beside")
}

/// What is watched besides the project: the recorded events, and what its build says that the plugin
/// is made of. That is known once there was a build.
fn beside(args: &Args) -> Vec<PathBuf> {
    let built = std::fs::read_to_string(args.dir.join(beside_file())).unwrap_or_default();
    args.events.iter().cloned().chain(built.lines().map(|path| args.dir.join(path))).collect()
}

/// Whether standard output could not be written. What is read is named with its error.
fn is_of_output(error: &anyhow::Error) -> bool {
    error.is::<std::io::Error>() && error.chain().len() == 1
}

/// Builds, loads and tries once. Gives the answers; none if the build failed.
async fn attempt(
    args: &Args,
    settings: &Settings,
    before: Option<&Answers>,
    format: Format,
) -> Result<Option<Answers>> {
    let begun = Instant::now();
    if !build(args, format).await? {
        return Ok(None);
    }
    let built = begun.elapsed();
    let mut tried = Tried { answers: Answers::new(), cases: 0, passed: 0 };
    for file in plugins(&args.dir)? {
        tried.plugin(args, settings, &file, format).await?;
    }
    let changed = show_changes(before, &tried.answers, format)?;
    let [built, total] = [built, begun.elapsed()].map(|took| took.as_secs_f64());
    let Tried { answers, cases, passed } = tried;
    let count: usize = answers.values().map(Vec::len).sum();
    let change = match (before, changed) {
        (None, _) => format!("{count} answers"),
        (Some(_), 0) => format!("no answer of {count} changed since the last build"),
        (Some(_), 1) => "answers changed in 1 place".to_owned(),
        (Some(_), changed) => format!("answers changed in {changed} places"),
    };
    format.print(
        &json!({ "built": true, "cases": cases, "passed": passed, "answers": count, "changed": changed, "seconds": total }),
        format!("{passed} of {cases} cases passed; {change}; built in {built:.1} s, all in {total:.1} s"),
    )?;
    Ok(Some(answers))
}

/// What builds the project, for the shell.
fn build_command(args: &Args) -> Option<&str> {
    let has = |name: &&str| args.dir.join(name).exists();
    let makefiles = ["Makefile", "makefile", "GNUmakefile"];
    args.build.as_deref().or_else(|| makefiles.iter().any(has).then_some("make"))
}

/// Builds the project; tells whether that succeeded. What the build says goes to standard error.
async fn build(args: &Args, format: Format) -> Result<bool> {
    let Some(command) = build_command(args) else { return Ok(true) };
    Next::forget(&args.dir);
    let status = Command::new("sh")
        .args(["-c", command])
        .env(SOON, "1")
        .current_dir(&args.dir)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("cannot start the shell for {command:?}"))?;
    if !status.success() {
        let text = format!("the build failed: {command:?} ended with {status}");
        format.print(&json!({ "built": false, "error": text }), &text)?;
    }
    Ok(status.success())
}

/// What was tried of a build.
struct Tried {
    answers: Answers,
    cases: u32,
    passed: u32,
}

impl Tried {
    /// Tries one plugin: its cases, then the recorded events, with the settings of the first case
    /// file.
    async fn plugin(
        &mut self,
        args: &Args,
        settings: &Settings,
        file: &Path,
        format: Format,
    ) -> Result<()> {
        let source = PluginFile::read(file)?;
        let name = &source.name;
        let mut first = None;
        for file in cases::for_plugin(file) {
            let file = CaseFile::read(&file)?;
            let settings = file.settings(settings, name)?;
            for case in file.cases() {
                let played = play(&settings, &source, case, CODEGEN).await?;
                self.cases += 1;
                self.passed += u32::from(played.passed());
                show(name, case, &played, format)?;
                let answers = played.published.iter().map(Answer::from).collect();
                self.answers.insert(format!("{name}: {}", case.name), answers);
            }
            first.get_or_insert(settings);
        }
        let events = args.events.clone().unwrap_or_else(|| args.dir.join(RECORDING));
        if args.events.is_some() || events.exists() {
            let lines = std::fs::read_to_string(&events);
            let lines = lines.with_context(|| format!("reading {}", events.display()))?;
            let script = Script { lines: &lines, ..Script::default() };
            let settings = first.as_ref().unwrap_or(settings);
            let wrong = |problem: &str| {
                super::output::remark(format_args!("{}, {problem}", events.display()))
            };
            let answers = replay::play(settings, &source, script, CODEGEN, wrong).await?;
            self.answers.insert(format!("{name}: {}", events.display()), answers);
        }
        Ok(())
    }
}

/// What is answered otherwise than before, for machines.
#[derive(Serialize)]
struct Changed<'a> {
    /// What was asked.
    changed: &'a str,
    /// The lines that only one of them has.
    lines: Vec<Box<RawValue>>,
}

/// Shows what is answered otherwise than before; counts where. A case that is new has no
/// answers from before.
fn show_changes(before: Option<&Answers>, now: &Answers, format: Format) -> Result<usize> {
    let mut changed = 0;
    for (asked, now) in now {
        let Some(before) = before.and_then(|before| before.get(asked)) else { continue };
        let headers = [format!("{asked}, before"), format!("{asked}, now")];
        let unified =
            difference::unified([Path::new(&headers[0]), Path::new(&headers[1])], [before, now]);
        if unified.is_empty() {
            continue;
        }
        changed += 1;
        match format {
            Format::Text => print(unified.trim_end())?,
            Format::Json => {
                let lines = difference::as_json(before, now);
                let lines: Vec<Box<RawValue>> =
                    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
                format.print(&Changed { changed: asked, lines }, "")?;
            }
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_of_the_output_ends_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("p.cases.toml");
        std::fs::write(&file, b"\xff").unwrap();
        let Err(error) = CaseFile::read(&file) else { panic!("it is not UTF-8") };
        assert!(!is_of_output(&error), "{error:#}");
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_of_output(&closed.into()));
    }
}
