//! What waits for the store.

use tokio::sync::mpsc;

use crate::event::{Delayed, Message};

/// What became of a message that was handed in.
#[derive(Debug)]
pub struct Answer {
    /// As it was handed in with.
    pub token: u64,
    /// The message, if the store refuses it for good, and why. None: it is safe.
    pub refused: Option<Box<(Message, String)>>,
}

/// A message that was handed in, and who is told what became of it.
#[derive(Debug)]
pub struct Entry {
    pub(super) delayed: Delayed,
    pub(super) token: u64,
    pub(super) done: mpsc::UnboundedSender<Answer>,
}

impl Entry {
    /// The message.
    pub fn delayed(&self) -> &Delayed {
        &self.delayed
    }

    /// It is safe.
    pub fn committed(self) {
        // If that session has ended, the broker redelivers the event.
        let _ = self.done.send(Answer { token: self.token, refused: None });
    }

    /// The store will never take it, and why.
    pub fn refused(self, reason: String) {
        let refused = Some(Box::new((self.delayed.message, reason)));
        let _ = self.done.send(Answer { token: self.token, refused });
    }
}
