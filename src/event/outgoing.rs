//! What leaves the router: messages and dead letters.

use super::{DeadLetter, Message};

/// What leaves the router.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// A publication, to where it says.
    Message(Message),
    /// A dead letter, to the dead-letter exchange.
    Dead(Box<DeadLetter>),
}

impl Outgoing {
    /// The message, or the one that a dead letter is about.
    pub fn message(&self) -> &Message {
        match self {
            Outgoing::Message(message) => message,
            Outgoing::Dead(letter) => &letter.message,
        }
    }

    /// The same, to change it.
    pub fn message_mut(&mut self) -> &mut Message {
        match self {
            Outgoing::Message(message) => message,
            Outgoing::Dead(letter) => &mut letter.message,
        }
    }

    /// The same, by value.
    pub fn into_message(self) -> Message {
        match self {
            Outgoing::Message(message) => message,
            Outgoing::Dead(letter) => letter.message,
        }
    }
}
