//! Dead letters as messages: how they are written and read, and what sends them
//! back.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde::Serialize;

use super::broker::Broker;
use super::original;
use super::topology::{self, DEAD};
use crate::event::{
    Datetime, DeadKind, DeadLetter, Incoming, Message, Properties, Unreadable, Value, headers,
};

/// How many times a quorum queue has delivered a message before, as it says itself.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// What a content header's frame holds beside the properties, in bytes.
const FRAME: usize = 20;

/// A dead letter as a message: the original bytes and properties, and headers
/// that say what happened. Its routing key is the plugin's name. `frame_max` is the size
/// of the frame that its properties must fit into.
pub fn to_message(letter: &DeadLetter, frame_max: usize) -> Message {
    let mut message = letter.message.clone();
    let (exchange, routing_key) = match message.properties.unreadable.take() {
        Some(unreadable) => {
            let Unreadable { exchange, routing_key, properties, .. } = *unreadable;
            if let Some(properties) = properties {
                original::keep(properties, &mut message.properties, &mut message.body, frame_max);
            }
            (original::value(exchange), original::value(routing_key))
        }
        None => (message.exchange.as_str().into(), message.routing_key.as_str().into()),
    };
    let kind = match letter.kind {
        DeadKind::Event => "event",
        DeadKind::Publication => "publication",
    };
    let entries: [(&str, Value); 8] = [
        (headers::REASON, letter.reason.as_str().into()),
        (headers::PLUGIN, letter.plugin.as_str().into()),
        (headers::VERSION, letter.version.as_str().into()),
        (headers::ATTEMPTS, i64::from(letter.attempts).into()),
        (headers::KIND, kind.into()),
        (headers::EXCHANGE, exchange),
        (headers::ROUTING_KEY, routing_key),
        (headers::DEAD_SINCE, letter.since.to_string().into()),
    ];
    message.properties.headers.extend(entries.map(|(name, value)| (name.to_owned(), value)));
    // It waits for people, however long that takes.
    message.properties.expiration = None;
    message.exchange = DEAD.to_owned();
    message.routing_key = letter.plugin.clone();
    message
}

/// An event as it first came: without what the broker counts in its headers; and one
/// that was sent back to a plugin's queue says there where it was published.
pub fn restored(mut message: Incoming) -> Incoming {
    message.properties.headers.remove(DELIVERY_COUNT);
    if message.exchange.is_empty() && !message.properties.headers.is_empty() {
        let headers = &mut message.properties.headers;
        let mut take = |name| headers.remove(name).and_then(original::bytes);
        if let (Some(exchange), Some(key)) = (take(headers::EXCHANGE), take(headers::ROUTING_KEY)) {
            original::set_address(&mut message, exchange, key);
        }
    }
    message
}

/// A dead letter as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct Letter {
    /// What names it to the commands: 16 hexadecimal digits made of its content.
    pub id: String,
    /// Why it is dead.
    pub reason: String,
    /// The plugin that it was for, or that published it.
    pub plugin: String,
    /// The version of that plugin; empty if the broker gave the event up.
    pub version: String,
    /// How many times it was tried.
    pub attempts: i64,
    /// `event` or `publication`.
    pub kind: String,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Since when it is dead, in RFC 3339.
    pub since: Option<String>,
    /// Its properties, without what the router has added.
    pub properties: Properties,
    /// Its bytes; those that are not UTF-8 are replaced.
    pub body: String,
    /// Its properties as AMQP writes them, in base64, if they cannot be read;
    /// `properties` has what can be read of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    #[serde(skip)]
    original: Original,
}

/// What is shown of a letter for people, as it was.
#[derive(Clone, Debug, Default)]
struct Original {
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    /// None if they can be read.
    properties: Option<Vec<u8>>,
    body: Bytes,
}

impl Letter {
    pub(super) fn read(message: Incoming) -> Self {
        let Incoming { routing_key, properties, mut body, .. } = message;
        let mut properties = *properties;
        let id = identity(&properties, &body);
        let given_up = GivenUp::read(properties.headers.get("x-death"));
        let unreadable = match properties.unreadable.take() {
            // What the broker has given up has the properties of the event.
            Some(unreadable) => unreadable.properties,
            None if properties.headers.contains_key("x-death") => None,
            None => original::take(&mut properties, &mut body),
        };
        let headers = &mut properties.headers;
        headers.retain(|name, _| !matches!(name.as_str(), "x-death" | DELIVERY_COUNT));
        headers.retain(|name, _| {
            !name.starts_with("x-first-death-") && !name.starts_with("x-last-death-")
        });
        let mut take = |name| headers.remove(name);
        let text = |value: Option<Value>| value.and_then(|value| value.as_text());
        let exchange = take(headers::EXCHANGE).and_then(original::bytes);
        let exchange = exchange.unwrap_or(given_up.exchange);
        let key = take(headers::ROUTING_KEY).and_then(original::bytes);
        let key = key.unwrap_or(given_up.routing_key);
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let reason = text(take(headers::REASON)).unwrap_or_else(|| given_up.reason.clone());
        let letter = Self {
            id,
            reason,
            plugin: text(take(headers::PLUGIN)).unwrap_or(routing_key),
            version: text(take(headers::VERSION)).unwrap_or_default(),
            attempts: take(headers::ATTEMPTS)
                .and_then(|value| value.int())
                .unwrap_or(given_up.count),
            kind: text(take(headers::KIND)).unwrap_or_else(|| "event".into()),
            exchange: lossy(&exchange),
            routing_key: lossy(&key),
            since: text(take(headers::DEAD_SINCE)).or(given_up.since),
            body: lossy(&body),
            properties: Properties::default(),
            unreadable: unreadable.as_ref().map(|properties| BASE64_STANDARD.encode(properties)),
            original: Original { exchange, routing_key: key, properties: unreadable, body },
        };
        // Sent back by a person, it starts its life anew.
        headers.remove(headers::HOPS);
        Self { properties, ..letter }
    }

