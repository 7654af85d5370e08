//! From what a plugin answers to the messages that leave: defaults filled in,
//! grants checked, identity and hops stamped.

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::event::{
    Datetime, Delayed, Due, Event, Incoming, Message, Properties, Publication, Value, headers,
};

/// AMQP's limit for exchange names, routing keys and header names, in bytes.
const SHORT: usize = 255;
/// The limit for the key of a delayed publication, in bytes.
const KEY: usize = 1024;

/// Who answers, and what that one may do.
#[derive(Clone, Debug)]
pub struct Author {
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// The exchanges that it may publish to.
    pub granted: Vec<String>,
    /// Where publications go that name no exchange.
    pub output_exchange: String,
}

/// One message that leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaving {
    /// To the broker.
    Now(Message),
    /// To the delay store.
    Later(Delayed),
}

/// Turns a plugin's answer into messages. `now` is the time that delays count from.
///
/// # Errors
/// Says, for a dead letter's reason, which publication cannot leave, why, and
/// what setting would let it.
pub fn leaving(
    author: &Author,
    event: &Event,
    publications: Vec<Publication>,
    now: Datetime,
) -> Result<Vec<Leaving>, String> {
    let total = publications.len();
    publications
        .into_iter()
        .enumerate()
        .map(|(index, publication)| {
            one(author, event, index, publication, now)
                .map_err(|reason| format!("publication {} of {total}: {reason}", index + 1))
        })
        .collect()
}

fn one(
    author: &Author,
    event: &Event,
    index: usize,
    publication: Publication,
    now: Datetime,
) -> Result<Leaving, String> {
    let exchange = publication.exchange.unwrap_or_else(|| author.output_exchange.clone());
    granted(author, &exchange)?;
    let routing_key = publication.routing_key.unwrap_or_else(|| event.message.routing_key.clone());
    fits("exchange", &exchange, SHORT)?;
    fits("routing key", &routing_key, SHORT)?;

    let due = due_time(publication.due, now);
    let mut properties = event.message.properties.clone();
    properties.headers.insert(headers::HOPS.into(), Value::Int(hops(&event.message) + 1));
    for (name, value) in publication.headers {
        fits("header", &name, SHORT)?;
        if name.starts_with(headers::PREFIX) {
            return Err(format!(
                "header {name:?}: names beginning with {} are the router's",
                headers::PREFIX
            ));
        }
        properties.headers.insert(name, value.into());
    }
    // A message with another body is another message, unless the event's own id can tell.
    let replaced = publication.body.is_some();
    let body = publication.body.map_or_else(|| event.message.body.clone(), Bytes::from);
    if replaced || properties.message_id.is_none() {
        let id = message_id(author, event, index, &exchange, &routing_key, &body);
        properties.message_id = Some(id);
    }
    let message = Message { exchange, routing_key, properties, body };
    match due {
        None => Ok(Leaving::Now(message)),
        Some(due) => {
            if let Some(key) = &publication.key {
                fits("key", key, KEY)?;
            }
            Ok(Leaving::Later(later(author, event, message, due, publication.key)))
        }
    }
}

/// When it is due, if that is not now.
fn due_time(due: Due, now: Datetime) -> Option<Datetime> {
    match due {
        Due::Now => None,
        Due::At(time) => (time > now).then_some(time),
        Due::After(delay) => (delay > Duration::ZERO).then(|| now.saturating_add(delay)),
    }
}

fn later(
    author: &Author,
    event: &Event,
    mut message: Message,
    due: Datetime,
    key: Option<String>,
) -> Delayed {
    let headers = &mut message.properties.headers;
    headers.insert(headers::PLUGIN.into(), author.plugin.as_str().into());
    headers.insert(headers::VERSION.into(), author.version.as_str().into());
    headers.insert(headers::DUE.into(), due.to_string().into());
    if let Some(time) = event.time {
        headers.insert(headers::EVENT_TIME.into(), time.to_string().into());
    }
    Delayed {
        message,
        due,
        plugin: author.plugin.clone(),
        version: author.version.clone(),
        key,
        uuid: event.uuid.to_string(),
    }
}

fn granted(author: &Author, exchange: &str) -> Result<(), String> {
    if author.granted.iter().any(|granted| granted == exchange) {
        return Ok(());
    }
    Err(format!(
        "plugin {:?} may not publish to exchange {exchange:?}, only to {:?}: grant it with \
         [plugin.{}] exchanges",
        author.plugin, author.granted, author.plugin
    ))
}

