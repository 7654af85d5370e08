//! `mo-router status`

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value as Json;

use super::client::Router;
use super::output::{Format, table};
use crate::escape::escaped;
use crate::health::Code;
use crate::settings::Settings;

/// What a router that is not ready is reported with.
const NOT_READY: u8 = 3;

/// Shows the state of the running router. The exit status says whether it is ready.
pub async fn run(router: &Router, settings: &Settings, format: Format) -> Result<ExitCode> {
    let status = router.status(settings).await?;
    let summary = format!(
        "mo-router {}, up since {}, {}; {} delayed ({} overdue), the next is due {}; {} dead letters",
        text(&status["version"]),
        text(&status["since"]),
        if status["ready"] == true { "ready" } else { "not ready" },
        text(&status["delayed"]),
        text(&status["overdue"]),
        text(&status["next_due"]),
        text(&status["dead_letters"]),
    );
    let reasons = status["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_told = |code: &Json| {
        let told = Code::ALL.into_iter().filter(|code| code.is_only_told());
        told.into_iter().any(|told| *code == told.as_str())
    };
    let reasons: String = reasons
        .iter()
        .map(|reason| {
            let prefix = if is_told(&reason["code"]) { "note" } else { "not ready" };
            format!("{prefix}: {}: {}\n", text(&reason["code"]), text(&reason["text"]))
        })
        .collect();
    let mo = &status["mo"];
    let bridge = match &mo["bridging"] {
        Json::Bool(true) => format!("bridge to MO: {}\n", text(&mo["events"])),
        Json::Bool(false) => "bridge to MO: another router, or not yet\n".to_owned(),
        _ => String::new(),
    };
    let plugins = plugins(&status["plugins"]);
    format.print(&status, format_args!("{summary}\n{reasons}{bridge}{plugins}"))?;
    Ok(if status["ready"] == true { ExitCode::SUCCESS } else { ExitCode::from(NOT_READY) })
}

/// Lists the plugins of the running router.
pub async fn list_plugins(router: &Router, settings: &Settings, format: Format) -> Result<()> {
    let status = router.status(settings).await?;
    format.print(&status["plugins"], plugins(&status["plugins"]))
}

/// The plugins as a table, and below it what is wrong with them.
fn plugins(plugins: &Json) -> String {
    let plugins = plugins.as_array().map(Vec::as_slice).unwrap_or_default();
    // deploy/mo-delay-agent/switch.sh, which may rely on POSIX's tools alone and so reads no JSON,
    // takes the first column for the name, the last for the backlog, and looks for the state.
    const COLUMNS: [&str; 11] = [
        "name",
        "version",
        "build",
        "interface",
        "state",
        "rate",
        "received",
        "published",
        "failures",
        "dead",
        "backlog",
    ];
    let mut table = table();
    table.set_header(COLUMNS.map(str::to_uppercase));
    for plugin in plugins {
        table.add_row(COLUMNS.map(|column| match column {
            "build" => build(&plugin["metadata"]),
            column => text(&plugin[column]),
        }));
    }
    let mut lines = vec![table.to_string()];
    for plugin in plugins {
        for (what, key) in [("", "reason"), ("stale: ", "stale"), ("last error: ", "last_error")] {
            if !plugin[key].is_null() {
                lines.push(format!("{}: {what}{}", text(&plugin["name"]), text(&plugin[key])));
            }
        }
    }
    lines.join("\n")
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => escaped(text).into_owned(),
        other => other.to_string(),
    }
}

/// What a plugin's file says of which build it is: its version, and the commit with its first
/// digits.
fn build(metadata: &Json) -> String {
    let version = metadata["version"].as_str().unwrap_or_default();
    let revision = metadata["revision"].as_str().unwrap_or_default();
    let (commit, rest) = revision.split_at(revision.find('-').unwrap_or(revision.len()));
    let commit: String = commit.chars().take(12).collect();
    escaped(format!("{version} {commit}{rest}").trim()).into_owned()
}
