//! How the scheduler hears that something is due earlier than it thought.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::event::Datetime;

/// Rung by whoever changes the store, heard by the one scheduler of this process.
#[derive(Debug)]
pub struct Alarm {
    /// The earliest time rung since it was last heard, in microseconds.
    earliest: AtomicI64,
    rung: Notify,
}

impl Alarm {
    pub fn new() -> Self {
        Self { earliest: AtomicI64::new(i64::MAX), rung: Notify::new() }
    }

    /// Something in the store is now due at `due`.
    pub fn ring(&self, due: Datetime) {
        self.earliest.fetch_min(due.unix_micros(), Ordering::Relaxed);
        self.rung.notify_one();
    }

    /// Something in the store changed, and nobody can say what.
    pub fn ring_now(&self) {
        self.ring(Datetime::from_unix_micros(i64::MIN));
    }

    /// Rings once a second, until it is dropped.
    pub async fn ring_each_second(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            self.ring_now();
        }
    }

    /// Waits until it is rung, or was since it was last heard; returns the
    /// earliest time rung.
    pub async fn heard(&self) -> Datetime {
        self.rung.notified().await;
        Datetime::from_unix_micros(self.earliest.swap(i64::MAX, Ordering::Relaxed))
    }
}
