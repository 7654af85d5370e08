//! Lines of the output.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value as Json, json};

use crate::event::{Datetime, DeadLetter, Incoming, Message, Properties, Value, headers};

/// A publication. The headers of a delayed one name its plugin.
pub fn message_line(plugin: Option<&str>, message: &Message) -> Json {
    let header = |name: &str| message.properties.headers.get(name).and_then(Value::text);
    let mut line = json!({
        "plugin": plugin.or_else(|| header(headers::PLUGIN)),
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "headers": own_headers(&message.properties),
        "due": header(headers::DUE),
        "message_id": message.id(),
    });
    put_body(&mut line, &message.body);
    line
}

/// A dead letter.
pub fn dead_line(letter: &DeadLetter) -> Json {
    let mut dead = json!({
        "reason": letter.reason,
        "plugin": letter.plugin,
        "version": letter.version,
        "attempts": letter.attempts,
        "kind": letter.kind,
        "exchange": letter.message.exchange,
        "routing_key": letter.message.routing_key,
        "headers": own_headers(&letter.message.properties),
    });
    put_body(&mut dead, &letter.message.body);
    json!({ "dead": dead })
}

/// The dead letter for a line of the input that is not a message.
pub fn invalid_line(number: u64, reason: &str, line: &[u8]) -> Json {
    let mut dead = json!({ "reason": reason, "line": number });
    put_body(&mut dead, line);
    json!({ "dead": dead })
}

/// A message that was received from an exchange, in the format of the input.
pub fn recorded_line(received: Datetime, message: &Incoming) -> Json {
    let mut line = json!({
        "received": received,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
    });
    if !message.properties.headers.is_empty() {
        let headers = &message.properties.headers;
        line["headers"] =
            headers.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    }
    if let Some(content_type) = &message.properties.content_type {
        line["content_type"] = content_type.as_str().into();
    }
    if let Some(message_id) = &message.properties.message_id {
        line["message_id"] = message_id.as_str().into();
    }
    put_body(&mut line, &message.body);
    line
}

/// Adds the body in the most readable form that its bytes allow.
fn put_body(line: &mut Json, body: &[u8]) {
    let (name, value) = match (serde_json::from_slice::<Json>(body), std::str::from_utf8(body)) {
        (Ok(json), _) => ("body", json),
        (_, Ok(text)) => ("body_text", text.into()),
        _ => ("body_base64", BASE64_STANDARD.encode(body).into()),
    };
    line[name] = value;
}

/// The headers without the router's own, which are fields of the line or useless
/// without a broker.
fn own_headers(properties: &Properties) -> Json {
    let own = properties.headers.iter().filter(|(name, _)| !name.starts_with(headers::PREFIX));
    own.map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>().into()
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Bytes(bytes) | Value::Binary(bytes) => BASE64_STANDARD.encode(bytes).into(),
        Value::Timestamp(seconds) => (*seconds).into(),
        Value::List(values) => values.iter().map(plain).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect::<Map<_, _>>()
            .into(),
        number => match number.int() {
            Some(int) => int.into(),
            None => number.float().into(),
        },
    }
}
