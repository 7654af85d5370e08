//! Where messages leave: what the router asks of a transport.

use anyhow::Result;

use super::fate::Completed;
use crate::event::Outgoing;

/// Sends messages and says what became of each, as soon as that is known. Thousands may
/// be in flight at once.
pub trait Outbox {
    /// Takes a message, which leaves when [`Outbox::completed`] next has to wait.
    /// `token` says whose message it is, to whoever reads that; several messages
    /// may share one.
    ///
    /// A message that the transport refuses before it is sent comes out of
    /// `completed` like any other.
    fn send(&mut self, token: u64, outgoing: Outgoing);

    /// A copy of the message with this token, whose fate is not known: whoever has it sends it again
    /// if need be, and the outbox no longer does so by itself. None if the fate is known, or if nothing
    /// is confirmed at the moment for a reason that passes: the broker says that it takes nothing.
    fn copy(&mut self, token: u64) -> Option<Outgoing>;

    /// Nobody waits any more for the confirm of a message with this token: its fate is not told. Gives
    /// the message, or none if the fate of all was told. One that was not sent is not given: it waits
    /// for something else than a confirm, and will be sent.
    fn abandon(&mut self, token: u64) -> Option<Outgoing>;

    /// The same, and one that was not sent yet will not be, and is given too.
    fn withdraw(&mut self, token: u64) -> Option<Outgoing>;

    /// Waits for the next message whose fate is known; for ever if none is in
    /// flight. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The session is over; the fate of all that is in flight is unknown.
    fn completed(&mut self) -> impl Future<Output = Result<Completed>> + Send;
}
