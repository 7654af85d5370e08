//! Dead letters as messages: how they are written and read, and what sends them
//! back.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use serde::Serialize;

use super::broker::Broker;
use super::properties::from_amqp;
use super::topology::{self, DEAD};
use crate::event::{Datetime, DeadKind, DeadLetter, Incoming, Message, Properties, Value, headers};

/// How many times a quorum queue has delivered a message before, as it says itself.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// A dead letter as a message: the original bytes and properties, and headers
/// that say what happened. Its routing key is the plugin's name.
pub fn to_message(letter: &DeadLetter) -> Message {
    let mut message = letter.message.clone();
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
        (headers::EXCHANGE, message.exchange.as_str().into()),
        (headers::ROUTING_KEY, message.routing_key.as_str().into()),
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
        let mut take = |name| match headers.remove(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        if let (Some(exchange), Some(key)) = (take(headers::EXCHANGE), take(headers::ROUTING_KEY)) {
            message.exchange = exchange;
            message.routing_key = key;
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
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl Letter {
    pub(super) fn read(routing_key: &str, amqp: &BasicProperties, bytes: Vec<u8>) -> Self {
        let mut properties = from_amqp(amqp);
        let id = identity(&properties, &bytes);
        let given_up = GivenUp::read(properties.headers.get("x-death"));
        let headers = &mut properties.headers;
        headers.retain(|name, _| !matches!(name.as_str(), "x-death" | DELIVERY_COUNT));
        headers.retain(|name, _| {
            !name.starts_with("x-first-death-") && !name.starts_with("x-last-death-")
        });
        let mut take = |name| headers.remove(name);
        let text = |value: Option<Value>| value.and_then(|value| value.as_text());
        let reason = text(take(headers::REASON)).unwrap_or_else(|| given_up.reason.clone());
        let letter = Self {
            id,
            reason,
            plugin: text(take(headers::PLUGIN)).unwrap_or_else(|| routing_key.to_owned()),
            version: text(take(headers::VERSION)).unwrap_or_default(),
            attempts: take(headers::ATTEMPTS)
                .and_then(|value| value.int())
                .unwrap_or(given_up.count),
            kind: text(take(headers::KIND)).unwrap_or_else(|| "event".into()),
            exchange: text(take(headers::EXCHANGE)).unwrap_or(given_up.exchange),
            routing_key: text(take(headers::ROUTING_KEY)).unwrap_or(given_up.routing_key),
            since: text(take(headers::DEAD_SINCE)).or(given_up.since),
            body: String::from_utf8_lossy(&bytes).into_owned(),
            properties: Properties::default(),
            bytes,
        };
        // Sent back by a person, it starts its life anew.
        headers.remove(headers::HOPS);
        Self { properties, ..letter }
    }

    /// The message that sends it back: an event to its plugin's queue, a
    /// publication to its exchange.
    pub(super) fn sent_back(&self, broker: &Broker) -> Message {
        let mut properties = self.properties.clone();
        let (exchange, routing_key) = if self.kind == "publication" {
            (self.exchange.clone(), self.routing_key.clone())
        } else {
            properties.headers.extend([
                (headers::EXCHANGE.to_owned(), self.exchange.as_str().into()),
                (headers::ROUTING_KEY.to_owned(), self.routing_key.as_str().into()),
            ]);
            (String::new(), topology::queue_name(broker, &self.plugin))
        };
        properties.message_id.get_or_insert_with(|| self.id.clone());
        let (properties, body) = (properties.into(), self.bytes.clone().into());
        Message { exchange, routing_key, properties, body }
    }
}

/// What the broker says of a message that it has given up by itself: one that
/// was redelivered too often.
#[derive(Default)]
struct GivenUp {
    reason: String,
    exchange: String,
    routing_key: String,
    count: i64,
    since: Option<String>,
}

impl GivenUp {
    fn read(deaths: Option<&Value>) -> Self {
        let Some(Value::List(deaths)) = deaths else { return Self::default() };
        let Some(Value::Table(death)) = deaths.first() else { return Self::default() };
        let text = |name: &str| death.get(name).and_then(Value::as_text).unwrap_or_default();
        let routing_key = match death.get("routing-keys") {
            Some(Value::List(keys)) => keys.first().and_then(Value::as_text).unwrap_or_default(),
            _ => String::new(),
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
            exchange: text("exchange"),
            routing_key,
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
    use super::super::properties::to_amqp;
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

    #[test]
    fn a_letter_reads_as_it_was_written() {
        let message = to_message(&letter());
        assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), (DEAD, "p"));
        let read = Letter::read("p", &to_amqp(&message.properties), message.body.to_vec());
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
        let message = to_message(&letter());
        let read = Letter::read("p", &to_amqp(&message.properties), message.body.to_vec());
        let broker = Broker::new(crate::settings::Amqp::default());
        let back = read.sent_back(&broker);
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
