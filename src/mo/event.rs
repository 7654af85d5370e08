//! One event, and the message that it becomes.

use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::event::{Message, Properties};

/// An event as MO gives it to a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// What it is about: in MO's namespace a UUID, in others any text.
    pub subject: String,
    /// Small numbers come first. MO keeps the order; nothing here depends on it.
    pub priority: i64,
    /// What acknowledges it. It changes when the subject changes again.
    pub token: String,
}

impl Event {
    /// The message: what MO's one-word AMQP messages look like, with an id that is the same
    /// whenever the same event comes again.
    pub fn message(&self, exchange: &str, routing_key: &str, listener: Uuid) -> Message {
        let mut text = listener.as_bytes().to_vec();
        for part in [&self.subject, &self.token] {
            text.extend((part.len() as u64).to_le_bytes());
            text.extend(part.as_bytes());
        }
        let message_id = Some(format!("{:032x}", xxh3_128(&text)));
        Message {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            properties: Properties { message_id, ..Properties::default() }.into(),
            body: json!(self.subject).to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_mos_own_and_has_a_stable_id() {
        let event = |subject: &str, token: &str| Event {
            subject: subject.into(),
            priority: 10_000,
            token: token.into(),
        };
        let of = |event: Event| event.message("os2mo", "person", Uuid::nil());
        let message = of(event("a\"b", "t"));
        assert_eq!(message.body, r#""a\"b""#);
        assert_eq!((&*message.exchange, &*message.routing_key), ("os2mo", "person"));
        assert_eq!(message.id(), of(event("a\"b", "t")).id());
        assert_eq!(message.id().len(), 32);
        assert_ne!(message.id(), of(event("a\"b", "u")).id());
        assert_ne!(of(event("ab", "c")).id(), of(event("a", "bc")).id());
    }
}
