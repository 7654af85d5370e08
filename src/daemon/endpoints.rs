//! The router's two ends: where events come from, and where messages go.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::BufReader;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::supervisor::{caught, supervise};
use crate::amqp::topology::Depth;
use crate::amqp::{self, Broker, ConnectionStatus, topology};
use crate::clock::Clock;
use crate::delay::{self, OutboxLost, Senders, Store};
use crate::event::Incoming;
use crate::health::Health;
use crate::jsonl;
use crate::router::{Breaker, Context, Session, State};
use crate::settings;
use crate::telemetry::{Traced, Tracer};
use crate::transport::Outbox;

/// How long the broker may take to say how many messages wait in a queue.
const DEPTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Lines that may wait for one plugin.
const WAITING_LINES: usize = 1024;

/// A source of events and a sink for messages.
#[derive(Clone)]
pub enum Endpoints {
    /// A broker, where each plugin has a queue.
    Amqp(Arc<Broker>),
    /// Standard input and standard output. An error of theirs ends the run: it is sent
    /// here.
    JsonLines(mpsc::Sender<anyhow::Error>),
}

impl Endpoints {
    /// Those that the settings ask for, and where to receive the error that ends the
    /// run. Connects to nothing yet. `health` is told what is wrong with the broker.
    pub fn new(
        settings: &settings::Amqp,
        health: &Health,
    ) -> (Self, mpsc::Receiver<anyhow::Error>) {
        let (failed, failure) = mpsc::channel(1);
        let endpoints = match settings.enabled {
            true => Self::Amqp(Arc::new(Broker::reporting(settings.clone(), health.clone()))),
            false => Self::JsonLines(failed),
        };
        (endpoints, failure)
    }

    /// The broker, if plugins have queues there.
    pub fn broker(&self) -> Option<&Arc<Broker>> {
        match self {
            Self::Amqp(broker) => Some(broker),
            Self::JsonLines(_) => None,
        }
    }

    /// What runs a plugin's sessions; and where to put its events, if the sessions do not
    /// fetch them. `started` is told when the plugin first takes events.
    pub fn sessions(
        &self,
        context: Context,
        started: oneshot::Sender<()>,
    ) -> (BoxFuture<'static, ()>, Option<mpsc::Sender<jsonl::InputEvent>>) {
        match self {
            Self::Amqp(broker) => (supervise(Arc::clone(broker), context, started).boxed(), None),
            Self::JsonLines(failed) => {
                let (lines, inbox) = jsonl::Inbox::new(WAITING_LINES);
                let session = read_lines(context, inbox, started, failed.clone());
                (session.boxed(), Some(lines))
            }
        }
    }

    /// Reads the events that have to be handed to plugins, until there are no more. A
    /// broker's never end: sessions fetch them.
    ///
    /// # Errors
    /// Standard input cannot be read, or standard output cannot be written.
    pub async fn read_input<D>(
        &self,
        exchange: &str,
        deliver: impl FnMut(Incoming) -> D,
    ) -> Result<()>
    where
        D: Future<Output = ()>,
    {
        match self {
            Self::Amqp(_) => std::future::pending().await,
            Self::JsonLines(_) => {
                jsonl::feed(BufReader::new(tokio::io::stdin()), exchange, deliver).await
            }
        }
    }

    /// Waits until the broker can be reached, if there is one.
    pub async fn reachable(&self) {
        if let Some(broker) = self.broker() {
            broker.reachable().await;
        }
    }

    /// Tells the broker, if there is one, the new password whenever the file with it changes.
    pub async fn renew_secrets(&self) {
        if let Some(broker) = self.broker() {
            broker.renew_secrets().await;
        }
    }

    /// Publishes delayed messages as they fall due, until `stop` is cancelled. `tracer` makes spans
    /// of it, if there are traces; `senders` are those that stored them.
    ///
    /// # Errors
    /// The broker ([`OutboxLost`]) or the store fails: to be called again.
    pub async fn publish_due(
        &self,
        store: &Store,
        clock: &Clock,
        tracer: Option<&Tracer>,
        senders: &impl Senders,
        stop: &CancellationToken,
    ) -> Result<()> {
        match self {
            Self::Amqp(broker) => {
                let Some(outbox) = stop.run_until_cancelled(open_outbox(broker)).await else {
                    return Ok(());
                };
                // From here on, stopping is up to `release`: it waits for what is in flight.
                release(store, outbox?, clock, tracer, senders, stop).await
            }
            Self::JsonLines(failed) => {
                let outbox = jsonl::Outbox::default();
                if let Err(error) = release(store, outbox, clock, tracer, senders, stop).await {
                    fail(failed, error);
                    // Trying again would not help.
                    stop.cancelled().await;
                }
                Ok(())
            }
        }
    }

