//! Properties that a dead letter cannot have as its own, because they cannot be read or leave
//! no room in a frame: how it keeps them, and how they are sent back.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::protocol::basic::{gen_properties, parse_properties};

use super::broker_headers::{is_about_deaths, is_delivery_count};
use super::properties::{content_header_size, from_amqp, to_amqp};
use super::wire::properties::{self as wire, Faults};
use crate::event::{Incoming, Properties, Unreadable, Value, headers};

/// Room for all else that a dead letter's properties hold, in a frame.
const ROOM: usize = 8 << 10;

/// Has a dead letter keep the properties in a header, or behind the body if they do not
/// fit there; they say all that the readable ones do.
pub fn keep(original: Vec<u8>, properties: &mut Properties, body: &mut Bytes, frame_max: usize) {
    if original.len() + ROOM > frame_max {
        return keep_behind(&original, properties, body);
    }
    reduce(properties, headers::PROPERTIES, Value::Bytes(original));
}

/// The same, behind the body.
pub fn keep_behind(original: &[u8], properties: &mut Properties, body: &mut Bytes) {
    *body = [body, original].concat().into();
    reduce(properties, headers::PROPERTIES_SIZE, Value::Int(original.len() as i64));
}

/// Leaves this header and what tells the message from others.
fn reduce(properties: &mut Properties, header: &str, value: Value) {
    let message_id = properties.message_id.take();
    *properties = Properties { message_id, ..Properties::default() };
    properties.headers.insert(header.to_owned(), value);
}

/// Properties as AMQP writes them.
pub fn written(properties: &Properties) -> Option<Vec<u8>> {
    let mut out = vec![0; content_header_size(properties)];
    let written = gen_properties(&to_amqp(properties))(out.as_mut_slice().into()).ok()?;
    let left = written.into_inner().0.len();
    out.truncate(out.len() - left);
    Some(out)
}

/// Takes out what [`keep`] has kept, and gives the event the properties that can be read.
pub fn take(properties: &mut Properties, body: &mut Bytes) -> Option<Vec<u8>> {
    let size = properties.headers.remove(headers::PROPERTIES_SIZE).and_then(|size| size.int());
    let original = match (properties.headers.remove(headers::PROPERTIES), size) {
        (Some(kept), _) => bytes(kept)?,
        (None, Some(size)) => {
            let start = body.len().checked_sub(usize::try_from(size).ok()?)?;
            body.split_off(start).into()
        }
        (None, None) => return None,
    };
    if let Some(readable) = readable(&original) {
        let letter = std::mem::replace(properties, readable).headers;
        properties.headers.retain(|name, _| !is_added(name.as_bytes()));
        properties.headers.extend(letter);
    }
    Some(original)
}

/// Whether properties with these headers say that others are behind the body.
pub fn is_behind(headers: &BTreeMap<String, Value>) -> bool {
    headers.contains_key(headers::PROPERTIES_SIZE)
}

/// Gives an event that was sent back its properties again, which are behind its body.
pub fn restore(properties: &mut Properties, body: &mut Bytes) {
    let Some(original) = take(properties, body) else { return };
    let mut faults = Faults::default();
    if wire::readable(&original, &mut faults) != original {
        let reason = faults.reason();
        let unreadable = Unreadable { reason, properties: Some(original), ..Unreadable::default() };
        properties.unreadable = Some(unreadable.into());
    }
}

/// Whether all of properties can be read.
pub fn is_readable(original: &[u8]) -> bool {
    wire::readable(original, &mut Faults::default()) == original
}

/// What can be read of properties.
pub fn readable(original: &[u8]) -> Option<Properties> {
    let readable = wire::readable(original, &mut Faults::default());
    let (_, properties) = parse_properties(&readable[..]).ok()?;
    Some(from_amqp(&properties))
}

/// The same properties for an event that goes back to its plugin's queue, without the
/// headers that would have the default exchange deliver it elsewhere too; none if they are
/// malformed.
pub fn to_requeue(original: &[u8], exchange: &[u8], routing_key: &[u8]) -> Option<Vec<u8>> {
    let mut properties = wire::Properties::parse(original)?;
    let is_copies = |name: &[u8]| headers::COPIES.iter().any(|copies| name == copies.as_bytes());
    if !properties.remove_headers(|name| is_added(name) || is_copies(name)) {
        return None;
    }
    properties.add_header(headers::EXCHANGE, b'S', exchange);
    properties.add_header(headers::ROUTING_KEY, b'S', routing_key);
    properties.set_to_leave();
    Some(properties.to_bytes())
}

/// Properties without what [`to_requeue`] has added to the headers.
fn without_address(original: Vec<u8>) -> Vec<u8> {
    let Some(mut properties) = wire::Properties::parse(&original) else { return original };
    let names = [headers::EXCHANGE.as_bytes(), headers::ROUTING_KEY.as_bytes()];
    if properties.remove_headers(|name| names.contains(&name)) {
        properties.to_bytes()
    } else {
        original
    }
}

/// Whether the router or the broker has added this header.
fn is_added(name: &[u8]) -> bool {
    is_about_deaths(name) || is_delivery_count(name) || name.starts_with(headers::PREFIX.as_bytes())
}

/// Says of an event that was sent back where it was published.
pub fn set_address(message: &mut Incoming, exchange: Vec<u8>, routing_key: Vec<u8>) {
    let mut faults = Faults::default();
    let mut text = |bytes: &[u8], what: &str| {
        String::from_utf8_lossy(&faults.text(bytes, || what.to_owned())).into_owned()
    };
    message.exchange = text(&exchange, "the exchange");
    message.routing_key = text(&routing_key, "the routing key");
    let is_readable = faults.is_empty();
    match &mut message.properties.unreadable {
        Some(unreadable) => {
            unreadable.properties = unreadable.properties.take().map(without_address);
            if !is_readable {
                unreadable.reason = format!("{}; {}", faults.reason(), unreadable.reason);
            }
            (unreadable.exchange, unreadable.routing_key) = (exchange, routing_key);
        }
        None if is_readable => {}
        none => {
            let reason = faults.reason();
            let unreadable = Unreadable { reason, exchange, routing_key, properties: None };
            *none = Some(unreadable.into());
        }
    }
}

/// The bytes of a text, or of what should be one.
pub fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Text(text) => Some(text.into_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// A text, or what should be one, as a header.
pub fn value(bytes: Vec<u8>) -> Value {
    String::from_utf8(bytes).map_or_else(|error| Value::Bytes(error.into_bytes()), Value::Text)
}
