//! `mo-router plugin test`

mod cases;
mod difference;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};

use self::cases::{Case, CaseFile};
use super::print;
use crate::plugins::PluginFile;
use crate::replay::{Output, Stage};
use crate::settings::Settings;

/// What to test.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A plugin's file, or a folder of plugins
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    path: PathBuf,
}

/// Runs the cases that lie beside each plugin, on a virtual clock. The exit
/// status tells whether all of them came out as expected.
///
/// # Errors
/// There are no plugins or no cases, or one of them cannot be read.
pub async fn run(args: Args, settings: &Settings, json: bool) -> Result<ExitCode> {
    let (mut run, mut passed) = (0, 0);
    for file in plugins(&args.path)? {
        let source = PluginFile::read(&file)?;
        for cases in cases::beside(&file) {
            let cases = CaseFile::read(&cases)?;
            let settings = cases.settings(settings, &source.name);
            for case in cases.cases() {
                let difference = play(&settings, &source, case).await?;
                run += 1;
                passed += u32::from(difference.is_none());
                print(result(&source.name, case, difference.as_ref(), json))?;
            }
        }
    }
    if run == 0 {
        bail!(
            "no cases for {}: put them beside the plugin's file, as NAME.cases.toml or \
             NAME.cases.json",
            args.path.display()
        );
    }
    if !json {
        print(format_args!("{passed} of {run} cases passed"))?;
    }
    Ok(if passed == run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plugins of a folder: those in it, and those that were built in it.
fn plugins(path: &Path) -> Result<Vec<PathBuf>> {
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
            if file.extension().is_some_and(|ending| ending == "wasm" || ending == "wat") {
                plugins.push(file);
            }
        }
    }
    plugins.sort();
    if plugins.is_empty() {
        bail!("no plugin's file (.wasm, .wat) in {}: build it first", path.display());
    }
    Ok(plugins)
}

/// Plays a case. None if it came out as expected.
async fn play(settings: &Settings, source: &PluginFile, case: &Case) -> Result<Option<Difference>> {
    let stage = Stage::of(settings.clone(), vec![source.clone()]).await?;
    let mut published = Vec::new();
    let mut problems = Vec::new();
    let mut take = |output| match output {
        Output::Line(line) => published.push(line),
        Output::Problem(problem) => problems.push(problem),
    };
    stage.play(&case.lines(), case.at, &mut take).await;
    if let [problem, ..] = &problems[..] {
        bail!("case {:?}: an event cannot be read, {problem}", case.name);
    }
    let text = difference::between(&case.publishes, &published);
    Ok(text.map(|text| Difference { text, published }))
}

/// How a case came out otherwise than expected.
struct Difference {
    /// For people.
    text: String,
    published: Vec<Json>,
}

/// How a case came out, on a line, with what is different below it.
fn result(plugin: &str, case: &Case, difference: Option<&Difference>, json: bool) -> String {
    let name = &case.name;
    if json {
        let mut line = json!({ "plugin": plugin, "case": name, "passed": difference.is_none() });
        if let Some(difference) = difference {
            line["expected"] = case.publishes.clone().into();
            line["published"] = difference.published.clone().into();
        }
        return line.to_string();
    }
    match difference {
        None => format!("ok    {plugin}: {name}"),
        Some(difference) => format!("FAIL  {plugin}: {name}\n{}", difference.text.trim_end()),
    }
}