    /// Binds a plugin's queue with each of the patterns.
    ///
    /// # Errors
    /// The broker is unreachable, or the queue or the exchange does not exist.
    pub async fn bind(&self, plugin: &str, patterns: &[String]) -> Result<()> {
        match self {
            Self::Amqp(broker) => topology::bind(broker, plugin, patterns).await,
            Self::JsonLines(_) => Ok(()),
        }
    }

    /// Undoes [`Endpoints::bind`].
    ///
    /// # Errors
    /// The broker is unreachable.
    pub async fn unbind(&self, plugin: &str, patterns: &[String]) -> Result<()> {
        match self {
            Self::Amqp(broker) => topology::unbind(broker, plugin, patterns).await,
            Self::JsonLines(_) => Ok(()),
        }
    }

    /// How many messages wait in a plugin's queue, and how many consumers it has; none if
    /// the broker does not say so in time.
    pub async fn depth(&self, plugin: &str) -> Option<Depth> {
        let broker = self.broker()?;
        let queue = topology::queue_name(broker, plugin);
        let depth = tokio::time::timeout(DEPTH_TIMEOUT, topology::depth(broker, &queue)).await;
        depth.ok()?.ok()?
    }

    /// The connections to the broker; none without one.
    pub fn connections(&self) -> Vec<ConnectionStatus> {
        self.broker().map(|broker| broker.connections()).unwrap_or_default()
    }

    /// How many dead letters wait for people; none if that is unknown.
    pub async fn dead_letters(&self) -> Option<u32> {
        let count = topology::count_dead_letters(self.broker()?);
        tokio::time::timeout(DEPTH_TIMEOUT, count).await.ok()?.ok()?
    }

    /// Has the broker say whether it takes messages.
    pub async fn ask_whether_it_blocks(&self) {
        let Some(broker) = self.broker() else { return };
        // What it says is reported where its connections are followed.
        if let Err(error) = broker.ask_whether_it_blocks(topology::DEAD).await {
            debug!("cannot ask whether the broker takes messages: {error:#}");
        }
    }

    /// Closes the connections.
    pub async fn close(&self) {
        match self {
            Self::Amqp(broker) => broker.close().await,
            Self::JsonLines(_) => {}
        }
    }
}

async fn release(
    store: &Store,
    mut outbox: impl Outbox + Send,
    clock: &Clock,
    tracer: Option<&Tracer>,
    senders: &impl Senders,
    stop: &CancellationToken,
) -> Result<()> {
    match tracer {
        None => delay::release(store, &mut outbox, clock, senders, stop).await,
        Some(tracer) => {
            let mut traced = Traced::new(outbox, tracer.clone(), clock.clone());
            delay::release(store, &mut traced, clock, senders, stop).await
        }
    }
}

async fn open_outbox(broker: &Arc<Broker>) -> Result<amqp::Outbox> {
    let opened = async {
        topology::declare_dead_letters(broker).await?;
        amqp::Outbox::open_for_delayed(Arc::clone(broker)).await
    };
    opened.await.map_err(|error| match topology::is_permanent(&error) {
        true => error,
        false => error.context(OutboxLost),
    })
}

/// Routes lines in a single session. No queue would keep the events of a failing plugin,
/// so it is never suspended: each event has its attempts. Nor can a line be returned when
/// its messages cannot be written: that ends the run.
async fn read_lines(
    mut context: Context,
    inbox: jsonl::Inbox,
    started: oneshot::Sender<()>,
    failed: mpsc::Sender<anyhow::Error>,
) {
    context.record.breaker = Breaker::never_opens();
    context.limit.hold = Duration::MAX;
    // Lines that have been read are routed, even when the router stops.
    context.stop = CancellationToken::new();
    let stats = Arc::clone(&context.stats);
    stats.set_state(State::Running, None);
    // Nobody may be waiting any more.
    let _ = started.send(());
    let outbox = jsonl::Outbox::of(&context.current.borrow().plugin.name);
    let session = Session::new(&mut context, inbox, outbox);
    if let Err(error) = caught(session.run()).await {
        stats.set_state(State::Waiting, Some(format!("{error:#}")));
        fail(&failed, error);
    }
}

/// Ends the run with an error.
fn fail(failed: &mpsc::Sender<anyhow::Error>, error: anyhow::Error) {
    // If there is one already, that one ends it.
    let _ = failed.try_send(error);
}
