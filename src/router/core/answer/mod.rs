//! From what a plugin answers to the messages that leave: defaults filled in,
//! grants checked, identity and hops stamped.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;
use uuid::fmt::Hyphenated;
use xxhash_rust::xxh3::xxh3_128;

use crate::event::{
    Datetime, Delayed, Due, Event, Incoming, Message, OwnProperties, Properties, Publication,
    Rejected, SHORT_STRING, Value, fits, headers,
};
use crate::router::planned::{Author, Planned};

/// The limit for the key of a delayed publication, in bytes.
const KEY: usize = 1024;
/// The limit for the headers that a plugin sets on one publication, names and values
/// together, in bytes: with the event's own they have to fit a frame, which RabbitMQ
/// limits to 128 KiB.
const HEADERS: usize = 64 << 10;
/// The highest priority: AMQP knows ten.
const PRIORITY: u8 = 9;

/// Turns a plugin's answer into messages; what they keep of the event is moved into
/// the last of them. `now` is the time that delays count from.
///
/// # Errors
/// Gives the message back, and says, for a dead letter's reason, which publication
/// cannot leave, why, and what setting would let it.
pub fn plan(
    author: &Author,
    event: Event,
    mut publications: Vec<Publication>,
    now: Datetime,
) -> Result<Vec<Planned>, Rejected> {
    let total = publications.len();
    for (number, publication) in (1..).zip(&publications) {
        let checked = check(author, publication).and_then(|()| check_due(publication.due, now));
        if let Err(reason) = checked {
            let reason = format!("publication {number} of {total}: {reason}");
            return Err(Rejected { message: event.message.into(), reason });
        }
    }
    let mut planned = Vec::with_capacity(total);
    if let Some(last) = publications.pop() {
        for (index, publication) in publications.into_iter().enumerate() {
            planned.push(one(author, event.clone(), index, publication, now));
        }
        planned.push(one(author, event, total - 1, last, now));
    }
    Ok(planned)
}

/// Whether a publication may leave as it is.
fn check(author: &Author, publication: &Publication) -> Result<(), String> {
    let exchange = publication.exchange.as_ref().unwrap_or(&author.output_exchange);
    granted(author, exchange)?;
    fits("exchange", exchange, SHORT_STRING)?;
    fits("routing key", publication.routing_key.as_deref().unwrap_or_default(), SHORT_STRING)?;
    fits("key", publication.key.as_deref().unwrap_or_default(), KEY)?;
    let mut size = 0;
    for (name, value) in &publication.headers {
        fits("header", name, SHORT_STRING)?;
        if name.starts_with(headers::PREFIX) {
            return Err(format!(
                "header {name:?}: names beginning with {} are the router's",
                headers::PREFIX
            ));
        }
        check_names(name, value)?;
        size += name.len() + value.content();
    }
    if size > HEADERS {
        return Err(format!(
            "its headers have {size} bytes, more than {HEADERS}: send less in them"
        ));
    }
    publication.properties.as_deref().map_or(Ok(()), check_properties)
}

/// Whether the names in a header's tables may leave as they are.
fn check_names(header: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::List(values) => values.iter().try_for_each(|value| check_names(header, value)),
        Value::Table(table) => table.iter().try_for_each(|(name, value)| {
            fits("name", name, SHORT_STRING)
                .map_err(|wrong| format!("header {header:?}: {wrong}"))?;
            check_names(header, value)
        }),
        _ => Ok(()),
    }
}

/// Whether the broker takes the properties that a plugin sets.
fn check_properties(own: &OwnProperties) -> Result<(), String> {
    for (name, text) in own.texts() {
        fits(name, text.unwrap_or_default(), SHORT_STRING)?;
    }
    if let Some(priority) = own.priority.filter(|priority| *priority > PRIORITY) {
        return Err(format!(
            "priority {priority} is above {PRIORITY}: give one from 0 to {PRIORITY}"
        ));
    }
    match own.expiration.as_deref() {
        None | Some("") => Ok(()),
        // RabbitMQ closes the channel on anything else.
        Some(text) if text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u32>().is_ok() => {
            Ok(())
        }
        Some(text) => Err(format!(
            "expiration {text:?} is not a number of milliseconds from 0 to {}: write \"60000\" for a \
             minute",
            u32::MAX
        )),
    }
}

