//! What stands in for a message that lapin cannot read, and how the rest of the router
//! tells it from any other.
//!
//! The stand-in has the properties that can be read, one header more, and a longer body:
//! in front of the message's own bytes come the [`Unreadable`] details. The header holds
//! a number that only this process knows, so that nobody can publish a stand-in, and the
//! length of the details. So they take the same way as the message, and are gone when it is.

use std::sync::LazyLock;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, FieldTable};

use super::fields::Reader;
use super::frame::BEFORE_PROPERTIES;
use crate::event::{Properties, Unreadable, Value};

/// The header of a stand-in. It never leaves the process.
pub const HEADER: &str = "mo-router-unreadable";

const LENGTH: usize = 16;

/// The number by which the process knows its own stand-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark([u8; LENGTH]);

impl Mark {
    /// That of this process.
    #[expect(clippy::disallowed_methods, reason = "nobody may guess it, whatever the seed")]
    pub fn own() -> Self {
        static OWN: LazyLock<Mark> = LazyLock::new(|| Mark(rand::random()));
        *OWN
    }

    /// What the header of a stand-in holds, with details of so many bytes.
    pub fn header(self, details: usize) -> Vec<u8> {
        [&self.0[..], &(details as u32).to_be_bytes()].concat()
    }

    /// Reads [`Mark::header`].
    fn read_header(self, value: &[u8]) -> Option<usize> {
        let details = value.strip_prefix(&self.0)?;
        Some(u32::from_be_bytes(details.try_into().ok()?) as usize)
    }
}

/// The details as bytes.
pub fn encode(unreadable: &Unreadable) -> Vec<u8> {
    let Unreadable { reason, exchange, routing_key, properties } = unreadable;
    let mut out = Vec::new();
    for part in [reason.as_bytes(), exchange, routing_key] {
        out.extend((part.len() as u32).to_be_bytes());
        out.extend(part);
    }
    if let Some(properties) = properties {
        out.extend(properties);
    }
    out
}

/// Reads [`encode`]. Properties are never empty: they have flags.
fn decode(details: &[u8]) -> Option<Unreadable> {
    let mut reader = Reader(details);
    Some(Unreadable {
        reason: String::from_utf8_lossy(reader.long_string()?).into_owned(),
        exchange: reader.long_string()?.to_vec(),
        routing_key: reader.long_string()?.to_vec(),
        properties: (!reader.is_empty()).then(|| reader.0.to_vec()),
    })
}

/// Makes of a stand-in the message that it stands for.
pub fn resolve(properties: &mut Properties, body: &mut Bytes) {
    resolve_marked(Mark::own(), properties, body);
}

fn resolve_marked(mark: Mark, properties: &mut Properties, body: &mut Bytes) {
    let Some(Value::Binary(value)) = properties.headers.get(HEADER) else { return };
    let Some(length) = mark.read_header(value).filter(|length| *length <= body.len()) else {
        return;
    };
    properties.headers.remove(HEADER);
    properties.unreadable = decode(&body.split_to(length)).map(Box::new);
}

/// What lapin sends for a message with these properties, which it could not write itself;
/// they take the place of this on their way to the broker.
pub fn outgoing(properties: &[u8]) -> BasicProperties {
    let value = [&Mark::own().0[..], properties].concat();
    let mut headers = FieldTable::default();
    headers.insert(HEADER.into(), AMQPValue::ByteArray(ByteArray::from(value)));
    BasicProperties::default().with_headers(headers)
}

/// How far into the content header one sees whether it is [`outgoing`].
pub const OUTGOING_FLAGS: usize = BEFORE_PROPERTIES + 2;

/// Whether a content header may be [`outgoing`]: it has headers and nothing else. One by
/// one, only what comes from here has, since all that the router publishes is persistent.
pub fn may_be_outgoing(content_header: &[u8; OUTGOING_FLAGS]) -> bool {
    content_header.ends_with(&[0x20, 0])
}

/// The properties that a content header that is [`outgoing`] stands for.
pub fn outgoing_properties(mark: Mark, content_header: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(content_header.get(OUTGOING_FLAGS..)?);
    let mut table = Reader(reader.long_string()?);
    let (name, kind) = (table.short_string()?, table.octet()?);
    if name != HEADER.as_bytes() || kind != b'x' {
        return None;
    }
    table.long_string()?.strip_prefix(&mark.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable() -> Unreadable {
        Unreadable {
            reason: "why".into(),
            exchange: b"os2mo".to_vec(),
            routing_key: b"bl\xe5".to_vec(),
            properties: Some(vec![0, 0]),
        }
    }

    fn stand_in(mark: Mark, details: &[u8]) -> (Properties, Bytes) {
        let mut properties = Properties::default();
        properties.headers.insert(HEADER.into(), Value::Binary(mark.header(details.len())));
        (properties, [details, b"body"].concat().into())
    }

    #[test]
    fn a_stand_in_gives_back_what_it_stands_for() {
        let (mut properties, mut body) = stand_in(Mark::own(), &encode(&unreadable()));
        resolve(&mut properties, &mut body);
        assert_eq!(properties.unreadable.as_deref(), Some(&unreadable()));
        assert_eq!(&body[..], b"body");
        assert!(properties.headers.is_empty());
    }

    #[test]
    fn nobody_else_makes_a_stand_in() {
        let (mut properties, mut body) = stand_in(Mark([0; LENGTH]), &encode(&unreadable()));
        let (before, bytes) = (properties.clone(), body.clone());
        resolve(&mut properties, &mut body);
        assert_eq!((properties, body), (before, bytes));
    }
}
