//! Where events come from: what the router asks of a transport.

use std::time::Duration;

use anyhow::Result;

use crate::event::Incoming;

/// Gives deliveries and takes their settlements.
pub trait Inbox {
    /// What settles one delivery. It is moved into [`Inbox::settle`]; whoever
    /// drops it instead leaves the delivery unsettled, to come again.
    type Receipt: Send + 'static;

    /// Waits for the next delivery. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The session is over: everything unsettled will come again.
    fn next(&mut self) -> impl Future<Output = Result<Received<Self::Receipt>>> + Send;

    /// Waits until there is more than it can keep ([`Inbox::overfull`]), for when no deliveries
    /// are wanted. That it is so already is not said again. Nothing is lost when the future is
    /// dropped.
    ///
    /// # Errors
    /// As of [`Inbox::next`].
    fn filled(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// The plugin was busy for so long with a delivery: for inboxes where others wait behind it.
    fn took(&mut self, _time: Duration) {}

    /// How many deliveries at a time the next session is to begin with, if this one was given so
    /// much that it did not keep it all.
    fn overfull(&self) -> Option<usize> {
        None
    }

    /// Whether it gives no more deliveries until some are settled, or [`Inbox::widen`] is called,
    /// which it can do at once. That may be fewer than may be in flight, where they are large or
    /// the plugin is slow.
    fn can_widen(&self) -> bool {
        false
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

/// What an inbox has to say.
#[derive(Debug)]
pub enum Received<R> {
    /// A delivery.
    Delivery(Delivery<R>),
    /// There will be no more.
    Exhausted,
    /// It was given more than it can keep, and gives no more: see [`Inbox::overfull`].
    Overfull,
}

/// A message that came in, still owed a settlement.
#[derive(Debug)]
pub struct Delivery<R> {
    /// The message.
    pub message: Incoming,
    /// What settles it.
    pub receipt: R,
}
