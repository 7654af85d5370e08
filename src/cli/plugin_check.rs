//! `mo-router plugin check`

mod pace;
mod samples;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use bytesize::ByteSize;
use serde::Serialize;

use self::pace::Pace;
use super::output::{Format, exit_code};
use crate::clock::Clock;
use crate::escape::escaped;
use crate::event::{Datetime, Failure};
use crate::plugins::{
    Codegen, Description, Host, INTERFACE_VERSIONS, Kind, Plugin, PluginFile, is_granted,
};
use crate::router::Version;
use crate::router::core::answer;
use crate::settings::Settings;

/// Which file to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plugin's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
}

/// What there is to say about a file.
#[derive(Debug, Default, Serialize)]
struct Report {
    file: PathBuf,
    /// Bytes.
    size: usize,
    kind: Option<&'static str>,
    /// The version of os2mo:router that it was built against.
    interface: Option<String>,
    imports: Vec<Import>,
    /// Why it does not load.
    wrong: Option<String>,
    loaded: Option<Loaded>,
    samples: Vec<SampleResult>,
    /// How long calls take; none if every sample breaks it.
    pace: Option<Pace>,
    /// What would be slow, and what to do about it.
    slow: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Import {
    name: String,
    granted: bool,
}

#[derive(Debug, Serialize)]
struct Loaded {
    version: String,
    subscriptions: Vec<String>,
    /// How long it took to get the compiled code, in milliseconds.
    compile_ms: u128,
    /// Whether the code came from the cache.
    cached: bool,
}

/// What the plugin did with a sample event.
#[derive(Debug, Serialize)]
struct SampleResult {
    what: String,
    routing_key: String,
    /// Whether the plugin subscribes to the key. The sample is tried in any case.
    subscribed: bool,
    outcome: SampleOutcome,
}

/// What came of a sample event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum SampleOutcome {
    /// How many publications.
    Publishes(usize),
    /// The plugin's own decision.
    Retry(String),
    /// The plugin's own decision.
    Reject(String),
    /// A publication is not allowed: a grant is missing, for example.
    Stuck(String),
    /// It trapped, or exceeded a limit.
    Broken(String),
}

/// Checks a file, with the settings of the plugin of its name. The exit status says
/// whether it loads and survives every sample that it subscribes to.
///
/// # Errors
/// The file cannot be read.
pub async fn run(args: Args, settings: &Settings, format: Format) -> Result<ExitCode> {
    let report = report(&args.file, settings).await?;
    format.print(&report, &report)?;
    let breaks = |sample: &SampleResult| {
        sample.subscribed && matches!(sample.outcome, SampleOutcome::Broken(_))
    };
    let survived = !report.samples.iter().any(breaks);
    Ok(exit_code(report.wrong.is_none() && survived))
}

async fn report(file: &Path, settings: &Settings) -> Result<Report> {
    let source = PluginFile::read(file)?;
    let mut report =
        Report { file: file.to_owned(), size: source.content().len(), ..Report::default() };
    let host = Arc::new(
        Host::of_program(settings.cache_dir(), Clock::system(), Codegen::Optimised).await?,
    );
    let own = Arc::new(settings.of_plugin(&source.name));
    if let Ok(Description { kind, interface }) = host.describe(&source, &own.limits).await {
        report.kind = Some(describe(kind));
        report.interface = interface.version().map(|version| version.to_string());
        let import = |name: String| Import { granted: is_granted(&name), name };
        report.imports = interface.imports.into_iter().map(import).collect();
    }
    let loaded_as = host.load(source, &own).await;
    match loaded_as.map(|plugin| Version { plugin, settings: own }) {
        Err(error) => report.wrong = Some(format!("{error:#}")),
        Ok(version) => {
            report.loaded = Some(loaded(&version.plugin));
            report.samples = try_samples(&version, settings).await;
            report.pace = pace::measure(&version, settings, &report.samples).await;
            report.slow = pace::warnings(&version, report.pace.as_ref());
        }
    }
    Ok(report)
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Component => "a component",
        Kind::Module => "a core module with component type information",
    }
}

