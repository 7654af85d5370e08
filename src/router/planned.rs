//! Who answers an event, and the messages that an answer causes.

use crate::event::{Delayed, Message, Origin};

/// Who answers, and what that one may do.
#[derive(Clone, Debug)]
pub struct Author {
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// The exchanges that it may publish to.
    pub granted: Vec<String>,
    /// Where publications go that name no exchange.
    pub output_exchange: String,
}

impl Author {
    /// Whose dead letters its events and publications are.
    pub fn origin(&self) -> Origin<'_> {
        Origin { plugin: &self.plugin, version: &self.version }
    }
}

/// One message that an answer causes.
#[derive(Clone, Debug, PartialEq)]
pub enum Planned {
    /// To the broker.
    Now(Message),
    /// To the delay store.
    Later(Delayed),
}

impl Planned {
    /// The message.
    pub fn message(&self) -> &Message {
        match self {
            Planned::Now(message) => message,
            Planned::Later(delayed) => &delayed.message,
        }
    }
}
