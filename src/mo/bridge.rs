//! The driver around [`Core`]: it sends the requests, hands events to a sink and waits. It
//! decides nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value as Json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::client::{Client, joined};
use super::core::{Core, Request, Rules};
use super::documents::{self, Document, Operation};
use super::failure::Failure;
use super::report::Report;
use crate::backoff::Jitter;
use crate::clock::sleep_until;
use crate::event::Outgoing;
use crate::health::Health;
use crate::transport::Outbox;

/// How often one looks which keys are wanted, and whether the sink takes anything.
const LOOK: Duration = Duration::from_millis(500);

/// What the bridge asks of its surroundings.
pub trait Surroundings {
    /// The events that somebody asks for.
    fn interest(&self) -> Interest;

    /// Whether the sink takes messages.
    fn is_open(&self) -> bool;
}

/// Which events somebody asks for, as topic patterns.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// To be fetched.
    pub fetched: Vec<String>,
    /// To be kept at MO, even if nobody can take them at the moment. These contain the others.
    pub kept: Vec<String>,
    /// Whether all that was there at the start has said what it asks for.
    pub is_complete: bool,
}

type Answer = JoinHandle<Result<Json, Failure>>;

/// Fetches events and hands them to a sink. What it knows outlives the sink.
pub struct Bridge {
    client: Arc<Client>,
    core: Core,
    exchange: String,
    report: Report,
    asking: Option<(Request, Answer)>,
    acknowledging: Option<(Vec<usize>, Answer)>,
}

impl Bridge {
    /// A bridge to `exchange`. `keep` is how long a listener is kept whose events nobody asks for
    /// any more; `health` is told what is wrong.
    pub fn new(client: Arc<Client>, exchange: String, keep: Duration, health: Health) -> Self {
        let settings = client.settings();
        let rules = Rules { batch: settings.batch, pause: settings.pause, keep };
        let core = Core::new(rules, Jitter::random(), Instant::now().into_std());
        let report = Report::new(health, settings.user_key.clone());
        Self { client, core, exchange, report, asking: None, acknowledging: None }
    }

    /// Others may have fetched meanwhile: this router takes over.
    pub fn take_over(&mut self) {
        self.core.on_takeover(now());
    }

