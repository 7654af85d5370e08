//! Events to try a plugin on: what MO sends, and unusual ones.

use std::collections::BTreeMap;

use crate::event::{Event, Incoming, Properties, Value};
use crate::settings::Settings;

/// An event, and what it is an example of.
pub struct Sample {
    /// In a few words.
    pub what: &'static str,
    /// The event.
    pub event: Event,
    /// Which attempt it is.
    pub attempt: u32,
}

/// How large the largest sample is, in bytes.
const LARGE: usize = 1 << 20;

/// Each sample: what it is, its routing key, its body.
const PLAIN: [(&str, &str, &str); 10] = [
    (
        "what MO sends",
        "employee.it.create",
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "object_uuid": "0d2be48b-6b7b-4d9b-8e9e-3a0c6d4b9a11", "time": "2024-07-01T00:00:00+02:00"}"#,
    ),
    (
        "of a unit",
        "org_unit.manager.edit",
        r#"{"uuid": "4cc3a9ea-7b68-4ca5-84a2-f61eea5f5468", "object_uuid": "0d2be48b-6b7b-4d9b-8e9e-3a0c6d4b9a11", "time": "2024-07-01T00:00:00+02:00"}"#,
    ),
    (
        "far ahead",
        "employee.engagement.create",
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "time": "2099-01-01T00:00:00+01:00"}"#,
    ),
    (
        "without a date",
        "employee.employee.create",
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "time": "9999-12-31T23:59:59.999999+00:00"}"#,
    ),
    (
        "before 1970, with an odd offset",
        "employee.leave.edit",
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "time": "1880-01-01T00:00:00+00:50:20"}"#,
    ),
    (
        "without an offset",
        "employee.address.edit",
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "time": "2019-03-24T13:02:15.132025"}"#,
    ),
    (
        "without object_uuid and time",
        "org_unit.org_unit.refresh",
        r#"{"uuid": "4cc3a9ea-7b68-4ca5-84a2-f61eea5f5468"}"#,
    ),
    ("with a key of one word", "engagement", r#""1469208d-6867-4c28-9c26-ea10cdc85a5b""#),
    (
        "with words that MO does not use today",
        "planet.moon.eclipse",
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "time": "2024-07-01T00:00:00+02:00"}"#,
    ),
    (
        "with more in its body",
        "employee.employee.edit",
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "time": "2024-07-01T00:00:00+02:00", "name": "Ærø Øst \ud83d\ude00", "list": [1, null, {"deep": [[[]]]}], "": ""}"#,
    ),
];

/// The samples, as the router would read them.
pub fn samples(settings: &Settings) -> Vec<Sample> {
    let plain = PLAIN.map(|(what, routing_key, body)| (what, message(routing_key, body), 1));
    let with_headers = Incoming {
        properties: Properties {
            content_type: Some("application/json".into()),
            headers: headers(),
            priority: Some(5),
            message_id: Some("761fe1d905334221b0d5de9c05a0d02a".into()),
            timestamp: Some(1_767_225_600),
            kind: Some(String::new()),
            ..Properties::default()
        }
        .into(),
        deliveries: 1,
        ..message(PLAIN[0].1, PLAIN[0].2)
    };
    let large = PLAIN[0].2.replacen('{', &format!("{{\"padding\": \"{}\", ", "x".repeat(LARGE)), 1);
    let others = [
        ("with properties, redelivered, at its third try", with_headers, 3),
        ("of 1 MiB", message(PLAIN[0].1, &large), 1),
    ];
    let event = |message| Event::parse(message, settings.events.naive_time_zone).ok();
    plain
        .into_iter()
        .chain(others)
        .filter_map(|(what, message, attempt)| {
            Some(Sample { what, event: event(message)?, attempt })
        })
        .collect()
}

fn message(routing_key: &str, body: &str) -> Incoming {
    Incoming {
        exchange: "os2mo".into(),
        routing_key: routing_key.into(),
        body: body.to_owned().into(),
        ..Incoming::default()
    }
}

fn headers() -> BTreeMap<String, Value> {
    [
        ("text", Value::Text("Ærø".into())),
        ("empty", Value::Text(String::new())),
        ("number", Value::Int(-7)),
        ("nothing", Value::Null),
        ("bytes", Value::Bytes(vec![0xff, 0xfe])),
        ("since", Value::Timestamp(u64::MAX)),
        ("deaths", Value::List(vec![Value::Table([("count".into(), Value::Int64(1))].into())])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_an_event() {
        assert_eq!(samples(&Settings::default()).len(), PLAIN.len() + 2);
    }
}
