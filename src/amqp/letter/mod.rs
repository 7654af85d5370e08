//! Dead letters as messages: how they are written, read and sent back.
//!
//! Two write them. The router makes a letter of what it gives up: the message, with
//! headers that say what happened. The broker moves an event there as it is, and adds
//! `x-death`. What a publisher has put into the headers of such an event says nothing
//! about the letter; only `x-death` does. So that the two can be told apart, a letter of
//! the router has no `x-death`: what its message had is kept under other names.

mod address;
mod deaths;
mod original_headers;
mod write;

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::Xxh3;

use self::deaths::Death;
pub use self::write::{restored, to_message};
use super::broker_headers::{DELIVERY_COUNTS, is_about_deaths};
use super::original;
use crate::event::{Datetime, DeadKind, Incoming, Properties, Value, headers};

/// The values of the header `mo-router-kind`.
const EVENT: &str = "event";
const PUBLICATION: &str = "publication";

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
    #[serde(serialize_with = "as_text")]
    exchange: Vec<u8>,
    /// The routing key that it was published with.
    #[serde(serialize_with = "as_text")]
    routing_key: Vec<u8>,
    /// The queue that its event came from, or the event that caused it; none if that is
    /// not known.
    pub queue: Option<String>,
    /// Since when it is a dead letter.
    pub since: Option<Datetime>,
    /// Its properties, without those that the router added.
    pub properties: Properties,
    /// Its body; shown with anything that is not UTF-8 replaced.
    #[serde(serialize_with = "as_text")]
    body: Bytes,
    /// How many bytes the body had, if only its start is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_size: Option<i64>,
    /// Its properties as AMQP writes them, shown in base64, if they cannot be read or were
    /// too large for the letter; `properties` has what can be read of them.
    #[serde(serialize_with = "as_base64", skip_serializing_if = "Option::is_none")]
    unreadable: Option<Vec<u8>>,
}

impl Letter {
    /// Reads a message from the queue of dead letters.
    pub(super) fn read(mut message: Incoming) -> Self {
        // Reading a letter counts as a delivery, which must not change its id.
        DELIVERY_COUNTS.iter().for_each(|name| {
            message.properties.headers.remove(*name);
        });
        let id = identity(&message.properties, &message.body);
        let death = match deaths::latest(&message.properties.headers) {
            Some(death) => Some(death),
            // What the router writes can be read.
            None if message.properties.unreadable.is_some() => Some(Death::unknown()),
            None => None,
        };
        match death {
            Some(death) => Self::by_broker(id, message, death),
            None => Self::by_router(id, message),
        }
    }

    /// An event that the broker moved to the dead letters.
    fn by_broker(id: String, message: Incoming, death: Death) -> Self {
        let Incoming { routing_key: plugin, mut properties, mut body, .. } = message;
        let headers = &mut properties.headers;
        headers.retain(|name, _| !is_about_deaths(name.as_bytes()));
        let sent_back = address::take(&death.exchange, &mut properties, &mut body);
        let headers = &mut properties.headers;
        let (exchange, routing_key) = sent_back.unwrap_or((death.exchange, death.routing_key));
        headers::remove_own(headers);
        headers.remove(headers::HOPS);
        let unreadable = properties.unreadable.take().and_then(|unreadable| unreadable.properties);
        Self {
            id,
            reason: death.reason,
            plugin,
            version: String::new(),
            attempts: death.count,
            kind: DeadKind::Event,
            exchange,
            routing_key,
            queue: death.queue.and_then(|queue| String::from_utf8(queue).ok()),
            since: death.since,
            properties: *properties,
            body,
            body_size: None,
            unreadable,
        }
    }

    /// What the router gave up.
    fn by_router(id: String, message: Incoming) -> Self {
        let Incoming { routing_key, mut properties, mut body, .. } = message;
        properties.headers.retain(|name, _| !is_about_deaths(name.as_bytes()));
        let unreadable = original::take(&mut properties, &mut body);
        let headers = &mut properties.headers;
        let mut take = |name| headers.remove(name);
        let text = |value: Option<Value>| value.and_then(|value| value.as_text());
        let bytes = |value: Option<Value>| value.and_then(original::bytes).unwrap_or_default();
        let mut letter = Self {
            id,
            reason: text(take(headers::REASON)).unwrap_or_default(),
            plugin: text(take(headers::PLUGIN)).unwrap_or(routing_key),
            version: text(take(headers::VERSION)).unwrap_or_default(),
            attempts: take(headers::ATTEMPTS).and_then(|value| value.int()).unwrap_or(0),
            kind: kind(take(headers::KIND)),
            exchange: bytes(take(headers::EXCHANGE)),
            routing_key: bytes(take(headers::ROUTING_KEY)),
            queue: text(take(headers::QUEUE)),
            since: text(take(headers::DEAD_SINCE)).and_then(|time| time.parse().ok()),
            properties: Properties::default(),
            body,
            body_size: take(headers::BODY_SIZE).and_then(|value| value.int()),
            unreadable,
        };
        // When a person sends it back, its hops are counted from zero.
        take(headers::HOPS);
        original_headers::restore(headers);
        letter.properties = *properties;
        letter
    }

    /// The bytes of its body, as far as they are left.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The event as it first came; none of a publication, or if it cannot be read.
    pub fn to_event(&self) -> Option<Incoming> {
        let is_whole = self.unreadable.is_none() && self.body_size.is_none();
        if self.kind != DeadKind::Event || !is_whole {
            return None;
        }
        Some(Incoming {
            exchange: String::from_utf8(self.exchange.clone()).ok()?,
            routing_key: String::from_utf8(self.routing_key.clone()).ok()?,
            properties: self.properties.clone().into(),
            body: self.body.clone(),
            deliveries: 0,
        })
    }

    /// The routing key for people, with anything that is not UTF-8 replaced.
    pub fn routing_key(&self) -> String {
        String::from_utf8_lossy(&self.routing_key).into_owned()
    }
}

/// The kind of a dead letter by its header; an event if the header is missing or unknown.
fn kind(header: Option<Value>) -> DeadKind {
    match header.as_ref().and_then(Value::text) {
        Some(PUBLICATION) => DeadKind::Publication,
        _ => DeadKind::Event,
    }
}

fn identity(properties: &Properties, body: &[u8]) -> String {
    let mut hash = Hash(Xxh3::new());
    // What is written cannot fail to be hashed.
    let _ = serde_json::to_writer(&mut hash, &properties.headers);
    hash.0.update(body);
    format!("{:016x}", hash.0.digest())
}

/// Hashes what is written to it.
struct Hash(Xxh3);

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn as_text<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes.as_ref()))
}

fn as_base64<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes)).serialize(serializer)
}

#[cfg(test)]
mod tests;
