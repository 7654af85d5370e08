//! What people see of a plugin: counts, and the last thing that went wrong.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use std::time::Duration;

use serde::Serialize;

use crate::event::shortened;

/// Bytes of the last error that are shown.
const SHOWN: usize = 500;

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

    /// The session holds so many deliveries that are not settled.
    pub fn set_held(&self, deliveries: usize) {
        self.held.store(deliveries as u64, Relaxed);
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
    pub fn dead(&self, reason: &str) {
        self.dead.fetch_add(1, Relaxed);
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

    fn measured(&self) -> std::sync::MutexGuard<'_, (u64, f64)> {
        self.measured.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn condition(&self) -> std::sync::MutexGuard<'_, Condition> {
        // What is in it is whole at any time, even if a holder panicked.
        self.condition.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
