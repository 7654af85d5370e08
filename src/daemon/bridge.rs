//! The bridge: MO's GraphQL events go to the source exchange, or without a broker to the plugins.
//!
//! Of several routers one is the bridge: whoever has a name at the broker. Duplicates are allowed,
//! loss is not; so what another router may have fetched and not acknowledged comes again when
//! this one takes over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Fleet;
use super::fleet::Subscriptions;
use super::supervisor::{STABLE, caught};
use crate::amqp::{BRIDGE, Broker, Claim, Outbox};
use crate::backoff::{Backoff, Policy};
use crate::clock::Clock;
use crate::event::{Incoming, Message, Outgoing};
use crate::health::{Code, Health};
use crate::mo::{Bridge, Client, Interest, Stats, Surroundings};
use crate::settings::Settings;
use crate::telemetry::{Beginning, Tracer};
use crate::transport::{self, Completed, Fate};

/// How often a router that is not the bridge tries to become it.
const TAKE_OVER: Duration = Duration::from_secs(2);
/// What is in trouble when this router cannot be the bridge.
const SUBJECT: &str = "mo bridge";
/// The pauses after the broker failed.
const PAUSES: Policy =
    Policy::new(Duration::from_millis(250), Duration::from_secs(10)).reset_after(STABLE);

/// What makes spans, if there are traces, and the time for them.
pub(super) type Traces = (Option<Tracer>, Clock);

/// What the bridge needs.
pub(super) struct Setup {
    client: Arc<Client>,
    exchange: String,
    keep: Duration,
    health: Health,
}

impl Setup {
    /// What the settings ask for; none if they ask for no bridge. Connects to nothing yet.
    ///
    /// # Errors
    /// `[mo] ca_file` cannot be read.
    pub(super) fn of(settings: &Settings, health: &Health, stats: &Stats) -> Result<Option<Self>> {
        if !settings.mo.enabled {
            return Ok(None);
        }
        let exchange = settings.mo.exchange.as_ref().unwrap_or(&settings.amqp.exchange).clone();
        Ok(Some(Self {
            client: Arc::new(Client::new(settings.mo.clone(), stats.clone())?),
            exchange,
            keep: settings.plugins.keep_queue,
            health: health.clone(),
        }))
    }

    /// Is the bridge, or waits to become it, until `stop` is cancelled.
    pub(super) async fn run(self, fleet: Arc<Fleet>, traces: Traces, stop: CancellationToken) {
        let Self { client, exchange, keep, health } = self;
        let stats = client.stats().clone();
        let mut bridge = Bridge::new(client, exchange, keep, health.clone());
        match fleet.broker().cloned() {
            Some(broker) => {
                let mut backoff = Backoff::new(PAUSES);
                while !stop.is_cancelled() {
                    let begun = tokio::time::Instant::now();
                    let turn =
                        caught(at_broker(&broker, &mut bridge, &fleet, &stats, &traces, &stop));
                    let ended = turn.await;
                    bridge.lose_sink();
                    if stats.read().bridging {
                        stats.bridging(false);
                        bridge.forget_troubles();
                    }
                    backoff.worked_for(begun.elapsed());
                    if let Err(error) = ended {
                        let text = format!("no events are fetched from MO: {error:#}");
                        health.report(Code::MoUnreachable, SUBJECT, &text);
                        let pause = tokio::time::sleep(backoff.next_pause());
                        stop.run_until_cancelled(pause).await;
                    }
                }
            }
            None => {
                info!("events come from MO's GraphQL, and go to the plugins of this router only");
                stats.bridging(true);
                let plugins = Plugins { fleet: Arc::clone(&fleet), given: FuturesUnordered::new() };
                let (tracer, clock) = traces;
                let mut sink = Beginning::new(plugins, tracer, clock);
                let around = Around { fleet, broker: None };
                while let Err(error) = caught(bridge.run(&mut sink, &around, &stop)).await {
                    info!("the bridge to MO is interrupted: {error:#}");
                    tokio::time::sleep(TAKE_OVER).await;
                }
            }
        }
    }
}