    /// Fetches until `stop` is cancelled, and then finishes what is in flight. When the future is
    /// dropped, call [`Bridge::lose_sink`].
    ///
    /// # Errors
    /// The sink is lost: to be called again with another one.
    pub async fn run(
        &mut self,
        sink: &mut impl Outbox,
        surroundings: &impl Surroundings,
        stop: &CancellationToken,
    ) -> Result<()> {
        let mut look = tokio::time::interval(LOOK);
        let mut is_stopping = false;
        loop {
            self.act(sink);
            if is_stopping && self.core.is_done() {
                return Ok(());
            }
            let awaits_sink = self.core.awaits_sink();
            let wake_at = self.core.wake_at();
            // What is waited for loses nothing when the wait is dropped: the outbox says so, and
            // requests are tasks.
            tokio::select! {
                completed = sink.completed(), if awaits_sink => {
                    let completed = completed?;
                    self.core.on_fate(completed.token, completed.fate, now());
                }
                answer = answered(&mut self.asking) => self.on_answer(answer),
                answer = answered(&mut self.acknowledging) => self.on_told(answer),
                () = sleep_until(wake_at) => {}
                _ = look.tick() => self.look(surroundings),
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.core.on_stop(now());
                }
            }
        }
    }

    /// The sink is lost. What it had is for the next one.
    pub fn lose_sink(&mut self) {
        self.core.on_sink_lost();
    }

    /// Others fetch now: what is wrong is theirs to tell.
    pub fn forget_troubles(&self) {
        self.report.forget();
    }

    fn look(&mut self, surroundings: &impl Surroundings) {
        let fixed = &self.client.settings().routing_keys;
        let interest = surroundings.interest();
        let wanted = super::keys::wanted(fixed, &interest.fetched);
        let kept = super::keys::wanted(fixed, &interest.kept);
        if interest.is_complete {
            let asks_for_others = kept.is_empty() && !interest.kept.is_empty();
            self.report.nothing_wanted(asks_for_others);
        }
        if wanted.is_empty() {
            self.report.nothing_is_asked();
        }
        self.core.on_wanted(&wanted, &kept, now());
        self.core.on_sink(surroundings.is_open());
    }

    /// Does all that is to be done now.
    fn act(&mut self, sink: &mut impl Outbox) {
        let now = now();
        while let Some((id, key, listener, event)) = self.core.next_message(now) {
            debug!(routing_key = key, subject = event.subject, "event fetched");
            sink.send(id, Outgoing::Message(event.message(&self.exchange, key, listener)));
        }
        if self.asking.is_none()
            && let Some(request) = self.core.next_request(now)
        {
            let answer = self.client.ask(document(&request, &self.client.settings().user_key));
            self.asking = Some((request, answer));
        }
        if self.acknowledging.is_none()
            && let Some(ids) = self.core.next_acknowledgements(now)
        {
            let document = documents::acknowledge(&self.core.tokens(&ids));
            self.acknowledging = Some((ids, self.client.ask(document)));
        }
        while let Some(notice) = self.core.next_notice() {
            self.report.tell(notice);
        }
    }

    fn on_answer(&mut self, (request, answer): (Request, Result<Json, Failure>)) {
        let now = now();
        let operation = operation(&request);
        let failure = answer.as_ref().err().cloned();
        match request {
            Request::Declare(keys) => {
                let count = keys.len();
                let listeners = answer.and_then(|data| read(documents::declared(&data, count)));
                self.core.on_declared(keys, listeners, self.client.identity(), now);
            }
            Request::Rerun(_) => {
                let reran = answer.map(|data| {
                    debug!(events = documents::reran(&data), "events leased to nobody come again");
                });
                self.core.on_reran(reran, now);
            }
            Request::Fetch(entries) => {
                let count = entries.len();
                let events = answer.and_then(|data| read(documents::fetched(&data, count)));
                self.core.on_fetched(entries, events, now);
            }
            Request::Delete(key, _) => self.core.on_deleted(key, answer.map(drop), now),
        }
        self.report.answered(operation, failure, self.core.failed_requests());
    }

    fn on_told(&mut self, (ids, answer): (Vec<usize>, Result<Json, Failure>)) {
        let failure = answer.as_ref().err().cloned();
        for key in self.core.on_acknowledged(ids, answer.map(drop), now()) {
            self.client.stats().acknowledged(&key);
        }
        self.report.answered(Operation::Acknowledge, failure, self.core.failed_acknowledgements());
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn operation(request: &Request) -> Operation {
    match request {
        Request::Declare(_) => Operation::Declare,
        Request::Rerun(_) => Operation::Rerun,
        Request::Fetch(_) => Operation::Fetch,
        Request::Delete(..) => Operation::Delete,
    }
}

fn document(request: &Request, user_key: &str) -> Document {
    match request {
        Request::Declare(keys) => {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            documents::declare(user_key, &keys)
        }
        Request::Rerun(listeners) => documents::rerun(listeners, &[]),
        Request::Fetch(entries) => {
            let listeners: Vec<_> = entries.iter().map(|(_, listener)| *listener).collect();
            documents::fetch(&listeners)
        }
        Request::Delete(_, listener) => documents::delete(*listener),
    }
}

/// An answer that cannot be read is none.
fn read<T>(read: Result<T>) -> Result<T, Failure> {
    read.map_err(|error| Failure::unavailable(format!("{error:#}")))
}

/// Waits for the answer, if one is waited for, and takes out what was asked.
async fn answered<T>(waiting: &mut Option<(T, Answer)>) -> (T, Result<Json, Failure>) {
    let answer = match waiting {
        Some((_, task)) => joined(task.await),
        None => std::future::pending().await,
    };
    match waiting.take() {
        Some((asked, _)) => (asked, answer),
        // It was there.
        None => std::future::pending().await,
    }
}
