//! Frames as brokers and publishers make them, sound or not.

use super::super::frame::{BODY, HEADER, METHOD, write};

/// A short string.
pub fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

/// A long string, or a table.
pub fn long(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes(), content].concat()
}

/// An entry of a table.
pub fn entry(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(name)[..], &[kind], value].concat()
}

/// A value of type `F` that holds tables nested so many levels deep below it.
pub fn nested(levels: usize) -> Vec<u8> {
    (0..levels).fold(long(&[]), |inner, _| long(&entry(b"n", b'F', &inner)))
}

/// `basic.deliver`.
pub fn deliver(channel: u16, exchange: &[u8], routing_key: &[u8]) -> Vec<u8> {
    let arguments =
        [&[0, 60, 0, 60], &short(b"tag")[..], &[0; 9], &short(exchange), &short(routing_key)];
    frame(METHOD, channel, &arguments.concat())
}

/// A content header with these properties, flags included.
pub fn content_header(channel: u16, body_size: u64, properties: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 0], &body_size.to_be_bytes()[..], properties].concat();
    frame(HEADER, channel, &payload)
}

/// A part of a body.
pub fn body(channel: u16, bytes: &[u8]) -> Vec<u8> {
    frame(BODY, channel, bytes)
}

/// Any frame.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, kind, channel, [payload, &[]]);
    out
}

/// A message whole.
pub fn message(
    channel: u16,
    exchange: &[u8],
    routing_key: &[u8],
    properties: &[u8],
    bytes: &[u8],
) -> Vec<u8> {
    let header = content_header(channel, bytes.len() as u64, properties);
    [deliver(channel, exchange, routing_key), header, body(channel, bytes)].concat()
}

/// Properties with these headers and nothing else.
pub fn headers(content: &[u8]) -> Vec<u8> {
    [&[0x20, 0], &long(content)[..]].concat()
}

/// Properties with this correlation id and nothing else.
pub fn correlation_id(id: &[u8]) -> Vec<u8> {
    [&[0x04, 0], &short(id)[..]].concat()
}
