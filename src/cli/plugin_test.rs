//! `mo-router plugin test`

mod cases;
mod difference;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};

use self::cases::{Case, CaseFile};
use super::output::exit_code;
use super::output::{Format, print};
use crate::plugins::{PluginFile, is_plugin_file};
use crate::replay::{Output, Stage};
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
            let settings = cases.settings(settings, &source.name);
            for case in cases.cases() {
                let difference = play(&settings, &source, case).await?;
                run += 1;
                passed += u32::from(difference.is_none());
                show(&source.name, case, difference, format)?;
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

/// Plays a case. None if it passed.
async fn play(settings: &Settings, source: &PluginFile, case: &Case) -> Result<Option<Difference>> {
    let stage = Stage::of(settings.clone(), vec![source.clone()]).await?;
    let mut published = Vec::new();
    let mut problems = Vec::new();
    let mut take = |output| match output {
        Output::Line(line) => published.push(line.to_json()),
        Output::Problem(problem) => problems.push(problem),
    };
    stage.play(&case.lines(), case.at, &mut take).await;
    if let [problem, ..] = &problems[..] {
        bail!("case {:?}: an event cannot be read, {problem}", case.name);
    }
    let text = difference::between(&case.publishes, &published);
    Ok(text.map(|text| Difference { text, published }))
}

/// How a case failed.
struct Difference {
    /// For people.
    text: String,
    published: Vec<Json>,
}

/// Shows whether a case passed, and if not, what is different.
fn show(plugin: &str, case: &Case, difference: Option<Difference>, format: Format) -> Result<()> {
    let name = &case.name;
    let mut line = json!({ "plugin": plugin, "case": name, "passed": difference.is_none() });
    let Some(Difference { text, published }) = difference else {
        return format.print(&line, format_args!("ok    {plugin}: {name}"));
    };
    line["expected"] = case.publishes.clone().into();
    line["published"] = published.into();
    format.print(&line, format_args!("FAIL  {plugin}: {name}\n{}", text.trim_end()))
}
