//! Lines of a recording: messages as they came, in the format of the input.

use serde_json::{Map, Value as Json, json};

use super::header::to_json;
use super::line::Line;
use super::original::Original;
use super::output::fields;
use crate::event::{Datetime, Incoming};

/// A message that was received from an exchange: every property, and the bytes of its body.
pub fn recorded_line(received: Datetime, message: &Incoming) -> Line {
    let mut line = fields(json!({
        "received": received,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
    }));
    let properties = &message.properties;
    let mut put = |name: &str, value: Option<Json>| {
        if let Some(value) = value {
            line.insert(name.to_owned(), value);
        }
    };
    let headers = properties.headers.iter().map(|(name, value)| (name.clone(), to_json(value)));
    let headers: Map<_, _> = headers.collect();
    put("headers", (!headers.is_empty()).then(|| headers.into()));
    for (name, text) in properties.texts() {
        put(name, text.map(Json::from));
    }
    put("priority", properties.priority.map(Json::from));
    put("timestamp", properties.timestamp.map(Json::from));
    let original = properties.unreadable.as_deref().map(|it| json!(Original::from(it.clone())));
    put("unreadable", original);
    Line::new(line, &message.body)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::input::read_recorded;
    use super::*;
    use crate::event::{Properties, Unreadable, Value};

    #[test]
    fn what_is_recorded_is_read_as_it_came() {
        let text = |text: &str| Some(text.to_owned());
        let properties = Properties {
            content_type: text("application/json"),
            content_encoding: text("gzip"),
            headers: BTreeMap::from([
                ("mo-router-hops".to_owned(), Value::Int8(2)),
                ("since".to_owned(), Value::Timestamp(1)),
            ]),
            priority: Some(0),
            correlation_id: text("c"),
            reply_to: text("r"),
            expiration: text("60000"),
            message_id: text("bd769d3985cb4c66b1d38615e31f7253"),
            timestamp: Some(1_767_225_600),
            kind: text("t"),
            app_id: text("a"),
            unreadable: Some(Box::new(Unreadable {
                reason: "the routing key is not UTF-8".into(),
                exchange: b"os2mo".into(),
                routing_key: b"bl\xe5".into(),
                properties: None,
            })),
        };
        let message = Incoming {
            exchange: "os2mo".into(),
            routing_key: "employee.it.create".into(),
            properties: properties.into(),
            body: br#"{"uuid":  "x", "time": 1.0}"#.to_vec().into(),
            deliveries: 0,
        };
        let received = Datetime::from_unix_micros(1);
        let line = recorded_line(received, &message).to_string();
        let read = read_recorded(&line).unwrap();
        assert_eq!((read.received, read.message), (Some(received), message));
    }
}