/// Makes the message of one publication, which has been checked.
fn one(
    author: &Author,
    event: Event,
    index: usize,
    publication: Publication,
    now: Datetime,
) -> Planned {
    let Event { message: mut event, uuid, time, .. } = event;
    let exchange = publication.exchange.unwrap_or_else(|| author.output_exchange.clone());
    let routing_key = publication.routing_key.as_ref().unwrap_or(&event.routing_key);
    let body = publication.body.as_deref().unwrap_or(&event.body);
    let id = message_id(author, &event, index, &exchange, routing_key, body);
    let event_id = event.properties.message_id.replace(id);
    let hops = hops(&event) + 1;
    let due = due_time(publication.due, now);
    if due.is_some() {
        // The event's time to live is not that of a message that waits for its time.
        event.properties.expiration = None;
    }
    if let Some(own) = publication.properties {
        own.set_in(&mut event.properties);
    }
    let headers = &mut event.properties.headers;
    // Where the event was sent besides is no wish of the plugin.
    headers::COPIES.iter().for_each(|name| drop(headers.remove(*name)));
    headers.extend(event_id.map(|id| (headers::EVENT_ID.into(), id.into())));
    headers.insert(headers::HOPS.into(), Value::shortest(hops));
    headers.extend(publication.headers);
    let message = Message {
        exchange,
        routing_key: publication.routing_key.unwrap_or(event.routing_key),
        properties: event.properties,
        body: publication.body.map_or(event.body, Bytes::from),
    };
    match due {
        None => Planned::Now(message),
        Some(due) => Planned::Later(later(author, message, uuid, time, due, publication.key)),
    }
}

/// Whether a message can wait so long.
fn check_due(due: Due, now: Datetime) -> Result<(), String> {
    match due {
        Due::After(delay) if now.saturating_add(delay) >= Datetime::NO_DATE => Err(format!(
            "due in {} ms is after the year 9999: a negative number?",
            delay.as_millis()
        )),
        Due::Now | Due::At(_) | Due::After(_) => Ok(()),
    }
}

/// When it is due, if that is not now. What MO sends for "no date" is no time to wait for.
fn due_time(due: Due, now: Datetime) -> Option<Datetime> {
    match due {
        Due::Now => None,
        Due::At(time) => (time > now && time < Datetime::NO_DATE).then_some(time),
        Due::After(delay) => (delay > Duration::ZERO).then(|| now.saturating_add(delay)),
    }
}

fn later(
    author: &Author,
    mut message: Message,
    uuid: Uuid,
    time: Option<Datetime>,
    due: Datetime,
    key: Option<String>,
) -> Delayed {
    let headers = &mut message.properties.headers;
    headers.insert(headers::PLUGIN.into(), author.plugin.as_str().into());
    headers.insert(headers::VERSION.into(), author.version.as_str().into());
    headers.insert(headers::DUE.into(), due.to_string().into());
    if let Some(time) = time {
        headers.insert(headers::EVENT_TIME.into(), time.to_string().into());
    }
    Delayed {
        message,
        due,
        plugin: author.plugin.clone(),
        version: author.version.clone(),
        key,
        uuid: uuid.to_string(),
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

/// How many times the message has left a router before.
pub fn hops(message: &Incoming) -> i64 {
    message.properties.headers.get(headers::HOPS).and_then(Value::int).unwrap_or(0).max(0)
}

/// An id that is the same whenever the same event is answered in the same way, so
/// that a repeat can be told: after a crash the event comes again, and what it causes
/// gets the same ids. Two events alike in every byte say the same thing, and share it.
fn message_id(
    author: &Author,
    event: &Incoming,
    index: usize,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
) -> String {
    let Properties { message_id, timestamp, .. } = &*event.properties;
    let parts: [&[u8]; 7] = [
        author.plugin.as_bytes(),
        event.routing_key.as_bytes(),
        &event.body,
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
    let id = uuid::Builder::from_custom_bytes(xxh3_128(&text).to_be_bytes()).into_uuid();
    id.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]).to_owned()
}

#[cfg(test)]
mod tests;
