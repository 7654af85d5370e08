//! `mo-router plugin test`

pub(super) mod cases;
mod difference;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};

use self::cases::{Case, CaseFile};
use super::output::exit_code;
use super::output::{Format, print};
use crate::escape::escaped;
use crate::plugins::{Codegen, PluginFile, is_plugin_file};
use crate::replay::{Collected, NotSubscribed, Output, Script, collect};
use crate::settings::Settings;

/// What to test.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Plugin file, or folder of plugins
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    path: PathBuf,
}

/// Runs the cases next to each plugin, on a virtual clock. The exit status says
/// whether all of them passed.
///
/// # Errors
/// There are no plugins or no cases, or one of them cannot be read.
pub async fn run(args: Args, settings: &Settings, format: Format) -> Result<ExitCode> {
    let (mut run, mut passed) = (0, 0);
    for file in plugins(&args.path)? {
        let source = PluginFile::read(&file)?;
        for cases in cases::for_plugin(&file) {
            let cases = CaseFile::read(&cases)?;
            let settings = cases.settings(settings, &source.name)?;
            for case in cases.cases() {
                let played = play(&settings, &source, case, Codegen::Optimised).await?;
                run += 1;
                passed += u32::from(played.passed());
                show(&source.name, case, &played, format)?;
            }
        }
    }
    if run == 0 {
        bail!(
            "no cases for {}: put them next to the plugin's file, as NAME.cases.toml or \
             NAME.cases.json",
            args.path.display()
        );
    }
    if format == Format::Text {
        print(format_args!("{passed} of {run} cases passed"))?;
    }
    Ok(exit_code(passed == run))
}

/// The plugins of a folder, and those in its build folder.
pub(super) fn plugins(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut plugins = Vec::new();
    for dir in [path.to_owned(), path.join(cases::BUILD)] {
        if dir != path && !dir.is_dir() {
            continue;
        }
        let unreadable = || format!("reading {}", dir.display());
        for entry in fs::read_dir(&dir).with_context(unreadable)? {
            let file = entry.with_context(unreadable)?.path();
            if is_plugin_file(&file) {
                plugins.push(file);
            }
        }
    }
    plugins.sort();
    if plugins.is_empty() {
        bail!("no plugin file (.wasm, .wat) in {}: build it first", path.display());
    }
    Ok(plugins)
}

/// What came of a case.
pub(super) struct Played {
    /// How it differs from what was expected, for people; none if it does not.
    difference: Option<String>,
    /// What left.
    pub(super) published: Vec<Json>,
    /// The events that the plugin did not get.
    not_subscribed: Vec<NotSubscribed>,
    /// The topic patterns of those that it gets.
    subscriptions: Vec<String>,
}

impl Played {
    pub(super) fn passed(&self) -> bool {
        self.difference.is_none()
    }
}

/// Plays a case, with the settings of its file.
///
/// # Errors
/// The plugin does not load, an event cannot be read, or a setting is none.
pub(super) async fn play(
    settings: &Settings,
    source: &PluginFile,
    case: &Case,
    codegen: Codegen,
) -> Result<Played> {
    let settings = case.settings(settings, &source.name)?;
    let (lines, attempts) = case.events();
    let script = Script { lines: &lines, at: case.at, attempts: &attempts };
    let Collected { outputs, subscriptions } =
        collect(&settings, source, script, codegen, |output| output).await?;
    let (mut published, mut problems, mut not_subscribed) = (Vec::new(), Vec::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Line(line) => published.push(line.to_json()),
            Output::Problem(problem) => problems.push(problem),
            Output::NotSubscribed(event) => not_subscribed.push(event),
        }
    }
    if let [problem, ..] = &problems[..] {
        bail!("case {:?}: an event cannot be read, {problem}", case.name);
    }
    let difference = difference::between(&case.publishes, &published);
    Ok(Played { difference, published, not_subscribed, subscriptions })
}

/// Shows whether a case passed, and if not, what is different.
pub(super) fn show(plugin: &str, case: &Case, played: &Played, format: Format) -> Result<()> {
    let name = &case.name;
    let mut line = json!({ "plugin": plugin, "case": name, "passed": played.passed() });
    let mut text = match &played.difference {
        None => format!("ok    {plugin}: {name}"),
        Some(difference) => {
            line["expected"] = case.publishes.clone().into();
            line["published"] = played.published.clone().into();
            format!("FAIL  {plugin}: {name}\n{}", difference.trim_end())
        }
    };
    for NotSubscribed { number, routing_key } in &played.not_subscribed {
        let patterns = match &played.subscriptions[..] {
            [] => "nothing".to_owned(),
            patterns => patterns.join(", "),
        };
        text += &format!(
            "\n      event {number} ({}) never reaches the plugin, which subscribes to {}",
            escaped(routing_key),
            escaped(&patterns)
        );
    }
    let not_subscribed = played.not_subscribed.iter();
    let not_subscribed: Vec<Json> = not_subscribed
        .map(|event| json!({ "event": event.number, "routing_key": event.routing_key }))
        .collect();
    if !not_subscribed.is_empty() {
        line["not_subscribed"] = not_subscribed.into();
        line["subscriptions"] = played.subscriptions.clone().into();
    }
    format.print(&line, text)
}
