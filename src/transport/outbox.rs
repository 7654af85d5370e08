//! Where messages leave: what the router asks of a transport.

use anyhow::Result;

use crate::event::Outgoing;

/// Sends messages and says, in the order that they were given, what became of
/// each. Thousands may be under way at once.
pub trait Outbox {
    /// Takes a message, which leaves when [`Outbox::confirmed`] next has to wait.
    /// `token` says whose message it is, to whoever reads that; several messages
    /// may share one.
    ///
    /// A message that the transport refuses before it is sent comes out of
    /// `confirmed` like any other.
    fn send(&mut self, token: u64, outgoing: Outgoing);

    /// Waits for the next message whose fate is known; for ever if none is under
    /// way. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The session is over; the fate of all that is under way is unknown.
    fn confirmed(&mut self) -> impl Future<Output = Result<Confirmed>> + Send;
}

/// A message whose fate is known.
#[derive(Debug)]
pub struct Confirmed {
    /// As given to [`Outbox::send`].
    pub token: u64,
    /// The message itself.
    pub outgoing: Outgoing,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The broker took responsibility for it, in at least one queue.
    Arrived,
    /// It can never arrive, and why: no queue takes it, or its exchange does not exist.
    Undeliverable(String),
    /// The broker could not take it now, and why: a queue is full, say.
    Refused(String),
}
