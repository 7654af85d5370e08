//! Where an event was first published, which headers say while it is on its way back to
//! its plugin's queue.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::original_headers;
use crate::amqp::original;
use crate::event::{Properties, Value, headers};

/// Marks an event with the exchange and the routing key that it was published with, and
/// sets aside what the default exchange must not see.
pub fn put(headers: &mut BTreeMap<String, Value>, exchange: Vec<u8>, routing_key: Vec<u8>) {
    original_headers::set_aside(headers);
    mark(headers, exchange, routing_key);
}

/// Marks the event alone.
pub fn mark(headers: &mut BTreeMap<String, Value>, exchange: Vec<u8>, routing_key: Vec<u8>) {
    headers.insert(headers::EXCHANGE.to_owned(), original::value(exchange));
    headers.insert(headers::ROUTING_KEY.to_owned(), original::value(routing_key));
}

/// Undoes [`put`], and gives the exchange and the routing key. An event whose properties are behind
/// its body has them again. Only what came through the default exchange can have been sent back;
/// elsewhere the headers are a publisher's.
pub fn take(
    came_through: &[u8],
    properties: &mut Properties,
    body: &mut Bytes,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let headers = &mut properties.headers;
    if !came_through.is_empty() || headers.is_empty() {
        return None;
    }
    let is_reduced = original::is_behind(headers);
    let mut take = |name| headers.remove(name).and_then(original::bytes);
    let address = (take(headers::EXCHANGE)?, take(headers::ROUTING_KEY)?);
    original_headers::restore(headers);
    if is_reduced {
        original::restore(properties, body);
    }
    Some(address)
}
