//! Messages that cannot be delivered or understood.

use serde::Serialize;

use super::text::shortened;
use super::{Datetime, Message};

/// The most bytes of what a plugin gives as a reason; of more, the start and the length are kept.
/// Plugins, publishers and traps can say more than fits a frame, with the message's own headers.
pub const LONGEST_REASON: usize = 2 << 10;

/// What the router may add to it, in bytes: the length, and how many times it was tried.
const ADDED: usize = 128;

/// What is kept of a body that no broker takes, in bytes.
const START: usize = 64 << 10;

/// A message that cannot be delivered or understood, with what a person needs to
/// know about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeadLetter {
    /// Why, in words.
    pub reason: String,
    /// The plugin that it was for, or that published it.
    pub plugin: String,
    /// The version of that plugin.
    pub version: String,
    /// How many times it was tried.
    pub attempts: u32,
    /// Whether the message is an event for the plugin, or one that it published.
    pub kind: DeadKind,
    /// Since when it is a dead letter.
    pub since: Datetime,
    /// Whether the broker refuses the message's properties, also in a dead letter: they are
    /// kept with its body.
    #[serde(skip)]
    pub is_bare: bool,
    /// How many bytes the body had, if only its start is left.
    #[serde(skip)]
    pub body_size: Option<usize>,
    /// The message itself: original exchange, routing key, properties and bytes.
    #[serde(skip)]
    pub message: Message,
}

/// Where a dead letter goes back to when a person requeues it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadKind {
    /// An event: back to the plugin's queue.
    Event,
    /// A publication: to its exchange.
    Publication,
}

/// Whose message a dead letter is.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The plugin that it was for, or that published it.
    pub plugin: &'a str,
    /// The version of that plugin.
    pub version: &'a str,
}

impl DeadLetter {
    /// The same in a form that a broker may take that has refused this one: with the
    /// properties out of its sight, and then without most of the body, which is larger than
    /// it takes.
    ///
    /// # Errors
    /// There is no such form: gives it back.
    pub fn reduced(mut self: Box<Self>) -> Result<Box<Self>, Box<Self>> {
        if self.is_least() {
            return Err(self);
        }
        let size = self.message.body.len();
        if self.is_bare {
            self.message.body.truncate(START);
            self.body_size = Some(size);
            self.reason.push_str(&format!(
                "; the broker takes no message with its body of {size} bytes, of which the first \
                 {START} are kept"
            ));
        }
        self.is_bare = true;
        Ok(self)
    }

    /// Whether there is no form of it that a broker takes sooner.
    pub fn is_least(&self) -> bool {
        self.is_bare && self.message.body.len() <= START
    }

    /// Makes a dead letter of an event, a publication or a delayed message, whichever
    /// part of the router gave it up. `attempts` counts the failed ones.
    pub fn new(
        kind: DeadKind,
        origin: Origin<'_>,
        message: Message,
        attempts: u32,
        reason: String,
        since: Datetime,
    ) -> Self {
        Self {
            reason: shortened(&reason, LONGEST_REASON + ADDED),
            plugin: origin.plugin.to_owned(),
            version: origin.version.to_owned(),
            attempts,
            kind,
            since,
            is_bare: false,
            body_size: None,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduced_to_what_a_broker_may_take() {
        let message = Message { body: vec![b'x'; START + 1].into(), ..Message::default() };
        let origin = Origin { plugin: "p", version: "v" };
        let kind = DeadKind::Publication;
        let letter = DeadLetter::new(kind, origin, message, 1, "406".into(), Datetime::NO_DATE);
        let letter = Box::new(letter);
        let bare = letter.reduced().unwrap();
        assert!(bare.is_bare && bare.message.body.len() == START + 1);
        let start = bare.reduced().unwrap();
        assert_eq!(start.message.body.len(), START);
        assert!(start.reason.contains("65537 bytes"), "{}", start.reason);
        assert_eq!(start.clone().reduced(), Err(start));
    }
}
