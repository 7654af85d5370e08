//! What people see of a plugin: counts, and the last thing that went wrong.

mod labels;
mod measures;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::{Duration, Instant};

use serde::Serialize;

use super::watch::Watch;
use crate::event::shortened;

pub use self::labels::{DeadCause, LoadOutcome, Outcome, PublicationOutcome, RetryCause};
pub use self::measures::{Confirms, Measures};

/// Bytes of the last error that are shown.
pub(super) const SHOWN: usize = 500;

/// Counts since the start, and the state, of one plugin. Written by its session,
/// read by the HTTP address.
#[derive(Debug, Default)]
pub struct Stats {
    received: AtomicU64,
    published: AtomicU64,
    delayed: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
    dead: AtomicU64,
    held: AtomicU64,
    held_bytes: AtomicU64,
    /// How long the oldest of those that are held had been when that was last looked at, and
    /// whether it was answered.
    oldest: Mutex<Option<(Duration, bool)>>,
    /// Until when what was given back counts as held.
    given_back: Mutex<Option<Instant>>,
    call: Mutex<Option<Instant>>,
    measures: Measures,
    confirms: Confirms,
    watch: Arc<Watch>,
    /// `received` when the rate was last measured, and what it was then.
    measured: Mutex<(u64, f64)>,
    condition: Mutex<Condition>,
}

/// What a plugin does at the moment, and why.
#[derive(Clone, Debug, Default)]
struct Condition {
    state: State,
    reason: Option<String>,
    last_error: Option<String>,
}

/// What a plugin does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for the broker.
    #[default]
    Waiting,
    /// It takes events.
    Running,
    /// It failed on event after event; its queue keeps its events.
    Suspended,
    /// Its file is gone; its queue keeps its events.
    Removed,
}

/// [`Stats`] at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct StatsSnapshot {
    /// What it does.
    pub state: State,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// Events received per second, of late.
    pub rate: f64,
    /// Deliveries that are not settled.
    pub in_flight: u64,
    /// Their bytes, and those of what they caused.
    pub bytes_in_flight: u64,
    /// Events received.
    pub received: u64,
    /// Messages that it asked to be published, delayed ones included.
    pub published: u64,
    /// Of those, the delayed ones.
    pub delayed: u64,
    /// Events that it answered with nothing.
    pub dropped: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Dead letters.
    pub dead: u64,
    /// The reason of the last failure or dead letter.
    pub last_error: Option<String>,
}

impl Stats {
    /// An event came.
    pub fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    /// Nothing counted yet. `confirms` and `watch` are shared with other plugins.
    pub fn sharing(confirms: Confirms, watch: Arc<Watch>) -> Self {
        Self { confirms, watch, ..Self::default() }
    }

    /// Whoever looks at decisions.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The session holds so many deliveries that are not settled, which take so many bytes
    /// with what they caused.
    pub fn set_held(&self, deliveries: usize, bytes: usize) {
        self.held.store(deliveries as u64, Relaxed);
        self.held_bytes.store(bytes as u64, Relaxed);
    }

    /// For how long the oldest of the deliveries that are not settled has been held, and whether
    /// it waits for the fate of what it caused, rather than for the plugin. Told every few seconds.
    pub fn set_oldest(&self, oldest: Option<(Duration, bool)>) {
        *lock(&self.oldest) = oldest;
    }

    /// Since when the session waits for the plugin's answer, and for nothing else.
    pub fn set_call(&self, since: Option<Instant>) {
        *lock(&self.call) = since;
    }

    /// For how long the session has been waiting for the plugin's answer alone.
    pub fn call(&self, now: Instant) -> Option<Duration> {
        lock(&self.call).map(|since| now.saturating_duration_since(since))
    }

    /// What is held too long goes back, and counts as held until then: it comes again.
    pub fn given_back(&self, until: Instant) {
        *lock(&self.given_back) = Some(until);
    }

    /// What [`Stats::set_oldest`] told last, unless nothing is held any more.
    pub fn oldest(&self, now: Instant) -> Option<(Duration, bool)> {
        let is_held = self.held.load(Relaxed) > 0;
        lock(&self.oldest).filter(|_| is_held || self.is_given_back(now))
    }

    /// Whether what was given back may still come again.
    pub fn is_given_back(&self, now: Instant) -> bool {
        lock(&self.given_back).is_some_and(|until| now < until)
    }

    /// What metrics are made of.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// An event is done, so long after it was delivered.
    pub fn settled(&self, outcome: Outcome, duration: Duration) {
        self.measures.settled.add(outcome);
        self.measures.events.add(duration);
    }

    /// So many events are redelivered.
    pub fn returned_to_queue(&self, events: usize) {
        self.measures.settled.add_many(Outcome::ReturnedToQueue, events as u64);
    }

    /// The broker said something to a publication, so long after it was sent, if it was not
    /// sent before.
    pub fn published(&self, outcome: PublicationOutcome, took: Option<Duration>) {
        self.measures.publications.add(outcome);
        if let Some(took) = took {
            self.confirms.add(took);
        }
    }

    /// An event was answered with so many messages.
    pub fn routed(&self, messages: usize) {
        match messages {
            0 => self.dropped.fetch_add(1, Relaxed),
            messages => self.published.fetch_add(messages as u64, Relaxed),
        };
    }

    /// One of the messages is not due yet.
    pub fn delayed(&self) {
        self.delayed.fetch_add(1, Relaxed);
    }

    /// A try failed.
    pub fn failed(&self, reason: &str) {
        self.failures.fetch_add(1, Relaxed);
        self.set_last_error(reason);
    }

    /// A message became a dead letter.
    pub fn dead(&self, cause: DeadCause, reason: &str) {
        self.dead.fetch_add(1, Relaxed);
        self.measures.dead.add(cause);
        self.set_last_error(reason);
    }

    /// The plugin does something else from now on.
    pub fn set_state(&self, state: State, reason: Option<String>) {
        self.change(|condition| {
            condition.state = state;
            condition.reason = reason;
        });
    }

    /// Measures the rate, `period` after the last time.
    pub fn measure(&self, period: Duration) {
        let received = self.received.load(Relaxed);
        let mut measured = self.measured();
        let rate = received.saturating_sub(measured.0) as f64 / period.as_secs_f64();
        *measured = (received, rate);
    }

    /// The last thing that went wrong, if anything did.
    pub fn last_error(&self) -> Option<String> {
        self.condition().last_error.clone()
    }

    /// All of it now.
    pub fn read(&self) -> StatsSnapshot {
        let Condition { state, reason, last_error } = self.condition().clone();
        StatsSnapshot {
            state,
            reason,
            rate: self.measured().1,
            in_flight: self.held.load(Relaxed),
            bytes_in_flight: self.held_bytes.load(Relaxed),
            received: self.received.load(Relaxed),
            published: self.published.load(Relaxed),
            delayed: self.delayed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            failures: self.failures.load(Relaxed),
            dead: self.dead.load(Relaxed),
            last_error,
        }
    }

    fn set_last_error(&self, reason: &str) {
        let shown = shortened(reason, SHOWN);
        self.change(|condition| condition.last_error = Some(shown));
    }

    fn change(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.condition());
    }

    fn measured(&self) -> MutexGuard<'_, (u64, f64)> {
        lock(&self.measured)
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        lock(&self.condition)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole at any time, even if a holder panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
