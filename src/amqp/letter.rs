//! Dead letters as messages: how they are written, read and sent back.

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

/// The header in which a quorum queue counts a message's deliveries.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// What a content header's frame holds beside the properties, in bytes.
const FRAME: usize = 20;

/// The values of the header `mo-router-kind`.
const EVENT: &str = "event";
const PUBLICATION: &str = "publication";

/// A dead letter as a message: the original bytes and properties, and headers that say
/// what happened. Its routing key is the plugin's name. `frame_max` is the size of the
/// frame that its properties must fit into.
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
        DeadKind::Event => EVENT,
        DeadKind::Publication => PUBLICATION,
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
    // It must wait for a person, however long that takes.
    message.properties.expiration = None;
    message.exchange = DEAD.to_owned();
    message.routing_key = letter.plugin.clone();
    message
}

/// An event as it was first delivered: without the broker's delivery count, and if it was
/// sent back to the plugin's queue, with its original exchange and routing key.
pub fn restored(mut message: Incoming) -> Incoming {
    let count = message.properties.headers.remove(DELIVERY_COUNT).and_then(|count| count.int());
    // A publisher's own header says nothing of a message that was not delivered before.
    if let (1.., Some(count)) = (message.deliveries, count) {
        message.deliveries = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    }
    if message.exchange.is_empty() && !message.properties.headers.is_empty() {
        let headers = &mut message.properties.headers;
        let mut take = |name| headers.remove(name).and_then(original::bytes);
        if let (Some(exchange), Some(key)) = (take(headers::EXCHANGE), take(headers::ROUTING_KEY)) {
            original::set_address(&mut message, exchange, key);
        }
    }
    message
}

/// A dead letter, read from its message.
#[derive(Clone, Debug, Serialize)]
pub struct Letter {
    /// What commands know it by: 16 hexadecimal digits, a hash of its content.
    pub id: String,
    /// Why it is a dead letter.
    pub reason: String,
    /// The plugin that it was for, or that published it.
    pub plugin: String,
    /// The version of that plugin; empty if the broker made the dead letter.
    pub version: String,
    /// How many times it was tried.
    pub attempts: i64,
    /// Whether it is an event or a publication.
    pub kind: DeadKind,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Since when it is a dead letter, in RFC 3339.
    pub since: Option<String>,
    /// Its properties, without those that the router added.
    pub properties: Properties,
    /// Its body, with anything that is not UTF-8 replaced.
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
        let by_broker = BrokerLetter::read(properties.headers.get("x-death"));
        let unreadable = match properties.unreadable.take() {
            // The broker made the dead letter; its properties are those of the event.
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
        let exchange = exchange.unwrap_or(by_broker.exchange);
        let key = take(headers::ROUTING_KEY).and_then(original::bytes);
        let key = key.unwrap_or(by_broker.routing_key);
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let reason = text(take(headers::REASON)).unwrap_or_else(|| by_broker.reason.clone());
        let letter = Self {
            id,
            reason,
            plugin: text(take(headers::PLUGIN)).unwrap_or(routing_key),
            version: text(take(headers::VERSION)).unwrap_or_default(),
            attempts: take(headers::ATTEMPTS)
                .and_then(|value| value.int())
                .unwrap_or(by_broker.count),
            kind: kind(take(headers::KIND)),
            exchange: lossy(&exchange),
            routing_key: lossy(&key),
            since: text(take(headers::DEAD_SINCE)).or(by_broker.since),
            body: lossy(&body),
            properties: Properties::default(),
            unreadable: unreadable.as_ref().map(|properties| BASE64_STANDARD.encode(properties)),
            original: Original { exchange, routing_key: key, properties: unreadable, body },
        };
        // When a person sends it back, its hops are counted from zero.
        headers.remove(headers::HOPS);
        Self { properties, ..letter }
    }

    /// The message that sends it back: an event to its plugin's queue, a publication to its
    /// exchange.
    ///
    /// # Errors
    /// Its properties are too large for a frame.
    pub(super) fn to_requeue(&self, broker: &Broker) -> Result<Message> {
        let Original { exchange, routing_key, properties, body } = &self.original;
        let (queue, body) = (topology::queue_name(broker, &self.plugin), body.clone());
        let original = properties.as_deref();
        if let Some(original) =
            original.and_then(|it| original::to_requeue(it, exchange, routing_key))
        {
            let size = original.len() + FRAME;
            if size > broker.frame_max() {
                bail!(
                    "its properties take a frame of {size} bytes, and the broker takes at most {}; \
                     it stays a dead letter",
                    broker.frame_max()
                );
            }
            let message_id = self.properties.message_id.clone();
            let unreadable = Unreadable { properties: Some(original), ..Unreadable::default() };
            let unreadable = Some(unreadable.into());
            let properties = Properties { message_id, unreadable, ..Properties::default() }.into();
            return Ok(Message { exchange: String::new(), routing_key: queue, properties, body });
        }
        let mut properties = self.properties.clone();
        let (exchange, routing_key) = match self.kind {
            DeadKind::Publication => (self.exchange.clone(), self.routing_key.clone()),
            DeadKind::Event => {
                properties.headers.extend([
                    (headers::EXCHANGE.to_owned(), original::value(exchange.clone())),
                    (headers::ROUTING_KEY.to_owned(), original::value(routing_key.clone())),
                ]);
                (String::new(), queue)
            }
        };
        properties.message_id.get_or_insert_with(|| self.id.clone());
        Ok(Message { exchange, routing_key, properties: properties.into(), body })
    }
}

/// The kind of a dead letter by its header; an event if the header is missing or unknown.
fn kind(header: Option<Value>) -> DeadKind {
    match header.as_ref().and_then(Value::text) {
        Some(PUBLICATION) => DeadKind::Publication,
        _ => DeadKind::Event,
    }
}

/// What the broker says about a message that it dead-lettered itself, because it was
/// redelivered too often.
#[derive(Default)]
struct BrokerLetter {
    reason: String,
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    count: i64,
    since: Option<String>,
}

impl BrokerLetter {
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
                "the broker gave up on it ({}): every delivery ended unsettled, as if the event \
                 crashes the router",
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
    // Reading a letter counts as a delivery, which must not change its id.
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
        Incoming { exchange, routing_key, properties, body, deliveries: 0 }
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
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
        assert_eq!(serde_json::to_value(read).unwrap()["kind"], "event");
    }

    #[test]
    fn an_unknown_kind_is_an_event() {
        for (text, expected) in [
            ("event", DeadKind::Event),
            ("publication", DeadKind::Publication),
            ("something else", DeadKind::Event),
        ] {
            let mut message = to_message(&letter(), 1 << 17);
            message.properties.headers.insert(headers::KIND.into(), text.into());
            let read = Letter::read(arrived(message));
            assert_eq!(read.kind, expected, "{text}");
        }
    }

    #[tokio::test]
    async fn an_event_sent_back_is_delivered_as_at_first() {
        let message = to_message(&letter(), 1 << 17);
        let read = Letter::read(arrived(message));
        let broker = Broker::new(crate::settings::Amqp::default());
        let back = read.to_requeue(&broker).unwrap();
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
