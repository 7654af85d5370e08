//! Lines of the output.

use serde_json::{Map, Value as Json, json};

use super::header::to_json;
use super::line::Line;
use crate::event::{DeadLetter, Message, Properties, Value, headers};

/// A publication. The headers of a delayed one name its plugin.
pub fn message_line(plugin: Option<&str>, message: &Message) -> Line {
    let header = |name: &str| message.properties.headers.get(name).and_then(Value::text);
    let mut fields = fields(json!({
        "plugin": plugin.or_else(|| header(headers::PLUGIN)),
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "headers": own_headers(&message.properties),
        "due": header(headers::DUE),
        "message_id": message.id(),
    }));
    put_properties(&mut fields, &message.properties);
    Line::new(fields, &message.body)
}

/// A dead letter.
pub fn dead_line(letter: &DeadLetter) -> Line {
    let mut fields = fields(json!({
        "reason": letter.reason,
        "plugin": letter.plugin,
        "version": letter.version,
        "attempts": letter.attempts,
        "kind": letter.kind,
        "exchange": letter.message.exchange,
        "routing_key": letter.message.routing_key,
        "headers": own_headers(&letter.message.properties),
    }));
    put_properties(&mut fields, &letter.message.properties);
    Line::dead(fields, &letter.message.body)
}

/// The dead letter for a line of the input that is not a message.
pub fn invalid_line(number: u64, reason: &str, line: &[u8]) -> Line {
    Line::dead(fields(json!({ "reason": reason, "line": number })), line)
}

/// The fields of an object.
pub(super) fn fields(object: Json) -> Map<String, Json> {
    match object {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Adds the properties that the message has, by their names in AMQP.
fn put_properties(fields: &mut Map<String, Json>, properties: &Properties) {
    for (name, text) in properties.texts() {
        if let Some(text) = text {
            fields.insert(name.to_owned(), text.into());
        }
    }
    let numbers =
        [("priority", properties.priority.map(u64::from)), ("timestamp", properties.timestamp)];
    for (name, number) in numbers {
        if let Some(number) = number {
            fields.insert(name.to_owned(), number.into());
        }
    }
}

/// The headers without the router's own, which are fields of the line or useless
/// without a broker.
fn own_headers(properties: &Properties) -> Json {
    let own = properties.headers.iter().filter(|(name, _)| !name.starts_with(headers::PREFIX));
    own.map(|(name, value)| (name.clone(), to_json(value))).collect::<Map<_, _>>().into()
}