/// Waits to become the bridge, and is it until `stop` is cancelled.
///
/// # Errors
/// The broker is lost, or another router is the bridge now.
async fn at_broker(
    broker: &Arc<Broker>,
    bridge: &mut Bridge,
    fleet: &Arc<Fleet>,
    stats: &Stats,
    (tracer, clock): &Traces,
    stop: &CancellationToken,
) -> Result<()> {
    let Some(claim) = stop.run_until_cancelled(claim(broker)).await else { return Ok(()) };
    let mut claim = claim?;
    let outbox = Outbox::open_for_events(Arc::clone(broker)).await?;
    let mut outbox = Beginning::new(outbox, tracer.clone(), clock.clone());
    info!("this router is the bridge to MO's GraphQL events");
    broker.health().over(Code::MoUnreachable, SUBJECT, "events are fetched from MO again");
    stats.bridging(true);
    bridge.take_over();
    let around = Around { fleet: Arc::clone(fleet), broker: Some(Arc::clone(broker)) };
    // What the bridge knows outlives its future.
    let ended = tokio::select! {
        ended = bridge.run(&mut outbox, &around, stop) => ended,
        lost = claim.lost() => Err(lost),
    };
    claim.release().await;
    ended
}

/// Waits until nobody else is the bridge.
async fn claim(broker: &Arc<Broker>) -> Result<Claim> {
    let mut was_taken = false;
    loop {
        broker.reachable().await;
        if let Some(claim) = Claim::try_take(broker, BRIDGE).await? {
            return Ok(claim);
        }
        broker.health().over(Code::MoUnreachable, SUBJECT, "another router fetches from MO");
        if !std::mem::replace(&mut was_taken, true) {
            info!("another router is the bridge to MO's GraphQL events; this one waits");
        }
        debug!("the bridge is another router's");
        tokio::time::sleep(TAKE_OVER).await;
    }
}

/// The plugins and the broker.
struct Around {
    fleet: Arc<Fleet>,
    broker: Option<Arc<Broker>>,
}

impl Surroundings for Around {
    fn interest(&self) -> Interest {
        let Subscriptions { bound, all } = self.fleet.subscriptions();
        Interest { fetched: bound, kept: all, is_complete: self.fleet.has_started() }
    }

    fn is_open(&self) -> bool {
        self.broker.as_ref().is_none_or(|broker| !broker.is_blocked())
    }
}

/// The plugins of this router as a sink: an event is confirmed when each of them has settled it.
struct Plugins {
    fleet: Arc<Fleet>,
    given: FuturesUnordered<BoxFuture<'static, Completed>>,
}

impl transport::Outbox for Plugins {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        let fleet = Arc::clone(&self.fleet);
        self.given.push(give(fleet, token, outgoing).boxed());
    }

    fn copy(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    fn abandon(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    fn withdraw(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    async fn completed(&mut self) -> Result<Completed> {
        match self.given.next().await {
            Some(completed) => Ok(completed),
            None => std::future::pending().await,
        }
    }
}

async fn give(fleet: Arc<Fleet>, token: u64, outgoing: Outgoing) -> Completed {
    let fate = match &outgoing {
        Outgoing::Message(message) => {
            let settled = join_all(fleet.deliver(incoming(message)).await).await;
            match settled.is_empty() || settled.iter().any(Result::is_err) {
                true => Fate::Returned("no plugin takes it".into()),
                false => Fate::Confirmed,
            }
        }
        Outgoing::Dead(_) => Fate::Returned("it is a dead letter".into()),
    };
    Completed { token, outgoing, fate }
}

fn incoming(message: &Message) -> Incoming {
    let Message { exchange, routing_key, properties, body } = message.clone();
    Incoming { exchange, routing_key, properties, body, deliveries: 0 }
}
