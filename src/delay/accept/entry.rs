//! What waits for the store.

use tokio::sync::mpsc;

use crate::event::Delayed;

/// A message that was handed in, and who is told when it is safe.
#[derive(Debug)]
pub struct Entry {
    pub(super) delayed: Delayed,
    pub(super) token: u64,
    pub(super) done: mpsc::UnboundedSender<u64>,
}

impl Entry {
    /// The message.
    pub fn delayed(&self) -> &Delayed {
        &self.delayed
    }

    /// It is safe.
    pub fn committed(self) {
        // If that session has ended, the broker redelivers the event.
        let _ = self.done.send(self.token);
    }
}
