//! AMQP messages, as they arrive and as they leave, free of any AMQP library.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Datetime;
use super::value::{Value, table_size};

/// A message as it came from the broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Its properties, headers included; boxed, since messages are handed on at every step.
    pub properties: Box<Properties>,
    /// Its bytes.
    pub body: Bytes,
    /// How many times the broker may have delivered it before, as far as it says.
    pub deliveries: u32,
}

/// A message to publish.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Where to.
    pub exchange: String,
    /// With which routing key, at most 255 bytes.
    pub routing_key: String,
    /// Its properties; `message_id` is always set, but for an event that is sent back.
    pub properties: Box<Properties>,
    /// Its bytes.
    pub body: Bytes,
}

impl From<Incoming> for Message {
    /// The message as it was published.
    fn from(message: Incoming) -> Self {
        let Incoming { exchange, routing_key, properties, body, deliveries: _ } = message;
        Self { exchange, routing_key, properties, body }
    }
}

impl Message {
    /// What tells this message from others: the `message_id` property.
    pub fn id(&self) -> &str {
        self.properties.message_id.as_deref().unwrap_or_default()
    }

    /// Bytes that it takes in memory, roughly: texts, headers and body.
    pub fn size(&self) -> usize {
        size(&self.exchange, &self.routing_key, &self.properties, &self.body)
    }
}

impl Incoming {
    /// Bytes that it takes in memory, roughly: texts, headers and body.
    pub fn size(&self) -> usize {
        size(&self.exchange, &self.routing_key, &self.properties, &self.body)
    }
}

fn size(exchange: &str, routing_key: &str, properties: &Properties, body: &Bytes) -> usize {
    size_of::<Message>() + exchange.len() + routing_key.len() + properties.size() + body.len()
}

/// A message that is not due yet, with what people look for it by.
#[derive(Clone, Debug, PartialEq)]
pub struct Delayed {
    /// What to publish, ready as it is.
    pub message: Message,
    /// When.
    pub due: Datetime,
    /// The plugin that asked for it.
    pub plugin: String,
    /// Its version at the time.
    pub version: String,
    /// A newer delayed message of the same plugin and key replaces this one.
    pub key: Option<String>,
    /// The person or unit of the event that caused it.
    pub uuid: String,
}

/// The properties of an AMQP 0-9-1 message (basic class), but for the delivery
/// mode: what the router publishes is persistent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Properties {
    /// MIME type of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// MIME encoding of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Headers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Value>,
    /// 0 to 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Of a reply: the request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Where to reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Time to live in a queue, in milliseconds, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// What tells the message from others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// The message's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The publishing application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Of a message that could not be read whole: why, and what it was. The rest is what
    /// could be read of it.
    #[serde(skip)]
    pub unreadable: Option<Box<Unreadable>>,
}

impl Properties {
    /// Those that are text, with their names.
    pub fn texts(&self) -> [(&'static str, Option<&str>); 8] {
        [
            ("content_type", &self.content_type),
            ("content_encoding", &self.content_encoding),
            ("correlation_id", &self.correlation_id),
            ("reply_to", &self.reply_to),
            ("expiration", &self.expiration),
            ("message_id", &self.message_id),
            ("type", &self.kind),
            ("app_id", &self.app_id),
        ]
        .map(|(name, text)| (name, text.as_deref()))
    }

    /// Bytes that they take in memory, roughly.
    pub fn size(&self) -> usize {
        let texts: usize =
            self.texts().into_iter().filter_map(|(_, text)| text).map(str::len).sum();
        let original = self.unreadable.as_ref().map_or(0, |unreadable| unreadable.size());
        size_of::<Self>() + texts + table_size(&self.headers) + original
    }
}

/// What is known of a message that cannot be read, with what is not text or nested too
/// deep as the bytes that it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Why, in words for a dead letter.
    pub reason: String,
    /// The exchange that it was published to.
    pub exchange: Vec<u8>,
    /// The routing key that it was published with.
    pub routing_key: Vec<u8>,
    /// Its properties as AMQP writes them; none if they could be read.
    pub properties: Option<Vec<u8>>,
}

impl Unreadable {
    /// Bytes that it takes in memory, roughly.
    fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, Vec::len);
        size_of::<Self>()
            + self.reason.len()
            + self.exchange.len()
            + self.routing_key.len()
            + properties
    }
}
