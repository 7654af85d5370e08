//! What the store is measured by.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use super::record::Overview;
use crate::event::Datetime;

/// The upper bounds of lateness and of commits, in seconds.
const LATENESS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];
const COMMIT: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Measurements of one store, from when it was opened.
#[derive(Debug)]
pub struct StoreStats {
    /// How long after its due time each message was confirmed, in seconds.
    pub lateness: Histogram,
    /// How long it took to commit messages, in seconds.
    pub commits: Histogram,
    /// How many operations have failed.
    pub errors: AtomicU64,
    /// How many messages were sent.
    sent: AtomicU64,
    /// The longest lateness since it was last asked for, in milliseconds.
    latest: AtomicU64,
    /// How many messages are overdue or were put off; below zero if that is not known.
    overdue: AtomicI64,
}

impl Default for StoreStats {
    fn default() -> Self {
        Self {
            lateness: Histogram::new(LATENESS),
            commits: Histogram::new(COMMIT),
            errors: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            overdue: AtomicI64::new(-1),
        }
    }
}

impl StoreStats {
    /// A message that was due at `due` is confirmed.
    pub fn sent(&self, due: Datetime, now: Datetime) {
        let late = now.saturating_since(due);
        self.lateness.observe(late.as_secs_f64());
        self.sent.fetch_add(1, Relaxed);
        self.latest.fetch_max(u64::try_from(late.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many messages were sent.
    pub fn count_sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// How late the latest message was since this was last asked, in milliseconds. Only one may
    /// ask.
    pub fn take_latest(&self) -> u64 {
        self.latest.swap(0, Relaxed)
    }

    /// Messages were committed.
    pub fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    /// The store was looked at; none if it could not be.
    pub fn looked(&self, overview: Option<&Overview>) {
        let overdue = overview.and_then(|overview| i64::try_from(overview.overdue).ok());
        self.overdue.store(overdue.unwrap_or(-1), Relaxed);
    }

    /// How many messages are overdue or were put off, if the store answered when it was last asked.
    pub fn overdue(&self) -> Option<u64> {
        u64::try_from(self.overdue.load(Relaxed)).ok()
    }
}