fn loaded(plugin: &Plugin) -> Loaded {
    Loaded {
        version: plugin.version.clone(),
        subscriptions: plugin.subscriptions.clone(),
        compile_ms: plugin.compile_time.as_millis(),
        cached: plugin.cached,
    }
}

async fn try_samples(version: &Version, settings: &Settings) -> Vec<SampleResult> {
    let mut instance = version.plugin.instance();
    let mut tried = Vec::new();
    for sample in samples::samples(settings, version.subscriptions()) {
        let event = sample.event;
        let answered = instance.route(&event, sample.attempt).await;
        let author = version.author(&settings.amqp.output_exchange);
        let routing_key = event.message.routing_key.clone();
        let outcome = match answered {
            Ok(publications) => match answer::plan(&author, event, publications, Datetime::now()) {
                Ok(planned) => SampleOutcome::Publishes(planned.len()),
                Err(rejected) => SampleOutcome::Stuck(rejected.reason),
            },
            Err(Failure::Retry(reason)) => SampleOutcome::Retry(reason),
            Err(Failure::Reject(reason)) => SampleOutcome::Reject(reason),
            Err(Failure::Broken(reason, _)) => SampleOutcome::Broken(reason),
        };
        let subscribed = version.subscribes_to(&routing_key);
        tried.push(SampleResult { what: sample.what, routing_key, subscribed, outcome });
    }
    tried
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.unwrap_or("no plugin");
        write!(f, "{}: {kind}, {}", self.file.display(), ByteSize(self.size as u64))?;
        let mut line = |heading: &str, text: &str| write!(f, "\n  {heading:<14} {}", escaped(text));
        if let Some(version) = &self.interface {
            line(
                "interface",
                &format!(
                    "os2mo:router@{version}; this router speaks {}",
                    INTERFACE_VERSIONS.map(|version| version.to_string()).join(" and ")
                ),
            )?;
        }
        let (wasi, others): (Vec<&Import>, Vec<&Import>) =
            self.imports.iter().partition(|import| import.granted && is_plain_wasi(&import.name));
        for import in others {
            let remark = if import.granted { "" } else { "  NOT GRANTED" };
            line("imports", &format!("{}{remark}", import.name))?;
        }
        if !wasi.is_empty() {
            let grants = "clocks and randomness work, nothing else is granted";
            line("imports", &format!("WASI 0.2, {} interfaces: {grants}", wasi.len()))?;
        }
        if let Some(reason) = &self.wrong {
            line("WRONG", reason)?;
        }
        if let Some(loaded) = &self.loaded {
            let cached = if loaded.cached { ", from the cache" } else { "" };
            line("version", &loaded.version)?;
            line("subscribes to", &loaded.subscriptions.join("  "))?;
            line("compiled in", &format!("{} ms{cached}", loaded.compile_ms))?;
        }
        if let Some(pace) = &self.pace {
            line("a call takes", &pace.to_string())?;
        }
        for warning in &self.slow {
            line("SLOW", warning)?;
        }
        for sample in &self.samples {
            let unasked = if sample.subscribed { "" } else { " (not subscribed)" };
            line(
                &format!("{:<46}", escaped(&sample.what)),
                &format!("{}{unasked}", outcome(&sample.outcome)),
            )?;
        }
        Ok(())
    }
}

/// Whether an import is part of WASI 0.2, all of which languages' runtimes import.
fn is_plain_wasi(import: &str) -> bool {
    import.starts_with("wasi:") && import.contains("@0.2.") && !import.starts_with("wasi:config")
}

fn outcome(outcome: &SampleOutcome) -> String {
    match outcome {
        SampleOutcome::Publishes(0) => "drops it".to_owned(),
        SampleOutcome::Publishes(1) => "publishes 1 message".to_owned(),
        SampleOutcome::Publishes(number) => format!("publishes {number} messages"),
        SampleOutcome::Retry(reason) => format!("retry: {reason}"),
        SampleOutcome::Reject(reason) => format!("rejects it: {reason}"),
        SampleOutcome::Stuck(reason) => format!("a dead letter: {reason}"),
        SampleOutcome::Broken(reason) => format!("BREAKS: {reason}"),
    }
}
