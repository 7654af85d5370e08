//! `mo-router status`

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};
use serde_json::Value as Json;

use super::print;
use crate::settings::Settings;

/// How long the router may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which router.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The router's HTTP address [default: [http] listen]
    #[arg(long)]
    address: Option<SocketAddr>,
}

/// Shows what the running router says of itself.
pub async fn run(args: Args, settings: &Settings, json: bool) -> Result<()> {
    let address = args.address.unwrap_or(settings.http.listen);
    let status = fetch(address).await?;
    if json {
        print(&status)?;
        return Ok(());
    }
    print(format_args!(
        "mo-router {}, up since {}, {}; {} delayed, the next is due {}; {} dead letters",
        text(&status["version"]),
        text(&status["since"]),
        if status["ready"] == true { "ready" } else { "not ready" },
        text(&status["delayed"]),
        text(&status["next_due"]),
        text(&status["dead_letters"]),
    ))?;
    print_plugins(&status["plugins"])
}

/// Prints the plugins as a table, and below it what is wrong with which.
pub fn print_plugins(plugins: &Json) -> Result<()> {
    let plugins = plugins.as_array().map(Vec::as_slice).unwrap_or_default();
    const COLUMNS: [&str; 9] = [
        "name",
        "version",
        "state",
        "rate",
        "received",
        "published",
        "failures",
        "dead",
        "backlog",
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(COLUMNS.map(str::to_uppercase));
    for plugin in plugins {
        table.add_row(COLUMNS.map(|column| text(&plugin[column])));
    }
    print(&table)?;
    for plugin in plugins {
        for (what, key) in [("", "reason"), ("stale: ", "stale"), ("last error: ", "last_error")] {
            if !plugin[key].is_null() {
                print(format_args!("{}: {what}{}", text(&plugin["name"]), text(&plugin[key])))?;
            }
        }
    }
    Ok(())
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Asks the router at an address for its status.
///
/// # Errors
/// Nobody answers there.
pub async fn fetch(address: SocketAddr) -> Result<Json> {
    let status = ask(address, "status", |agent, url| agent.get(url).call()).await?;
    serde_json::from_str(&status).context("the answer is no status: is that the router's address?")
}

/// Tells the router at an address to do something; gives what it says to that.
///
/// # Errors
/// Nobody answers there, or the router refuses.
pub async fn post(address: SocketAddr, path: &str) -> Result<String> {
    ask(address, path, |agent, url| agent.post(url).send_empty()).await
}

async fn ask(
    address: SocketAddr,
    path: &str,
    call: impl FnOnce(&ureq::Agent, &str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>
    + Send
    + 'static,
) -> Result<String> {
    let url = format!("http://{address}/{path}");
    tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .into();
        let mut answer = call(&agent, &url).with_context(|| {
            format!("no router answers at {url}: is it running, with this [http] listen?")
        })?;
        let text = answer.body_mut().read_to_string().with_context(|| format!("reading {url}"))?;
        match answer.status().is_success() {
            true => Ok(text),
            false => bail!("{}", text.trim_end()),
        }
    })
    .await?
}
