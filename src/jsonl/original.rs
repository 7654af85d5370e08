//! What is recorded of a message that could not be read whole.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Unreadable;

/// Why it could not be read, and the bytes that it was, in base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Original {
    reason: String,
    exchange: Base64,
    routing_key: Base64,
    /// As AMQP writes them; none if they could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<Base64>,
}

struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl From<Unreadable> for Original {
    fn from(unreadable: Unreadable) -> Self {
        let Unreadable { reason, exchange, routing_key, properties } = unreadable;
        Self {
            reason,
            exchange: Base64(exchange),
            routing_key: Base64(routing_key),
            properties: properties.map(Base64),
        }
    }
}

impl From<Original> for Unreadable {
    fn from(original: Original) -> Self {
        let Original { reason, exchange, routing_key, properties } = original;
        Self {
            reason,
            exchange: exchange.0,
            routing_key: routing_key.0,
            properties: properties.map(|Base64(bytes)| bytes),
        }
    }
}
