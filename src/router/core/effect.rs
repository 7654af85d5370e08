//! What a core asks of its driver.

use crate::event::{Delayed, Event, Outgoing};
use crate::router::stats::Outcome;

/// An event on its way through the plugin.
#[derive(Debug)]
pub struct Job {
    /// The event.
    pub event: Event,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether it is not known that the plugin has failed on it before.
    pub(super) fresh: bool,
    /// Its delivery.
    pub(super) key: usize,
}

impl Job {
    /// The number of its delivery, as [`Core::on_delivery`](super::Core::on_delivery) gave it.
    pub fn delivery(&self) -> usize {
        self.key
    }
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
    Settle {
        /// What settles it.
        receipt: R,
        /// Its number, which the next delivery may get.
        delivery: usize,
        /// How its event ended.
        outcome: Outcome,
    },
    /// Wait no more for what the broker has not confirmed of a delivery:
    /// [`Core::on_not_confirmed`](super::Core::on_not_confirmed).
    GiveUp {
        /// Its number.
        delivery: usize,
    },
    /// Ask the broker for as many deliveries again as may be in flight, whatever is unsettled.
    Widen,
    /// Route with the newest version from now on. No call is in flight.
    Swap {
        /// The version before it.
        old: String,
    },
}

/// The number of the delivery that caused the message with this token.
pub fn delivery_of(token: u64) -> usize {
    Token::from(token).key
}

/// Whose message it is, and the number of times that it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The delivery.
    pub key: usize,
    /// From 1.
    pub sends: u32,
}

impl Token {
    /// Of a message that is sent for the first time.
    pub fn first(key: usize) -> Self {
        Self { key, sends: 1 }
    }
}

impl From<Token> for u64 {
    /// There are fewer than 2³² deliveries at a time: AMQP counts them in 16 bits.
    fn from(token: Token) -> Self {
        u64::from(token.sends) << 32 | token.key as u64
    }
}

impl From<u64> for Token {
    fn from(number: u64) -> Self {
        Self { key: (number & u64::from(u32::MAX)) as usize, sends: (number >> 32) as u32 }
    }
}

/// How a core ends in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop, or there is no more input.
    Stopped,
    /// The plugin fails on event after event, or the broker refuses what it publishes: its
    /// breaker opened.
    Suspended,
    /// A delivery could not be settled for too long.
    Overdue {
        /// Whether the plugin has answered, and what it answered is not done.
        is_answered: bool,
    },
    /// More was delivered than may wait, or than is worked off in time, and not all of it was kept.
    Overfull {
        /// How many deliveries at a time would be right.
        fitting: usize,
    },
}
