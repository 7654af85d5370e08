//! One request at a time.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Jitter, Policy};
use crate::mo::failure::Failure;

/// The pauses after a request that failed.
const REQUEST_PAUSES: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(30));

/// One request at a time, and the pause after one that failed.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) is_busy: bool,
    pub(super) failures: u32,
    pub(super) ready_at: Instant,
    backoff: Backoff,
}

impl Lane {
    /// Nothing is asked.
    pub(super) fn new(now: Instant) -> Self {
        let backoff = Backoff::new(REQUEST_PAUSES);
        Self { is_busy: false, failures: 0, ready_at: now, backoff }
    }

    /// Whether the next request may be sent.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.is_busy && self.ready_at <= now
    }

    /// The request is over, and the next one will show what was wrong with it.
    pub(super) fn ended(&mut self) {
        self.is_busy = false;
    }

    /// The request was answered.
    pub(super) fn answered(&mut self) {
        self.ended();
        self.failures = 0;
        self.backoff.reset();
    }

    /// The request failed: the next one waits.
    pub(super) fn failed(&mut self, failure: &Failure, now: Instant, jitter: &mut Jitter) {
        self.ended();
        self.failures += 1;
        let pause = self.backoff.next_pause_with(jitter);
        self.ready_at = now + pause.max(failure.retry_after().unwrap_or_default());
    }
}
