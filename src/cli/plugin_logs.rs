//! `mo-router plugin logs`

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value as Json;
use tokio::time::Instant;

use super::client::Router;
use super::output::{Format, remark};
use crate::escape::escaped;
use crate::plugins::check_name;
use crate::settings::Settings;

/// How long the router waits for a line before it says that there is none: well below what an
/// answer may take.
const WAIT: Duration = Duration::from_secs(5);

/// The pause before a router is asked again that did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Whose lines to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plugin's name
    name: String,
    /// Go on with lines as they are logged, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Begin with the last N lines [default: all that the router still has]
    #[arg(long, short = 'n', value_name = "N")]
    lines: Option<usize>,
    #[command(flatten)]
    router: Router,
}

/// Prints the newest lines of a plugin's log, and those that follow.
///
/// # Errors
/// No router answers, or it has not loaded the plugin.
pub async fn run(args: Args, settings: &Settings, format: Format) -> Result<()> {
    check_name(&args.name)?;
    let mut answer = ask(&args, settings, 0, Duration::ZERO).await?;
    let mut skip = match args.lines {
        Some(lines) => lines_of(&answer).len().saturating_sub(lines),
        None => 0,
    };
    let mut shown = 0;
    loop {
        let missed = answer["missed"].as_u64().unwrap_or(0);
        if missed > 0 && (shown > 0 || args.lines.is_none()) {
            remark(format_args!("{missed} earlier lines are no longer kept"));
        }
        for line in lines_of(&answer).iter().skip(std::mem::take(&mut skip)) {
            format.print(line, text(line))?;
        }
        if let Some(last) = lines_of(&answer).last() {
            shown = last["number"].as_u64().unwrap_or(shown);
        }
        if !args.follow {
            return Ok(());
        }
        let next = next(&args, settings, shown).await;
        if next["since"] != answer["since"] {
            // Another router, or one that was restarted: it counts anew.
            shown = 0;
            answer = next_of_another(&args, settings).await;
        } else {
            answer = next;
        }
    }
}

/// The next lines. While the router does not answer, waits until it does.
async fn next(args: &Args, settings: &Settings, after: u64) -> Json {
    let mut told = false;
    loop {
        let asked = Instant::now();
        match ask(args, settings, after, WAIT).await {
            // One in which nobody waited for a line: there is no seat for that.
            Ok(answer) if lines_of(&answer).is_empty() && asked.elapsed() < AGAIN => {
                tokio::time::sleep(AGAIN).await;
                return answer;
            }
            Ok(answer) => return answer,
            Err(error) if !told => {
                told = true;
                remark(format_args!("waiting for the router: {error:#}"));
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// All lines of a router that has just been found.
async fn next_of_another(args: &Args, settings: &Settings) -> Json {
    remark("the router was restarted");
    next(args, settings, 0).await
}

async fn ask(args: &Args, settings: &Settings, after: u64, wait: Duration) -> Result<Json> {
    let (name, wait) = (&args.name, wait.as_millis());
    let path = format!("plugins/{name}/logs?after={after}&wait={wait}");
    let answer = args.router.get(settings, &path).await?;
    serde_json::from_str(&answer).context("the answer is no log: is this the router's address?")
}

fn lines_of(answer: &Json) -> &[Json] {
    answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A line for people: when, how bad, about which event, what.
fn text(line: &Json) -> String {
    let of = |value: &Json| match value {
        Json::String(text) => escaped(text).into_owned(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let event = &line["event"];
    let about = match event {
        Json::Null => "not in an event".to_owned(),
        event => {
            let attempt = event["attempt"].as_u64().unwrap_or(1);
            let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            format!("{} {}{again}", of(&event["routing_key"]), of(&event["uuid"]))
        }
    };
    let context = of(&line["context"]);
    let context = if context.is_empty() { context } else { format!("{context}: ") };
    format!(
        "{} {:<5} [{about}] {context}{}",
        of(&line["time"]),
        of(&line["level"]),
        of(&line["message"])
    )
}
