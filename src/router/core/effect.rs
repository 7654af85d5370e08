//! What a core asks of its driver.

use crate::event::{Delayed, Event, Outgoing};

/// An event on its way through the plugin. `R` is what settles its delivery.
#[derive(Debug)]
pub struct Job<R> {
    /// The event.
    pub event: Event,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    pub(super) receipt: R,
    /// Of the delivery.
    pub(super) bytes: usize,
}

/// Something that the driver has to do.
#[derive(Debug)]
pub enum Effect<R> {
    /// Send a message; its fate comes back with the token.
    Publish {
        /// Tells whose message it is.
        token: u64,
        /// The message.
        outgoing: Outgoing,
        /// Whether it was sent before, and nacked.
        resent: bool,
    },
    /// Hand a message to the delay store; when it is committed, the token comes back.
    Store {
        /// Tells whose message it is.
        token: u64,
        /// The message.
        delayed: Delayed,
    },
    /// Settle a delivery.
    Settle(R),
    /// Route with the newest version from now on. No call is in flight.
    Swap {
        /// The version before it.
        old: String,
    },
}

/// How a core ends in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop, or there is no more input.
    Stopped,
    /// The plugin fails on event after event: its breaker opened.
    Suspended,
    /// The breaker, half-open, has closed.
    Recovered,
}
