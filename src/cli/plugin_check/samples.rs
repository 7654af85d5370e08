//! Events to try a plugin on: what MO sends, and unusual ones.

use std::collections::BTreeMap;

use crate::event::{Event, Incoming, Properties, Value, topic};
use crate::settings::Settings;

/// An event, and what it is an example of.
pub struct Sample {
    /// In a few words.
    pub what: String,
    /// The event.
    pub event: Event,
    /// Which attempt it is.
    pub attempt: u32,
}

/// How large the largest sample is, in bytes.
const LARGE: usize = 1 << 20;

/// The body of what has a key of one word.
const ONE_WORD: &str = r#""1469208d-6867-4c28-9c26-ea10cdc85a5b""#;

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
    ("with a key of one word", "engagement", ONE_WORD),
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

/// What stands for the wildcards of a pattern, by place: a key of MO's.
const WORDS: [&str; 3] = ["employee", "it", "create"];

/// For how many of a plugin's patterns there are samples of their own.
const MOST_OF_PATTERNS: usize = 100;

/// The samples for a plugin with these subscriptions, as the router would read them: the same for
/// all, and one of each of its first [`MOST_OF_PATTERNS`] patterns that selects none of these, if a key
/// of one word or three can match it.
pub fn samples(settings: &Settings, subscriptions: &[String]) -> Vec<Sample> {
    let mut samples = for_all(settings);
    for pattern in subscriptions.iter().take(MOST_OF_PATTERNS) {
        let key = |sample: &Sample| sample.event.message.routing_key.clone();
        if samples.iter().any(|sample| topic::matches(pattern, &key(sample))) {
            continue;
        }
        let Some(key) = key_of(pattern) else { continue };
        let body = if key.contains('.') { PLAIN[0].2 } else { ONE_WORD };
        let event = Event::parse(message(&key, body), settings.events.naive_time_zone);
        let what = format!("of {pattern}");
        samples.extend(event.ok().map(|event| Sample { what, event, attempt: 1 }));
    }
    samples
}

/// A key of three words that the pattern selects, or of one; none if there is no such key.
fn key_of(pattern: &str) -> Option<String> {
    let parts: Vec<&str> = pattern.split('.').collect();
    let many = parts.iter().filter(|part| **part == "#").count();
    let mut left = match (parts.len() - many, many) {
        (1 | 3, 0) => 0,
        (words, 1..) => WORDS.len().checked_sub(words)?,
        _ => return None,
    };
    let mut words: Vec<&str> = Vec::new();
    for part in parts {
        match part {
            // The first one takes all that is left.
            "#" => (0..std::mem::take(&mut left)).for_each(|_| words.push(WORDS[words.len()])),
            "*" => words.push(WORDS[words.len()]),
            word => words.push(word),
        }
    }
    Some(words.join("."))
}

fn for_all(settings: &Settings) -> Vec<Sample> {
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
            Some(Sample { what: what.to_owned(), event: event(message)?, attempt })
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
        assert_eq!(samples(&Settings::default(), &[]).len(), PLAIN.len() + 2);
    }

    #[test]
    fn each_pattern_that_a_key_of_mos_can_match_has_a_sample() {
        let keys = |patterns: &[&str]| -> Vec<String> {
            let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.into()).collect();
            let own = samples(&Settings::default(), &patterns).split_off(PLAIN.len() + 2);
            own.into_iter().map(|sample| sample.event.message.routing_key).collect()
        };
        let none: [&str; 0] = [];
        // What the others are examples of, and what no event of MO's is.
        assert_eq!(keys(&["#", "employee.*.create", "two.words", "a.b.c.d.#", ""]), none);
        for (pattern, key) in [
            ("employee.role.#", "employee.role.create"),
            ("*.*.terminate", "employee.it.terminate"),
            ("#.terminate", "employee.it.terminate"),
            ("org_unit.kle.#.edit.#", "org_unit.kle.edit"),
            ("class", "class"),
            ("#.kle.#", "employee.it.kle"),
        ] {
            assert_eq!(keys(&[pattern, pattern]), [key], "{pattern}");
            assert!(topic::matches(pattern, key), "{pattern}");
        }
    }
}
