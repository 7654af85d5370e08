//! How many connections were lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many connections of a pool were lost, each counted when it ends, and not only when it is next
/// needed.
#[derive(Default)]
pub(super) struct Lost {
    count: AtomicU64,
    /// Whether the router ends them itself.
    is_closing: AtomicBool,
}

/// The end of one connection, which is counted once.
pub(super) struct End {
    lost: Arc<Lost>,
    is_noted: AtomicBool,
}

impl Lost {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// From here on the router ends them itself.
    pub(super) fn on_closing(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }
}

impl End {
    /// That of a new connection.
    pub(super) fn new(lost: &Arc<Lost>) -> Arc<Self> {
        Self { lost: Arc::clone(lost), is_noted: AtomicBool::new(false) }.into()
    }

    /// The connection has ended.
    pub(super) fn note(&self) {
        let Lost { count, is_closing } = &*self.lost;
        if !is_closing.load(Ordering::Relaxed) && !self.is_noted.swap(true, Ordering::Relaxed) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
