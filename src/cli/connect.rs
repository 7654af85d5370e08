//! `mo-router check --connect`: whether what the settings name can be reached.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::output::{Format, warn};
use crate::amqp::Broker;
use crate::amqp::topology::{self, Finding, Planned, PluginQueue};
use crate::delay::probe;
use crate::mo::{Client, Failure, Stats, documents};
use crate::settings::{self, Settings};

/// How long each may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long whoever has the HTTP address may take to say that it is a router.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// The token of no event, as MO writes them: acknowledging it does nothing.
const NO_EVENT: &str = "MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwLjAwMDAwMDAwLTAwMDAt\
                        MDAwMC0wMDAwLTAwMDAwMDAwMDAwMA==";

/// Tries what `run` will use with plugins of these names, and changes nothing. Says whether all of
/// it works.
///
/// # Errors
/// Standard output cannot be written.
pub async fn run(settings: &Settings, plugins: &[&str], format: Format) -> Result<bool> {
    let mut passed = true;
    if settings.amqp.enabled {
        match in_time(broker(settings, plugins)).await {
            Ok((found, overlooked)) => {
                if let Some(overlooked) = overlooked {
                    warn(&overlooked, format)?;
                }
                for finding in found {
                    passed &= show("broker", finding.map_err(Error::msg), format)?;
                }
            }
            Err(error) => passed &= show("broker", Err(error), format)?,
        }
    }
    let store = in_time(probe::reach(&settings.delay.store)).await;
    if let Some(reached) = store.transpose() {
        passed &= show("store", reached, format)?;
    }
    passed &= show("http", in_time(http(settings.http.listen)).await, format)?;
    if settings.mo.enabled {
        passed &= show("mo", in_time(mo(settings.mo.clone())).await, format)?;
    }
    Ok(passed)
}

fn show(what: &str, tried: Result<String>, format: Format) -> Result<bool> {
    match tried {
        Ok(text) => {
            format.print(&json!({ "connect": what, "ok": text }), format_args!("ok     {text}"))?;
            Ok(true)
        }
        Err(error) => {
            let text = format!("{what}: {error:#}");
            format
                .print(&json!({ "connect": what, "wrong": text }), format_args!("wrong  {text}"))?;
            Ok(false)
        }
    }
}

async fn in_time<T>(tried: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(TIMEOUT, tried)
        .await
        .with_context(|| format!("no answer within {TIMEOUT:?}"))?
}

/// Whether the broker can be reached, and what is there for the router to use; and what may have
/// been meant instead.
async fn broker(settings: &Settings, plugins: &[&str]) -> Result<(Vec<Finding>, Option<String>)> {
    let broker = Broker::new(settings.amqp.clone());
    let of_plugins: Vec<_> =
        plugins.iter().map(|&plugin| (plugin, settings.of_plugin(plugin))).collect();
    let planned: Vec<_> = of_plugins
        .iter()
        .map(|(plugin, own)| Planned {
            queue: PluginQueue {
                plugin,
                // No binding is looked at.
                subscriptions: &[],
                single_active_consumer: own.single_active_consumer,
            },
            exchanges: &own.exchanges,
        })
        .collect();
    let bridged = settings.mo.exchange.as_ref().unwrap_or(&settings.amqp.exchange);
    let bridged = settings.mo.enabled.then_some(bridged.as_str());
    let found = async {
        let overlooked = topology::overlooked(&broker).await?;
        Ok::<_, Error>((topology::inspect(&broker, &planned, bridged).await?, overlooked))
    };
    let found = found.await;
    broker.close().await;
    let (found, overlooked) = found?;
    let reached = Ok(format!("{} can be reached", settings.amqp.url));
    Ok((std::iter::once(reached).chain(found).collect(), overlooked))
}

/// Whether the address is free, or a router has it already.
async fn http(listen: SocketAddr) -> Result<String> {
    let Err(taken) = TcpListener::bind(listen).await else {
        return Ok(format!("{listen} is free for [http] listen"));
    };
    let asked = tokio::task::spawn_blocking(move || {
        let patient = ureq::Agent::config_builder().timeout_global(Some(INTRODUCTION)).build();
        let agent: ureq::Agent = patient.into();
        let mut answer = agent.get(format!("http://{listen}/healthz")).call().ok()?;
        answer.body_mut().read_to_string().ok()
    });
    match asked.await?.as_deref() {
        Some("alive\n") => Ok(format!("a router answers at {listen}, [http] listen")),
        _ => Err(taken).with_context(|| {
            format!("cannot listen on {listen}: set [http] listen or MO_ROUTER_HTTP_LISTEN")
        }),
    }
}

/// A listener in a namespace that does not exist, a fetch for one that does not, and the
/// acknowledgement of no event: MO asks for the same rights as for others.
async fn mo(settings: settings::Mo) -> Result<String> {
    let (url, version) = (settings.url.clone(), settings.api_version.clone());
    let client = Arc::new(Client::new(settings, Stats::default())?);
    match client.answer(documents::declare_nowhere()).await {
        Ok(_) | Err(Failure::Rejected(_)) => {}
        Err(failure) => return Err(failure.into()),
    }
    client.answer(documents::fetch(&[Uuid::nil()])).await?;
    client.answer(documents::acknowledge(&[NO_EVENT])).await?;
    let identity = client.identity().map_or("nobody in particular".to_owned(), |id| id.to_string());
    Ok(format!(
        "{url} can be reached, and lets {identity} declare listeners, fetch and acknowledge events by GraphQL {version}"
    ))
}
