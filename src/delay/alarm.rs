//! Tells the scheduler that a message is due earlier than it knew.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::event::Datetime;

/// Rung by everything that changes the store; heard by the one scheduler of this process.
#[derive(Debug)]
pub struct Alarm {
    /// The earliest time that was rung since the last time it was heard, in microseconds.
    earliest: AtomicI64,
    rung: Notify,
}

impl Alarm {
    pub fn new() -> Self {
        Self { earliest: AtomicI64::new(i64::MAX), rung: Notify::new() }
    }

    /// A message is now due at `due`.
    pub fn ring(&self, due: Datetime) {
        self.earliest.fetch_min(due.unix_micros(), Ordering::Relaxed);
        self.rung.notify_one();
    }

    /// The store has changed, and it is not known how.
    pub fn ring_now(&self) {
        self.ring(Datetime::from_unix_micros(i64::MIN));
    }

    /// Rings once a second, until the future is dropped.
    pub async fn ring_each_second(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            self.ring_now();
        }
    }

    /// Waits until it rings, unless it has rung since the last time it was heard. Returns the
    /// earliest time that was rung.
    pub async fn heard(&self) -> Datetime {
        self.rung.notified().await;
        Datetime::from_unix_micros(self.earliest.swap(i64::MAX, Ordering::Relaxed))
    }
}