fn fits(what: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.len() <= limit {
        return Ok(());
    }
    let start: String = text.chars().take(40).collect();
    Err(format!("{what} {start:?}… has {} bytes, more than {limit}", text.len()))
}

/// How many times the message has left a router before.
pub fn hops(message: &Incoming) -> i64 {
    message.properties.headers.get(headers::HOPS).and_then(Value::int).unwrap_or(0)
}

/// An id that is the same whenever the same event is answered in the same way, so
/// that a repeat can be told: after a crash the event comes again, and MO gives
/// its messages no ids. Two events alike in every byte say the same thing, and
/// share it.
fn message_id(
    author: &Author,
    event: &Event,
    index: usize,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
) -> String {
    let Properties { message_id, timestamp, .. } = &*event.message.properties;
    let parts: [&[u8]; 7] = [
        author.plugin.as_bytes(),
        event.message.routing_key.as_bytes(),
        &event.message.body,
        message_id.as_deref().unwrap_or_default().as_bytes(),
        exchange.as_bytes(),
        routing_key.as_bytes(),
        body,
    ];
    let mut text = Vec::with_capacity(512);
    for part in parts {
        text.extend((part.len() as u64).to_le_bytes());
        text.extend(part);
    }
    text.extend(timestamp.unwrap_or_default().to_le_bytes());
    text.extend((index as u64).to_le_bytes());
    uuid::Builder::from_custom_bytes(xxh3_128(&text).to_be_bytes()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author() -> Author {
        Author {
            plugin: "p".into(),
            version: "v1".into(),
            granted: vec!["out".into(), "audit".into()],
            output_exchange: "out".into(),
        }
    }

    fn event() -> Event {
        let message = Incoming {
            exchange: "os2mo".into(),
            routing_key: "employee.it.create".into(),
            body: r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2030-01-01T00:00:00Z"}"#.into(),
            ..Incoming::default()
        };
        Event::parse(message, chrono_tz::UTC).unwrap()
    }

    fn answer(publication: Publication) -> Result<Leaving, String> {
        leaving(&author(), &event(), vec![publication], Datetime::from_unix(0, 0).unwrap())
            .map(|mut leaving| leaving.remove(0))
    }

    #[test]
    fn nothing_set_forwards_the_event() {
        let Leaving::Now(message) = answer(Publication::default()).unwrap() else {
            panic!("delayed")
        };
        assert_eq!(
            (message.exchange.as_str(), message.routing_key.as_str()),
            ("out", "employee.it.create")
        );
        assert_eq!(message.body, event().message.body);
        assert_eq!(message.properties.headers[headers::HOPS], Value::Int(1));
    }

    #[test]
    fn ids_are_stable_and_differ_between_publications() {
        let twice = vec![Publication::default(), Publication::default()];
        let ids = || -> Vec<String> {
            let leaving = leaving(&author(), &event(), twice.clone(), Datetime::now()).unwrap();
            leaving
                .iter()
                .map(|leaving| match leaving {
                    Leaving::Now(message) => message.id().to_owned(),
                    Leaving::Later(delayed) => delayed.message.id().to_owned(),
                })
                .collect()
        };
        assert_eq!(ids(), ids());
        assert_ne!(ids()[0], ids()[1]);
    }

    #[test]
    fn a_time_that_has_passed_is_now() {
        let past = Publication {
            due: Due::At(Datetime::from_unix(-1, 0).unwrap()),
            ..Publication::default()
        };
        assert!(matches!(answer(past), Ok(Leaving::Now(_))));
        let ahead = Publication { due: Due::At(Datetime::NEVER_ENDS), ..Publication::default() };
        let Ok(Leaving::Later(delayed)) = answer(ahead) else { panic!("not delayed") };
        assert_eq!(delayed.due, Datetime::NEVER_ENDS);
        assert_eq!(
            delayed.message.properties.headers[headers::EVENT_TIME],
            "2030-01-01T00:00:00Z".into()
        );
    }

    #[test]
    fn what_may_not_leave_is_named() {
        let elsewhere = Publication { exchange: Some("os2mo".into()), ..Publication::default() };
        let reason = answer(elsewhere).unwrap_err();
        assert!(
            reason.contains("\"os2mo\"") && reason.contains("[plugin.p] exchanges"),
            "{reason}"
        );
        let ours = Publication {
            headers: vec![("mo-router-hops".into(), "0".into())],
            ..Publication::default()
        };
        assert!(answer(ours).unwrap_err().contains("mo-router-hops"));
        let long = Publication { routing_key: Some("k".repeat(256)), ..Publication::default() };
        assert!(answer(long).unwrap_err().contains("256 bytes"));
    }
}