    /// The message that sends it back: an event to its plugin's queue, a
    /// publication to its exchange.
    ///
    /// # Errors
    /// Its properties fit no frame.
    pub(super) fn sent_back(&self, broker: &Broker) -> Result<Message> {
        let Original { exchange, routing_key, properties, body } = &self.original;
        let body = body.clone();
        let original = properties.as_deref();
        let original = original.and_then(|it| original::sent_back(it, exchange, routing_key));
        if let Some(original) = original {
            if original.len() + FRAME > broker.frame_max() {
                bail!(
                    "its properties take {} bytes, more than a frame of the broker holds ({} \
                     bytes); it stays a dead letter",
                    original.len(),
                    broker.frame_max()
                );
            }
            let message_id = self.properties.message_id.clone();
            let unreadable =
                Some(Unreadable { properties: Some(original), ..Unreadable::default() }.into());
            let properties = Properties { message_id, unreadable, ..Properties::default() }.into();
            let routing_key = topology::queue_name(broker, &self.plugin);
            return Ok(Message { exchange: String::new(), routing_key, properties, body });
        }
        let mut properties = self.properties.clone();
        let (exchange, routing_key) = if self.kind == "publication" {
            (self.exchange.clone(), self.routing_key.clone())
        } else {
            properties.headers.extend([
                (headers::EXCHANGE.to_owned(), original::value(exchange.clone())),
                (headers::ROUTING_KEY.to_owned(), original::value(routing_key.clone())),
            ]);
            (String::new(), topology::queue_name(broker, &self.plugin))
        };
        properties.message_id.get_or_insert_with(|| self.id.clone());
        Ok(Message { exchange, routing_key, properties: properties.into(), body })
    }
}

/// What the broker says of a message that it has given up by itself: one that
/// was redelivered too often.
#[derive(Default)]
struct GivenUp {
    reason: String,
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    count: i64,
    since: Option<String>,
}

impl GivenUp {
    fn read(deaths: Option<&Value>) -> Self {
        let Some(Value::List(deaths)) = deaths else { return Self::default() };
        let Some(Value::Table(death)) = deaths.first() else { return Self::default() };
        let text = |name: &str| death.get(name).and_then(Value::as_text).unwrap_or_default();
        let bytes = |value: Option<&Value>| value.cloned().and_then(original::bytes);
        let routing_key = match death.get("routing-keys") {
            Some(Value::List(keys)) => bytes(keys.first()),
            _ => None,
        };
        let since = match death.get("time") {
            Some(Value::Timestamp(seconds)) => Datetime::from_unix(*seconds as i64, 0),
            _ => None,
        };
        Self {
            reason: format!(
                "the broker gave it up ({}): every delivery ended without a settlement, as if it \
                 took the router down",
                text("reason")
            ),
            exchange: bytes(death.get("exchange")).unwrap_or_default(),
            routing_key: routing_key.unwrap_or_default(),
            count: death.get("count").and_then(Value::int).unwrap_or(0),
            since: since.map(|time| time.to_string()),
        }
    }
}

fn identity(properties: &Properties, bytes: &[u8]) -> String {
    let mut headers: BTreeMap<_, _> = properties.headers.clone();
    // The broker counts deliveries here, and looking is one.
    headers.remove(DELIVERY_COUNT);
    let headers = serde_json::to_vec(&headers).unwrap_or_default();
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(&headers);
    hasher.update(bytes);
    format!("{:016x}", hasher.digest())
}

#[cfg(test)]
mod tests {
    use super::super::properties::{from_amqp, to_amqp};
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            reason: "no".into(),
            plugin: "p".into(),
            version: "v1".into(),
            attempts: 3,
            kind: DeadKind::Event,
            since: Datetime::NEVER_ENDS,
            message: Message {
                exchange: "os2mo".into(),
                routing_key: "employee.it.create".into(),
                properties: Properties {
                    headers: BTreeMap::from([("own".into(), "kept".into())]),
                    ..Properties::default()
                }
                .into(),
                body: "{}".into(),
            },
        }
    }

    /// A message as the broker delivers it.
    fn arrived(message: Message) -> Incoming {
        let Message { exchange, routing_key, properties, body } = message;
        let properties = from_amqp(&to_amqp(&properties)).into();
        Incoming { exchange, routing_key, properties, body, redelivered: false }
    }

    #[test]
    fn a_letter_reads_as_it_was_written() {
        let message = to_message(&letter(), 1 << 17);
        assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), (DEAD, "p"));
        let read = Letter::read(arrived(message));
        assert_eq!(read.reason, "no");
        assert_eq!(
            (read.exchange.as_str(), read.routing_key.as_str()),
            ("os2mo", "employee.it.create")
        );
        assert_eq!((read.attempts, read.version.as_str()), (3, "v1"));
        assert_eq!(read.properties, *letter().message.properties);
    }

    #[tokio::test]
    async fn an_event_sent_back_arrives_as_it_first_did() {
        let message = to_message(&letter(), 1 << 17);
        let read = Letter::read(arrived(message));
        let broker = Broker::new(crate::settings::Amqp::default());
        let back = read.sent_back(&broker).unwrap();
        assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("", "mo-router.p"));
        let restored = restored(Incoming {
            routing_key: back.routing_key,
            properties: back.properties,
            body: back.body,
            ..Incoming::default()
        });
        assert_eq!(restored.exchange, "os2mo");
        assert_eq!(restored.routing_key, "employee.it.create");
        assert_eq!(restored.properties.headers, letter().message.properties.headers);
    }
}
