//! MO's events: what they say, and how they are read.
//!
//! This is the domain. It imports nothing else of the crate and does no I/O.

mod datetime;
mod dead_letter;
mod float;
pub mod headers;
mod message;
mod outgoing;
mod publication;
mod text;
pub mod topic;
mod value;

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use chrono_tz::Tz;
use serde::Deserialize;
use uuid::Uuid;

pub use datetime::Datetime;
pub use dead_letter::{DeadKind, DeadLetter, LONGEST_REASON, Origin};
pub use float::is_json_number;
pub use message::{Delayed, Incoming, Message, Properties, Unreadable};
pub use outgoing::Outgoing;
pub use publication::{Due, Failure, Fault, OwnProperties, Publication};
pub use text::{SHORT_STRING, SHOWN, fits, shortened};
pub use topic::Topic;
pub use value::{LEVELS, Value};

/// An event of MO: a message that has been understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The message that it came as.
    pub message: Incoming,
    /// The person or unit that it is about; of a one-word key, the object itself.
    pub uuid: Uuid,
    /// What changed about it.
    pub object_uuid: Option<Uuid>,
    /// When the change takes effect.
    pub time: Option<Datetime>,
}

/// A message that cannot go on, to become a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The message, as it was.
    pub message: Box<Incoming>,
    /// Why, in words for a dead letter.
    pub reason: String,
}

/// Some programs write it at the start of UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// The body of a three-word message; MO may add keys.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    uuid: Option<Text<'a>>,
    #[serde(borrow)]
    object_uuid: Option<Text<'a>>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
}

/// A string of the body, copied only if it has escapes: in an `Option`, serde would
/// copy a `Cow` always.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Event {
    /// Reads a message as an event; `naive_zone` is where times without an offset are local.
    ///
    /// # Errors
    /// Says what is wrong with the message, in words for a dead letter's reason,
    /// and gives the message back.
    pub fn parse(message: Incoming, naive_zone: Tz) -> Result<Self, Rejected> {
        if let Some(unreadable) = &message.properties.unreadable {
            let reason = unreadable.reason.clone();
            return Err(Rejected { message: Box::new(message), reason });
        }
        match read(&message, naive_zone) {
            Ok((uuid, object_uuid, time)) => Ok(Self { message, uuid, object_uuid, time }),
            Err(error) => Err(Rejected {
                message: Box::new(message),
                reason: format!("not an event of MO: {error:#}"),
            }),
        }
    }

    /// The routing key, taken apart.
    pub fn topic(&self) -> Topic<'_> {
        Topic::of(&self.message.routing_key)
    }
}

type Parts = (Uuid, Option<Uuid>, Option<Datetime>);

fn read(message: &Incoming, naive_zone: Tz) -> Result<Parts> {
    let topic = Topic::parse(&message.routing_key)?;
    let body = std::str::from_utf8(&message.body).context("the body is not UTF-8")?;
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim();
    if topic.service.is_none() && !body.starts_with('{') {
        let uuid =
            uuid("uuid", body.strip_prefix('"').and_then(|b| b.strip_suffix('"')).unwrap_or(body))?;
        return Ok((uuid, None, None));
    }
    if !body.starts_with('{') {
        bail!("the body is not a JSON object with a uuid and a time");
    }
    let body: Body<'_> =
        serde_json::from_str(body).context("the body is not JSON that MO sends")?;
    let subject = uuid("uuid", &body.uuid.context("the body has no uuid")?.0)?;
    let object_uuid = body.object_uuid.map(|text| uuid("object_uuid", &text.0)).transpose()?;
    let time = body.time.map(|text| Datetime::parse(&text.0, naive_zone)).transpose()?;
    Ok((subject, object_uuid, time))
}

fn uuid(key: &str, text: &str) -> Result<Uuid> {
    text.parse().with_context(|| format!("{key} {:?} is not a UUID", shortened(text, SHOWN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: &str = "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60";

    fn parse(key: &str, body: &str) -> Result<Event, String> {
        let message = Incoming {
            routing_key: key.into(),
            body: body.to_owned().into(),
            ..Incoming::default()
        };
        Event::parse(message, Tz::Europe__Copenhagen).map_err(|rejected| rejected.reason)
    }

    #[test]
    fn three_words_with_uuid_and_time() {
        let body = format!(
            r#"{{"uuid": "{PERSON}", "object_uuid": "{PERSON}", "time": "2024-07-01T00:00:00+02:00", "more": [1]}}"#
        );
        let event = parse("employee.it.create", &body).unwrap();
        assert_eq!(event.uuid.to_string(), PERSON);
        assert_eq!(event.object_uuid, Some(event.uuid));
        assert_eq!(event.time.unwrap().to_string(), "2024-06-30T22:00:00Z");
    }

    #[test]
    fn escapes_in_the_body_are_read() {
        let body = format!(r#"{{"uuid": "{PERSON}", "time": "2024-07-01\u002000:00:00Z"}}"#);
        let event = parse("employee.it.create", &body).unwrap();
        assert_eq!(event.time.unwrap().to_string(), "2024-07-01T00:00:00Z");
    }

    #[test]
    fn a_byte_order_mark_before_the_body_is_no_part_of_it() {
        let body = format!("{BYTE_ORDER_MARK}{{\"uuid\": \"{PERSON}\"}}");
        let event = parse("employee.it.create", &body).unwrap();
        assert_eq!(event.uuid.to_string(), PERSON);
        assert_eq!(event.message.body, body.as_bytes(), "it travels on");
        for body in [format!("{BYTE_ORDER_MARK}\"{PERSON}\""), format!("{BYTE_ORDER_MARK}{PERSON}")]
        {
            assert_eq!(parse("person", &body).unwrap().uuid.to_string(), PERSON);
        }
        // Within it there is none.
        assert!(parse("person", &format!("{BYTE_ORDER_MARK}{BYTE_ORDER_MARK}{PERSON}")).is_err());
    }

    #[test]
    fn one_word_with_a_json_string_or_a_bare_uuid() {
        for body in [format!("\"{PERSON}\""), PERSON.to_owned(), format!(" {PERSON}\n")] {
            let event = parse("engagement", &body).unwrap();
            assert_eq!(event.uuid.to_string(), PERSON);
            assert_eq!(event.time, None);
        }
    }

    #[test]
    fn what_is_not_an_event_is_explained() {
        for (key, body, reason) in [
            ("employee.it.create", "hello".to_owned(), "not a JSON object"),
            ("employee.it.create", "{".to_owned(), "not JSON"),
            ("employee.it.create", r#"{"time": "2024-07-01T00:00:00Z"}"#.to_owned(), "no uuid"),
            ("employee.it.create", r#"{"uuid": "42"}"#.to_owned(), "uuid \"42\" is not a UUID"),
            (
                "employee.it.create",
                format!(r#"{{"uuid": "{PERSON}", "time": "soon"}}"#),
                "\"soon\"",
            ),
            ("employee.it", format!(r#"{{"uuid": "{PERSON}"}}"#), "has 2 words"),
            ("engagement", "\"nobody\"".to_owned(), "\"nobody\" is not a UUID"),
        ] {
            let error = parse(key, &body).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
