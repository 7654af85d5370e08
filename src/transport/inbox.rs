//! Where events come from: what the router asks of a transport.

use std::time::Duration;

use anyhow::Result;

use crate::event::Incoming;

/// Gives deliveries and takes their settlements.
pub trait Inbox {
    /// What settles one delivery. It is moved into [`Inbox::settle`]; whoever
    /// drops it instead leaves the delivery unsettled, to come again.
    type Receipt: Send + 'static;

    /// Waits for the next delivery; none if there will be no more. Nothing is
    /// lost when the future is dropped.
    ///
    /// # Errors
    /// The session is over: everything unsettled will come again.
    fn next(&mut self) -> impl Future<Output = Result<Option<Delivery<Self::Receipt>>>> + Send;

    /// Waits until no more deliveries can come, and says why: for when none are wanted,
    /// since [`Inbox::next`] says so too. Nothing is lost when the future is dropped.
    fn lost(&mut self) -> impl Future<Output = anyhow::Error> + Send;

    /// The plugin was busy for so long with a delivery: for inboxes where others wait behind it.
    fn took(&mut self, _time: Duration) {}

    /// How many deliveries at a time the next session is to begin with, if this one was given so
    /// much that it did not keep it all.
    fn overfull(&self) -> Option<usize> {
        None
    }

    /// Lets as many more deliveries come as may at first, whatever of the earlier ones is
    /// unsettled.
    fn widen(&mut self);

    /// Marks a delivery as done, for the next [`Inbox::flush`].
    fn settle(&mut self, receipt: Self::Receipt);

    /// How many settlements have not been told.
    fn unsent(&self) -> usize;

    /// Tells all settlements, in as few frames as can be.
    fn flush(&mut self);

    /// Tells the last settlements and gives back what is unsettled.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A message that came in, still owed a settlement.
#[derive(Debug)]
pub struct Delivery<R> {
    /// The message.
    pub message: Incoming,
    /// What settles it.
    pub receipt: R,
}
