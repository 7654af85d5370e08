//! Does with every event what its settings say, for tests.
//!
//! `answer` is `forward` (the default), `drop`, `reject`, `retry` or `trap`. It
//! is given to events whose body contains `only`, if that is set, on the first
//! `attempts` attempts, if that is set, and with `unseen` to those that were
//! never delivered before; the others are forwarded.
//!
//! Rejecting can be told the `reason`, and `words`: how many times to give it. A `log` is what it
//! logs of each event. Forwarding can
//! be told `to` (exchanges), `key`, `body` or the `size` of one in bytes, `header`
//! (`name=value`), `delay` (milliseconds) and the properties `content_type`, `priority`,
//! `expiration`, `timestamp`, `type`, `app_id`, `reply_to`, `correlation_id` and
//! `content_encoding`. With `describe` the body is what the plugin sees of the event's properties,
//! and its headers go out again, with `again-` before their names.

wit_bindgen::generate!({
    path: "../../../wit/1.1.0",
    world: "plugin",
    generate_all,
    additional_derives: [Default],
    additional_derives_ignore: ["due", "failure", "value", "level", "error"],
});

use exports::os2mo::router::filter::Guest;
use os2mo::router::types::{Due, Event, Failure, Publication, Value};
use wasi::config::store;
use wasi::logging::logging::{Level, log};

struct Scripted;

impl Guest for Scripted {
    fn subscriptions() -> Vec<String> {
        vec!["#".to_owned()]
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        if let Some(text) = setting("log") {
            log(Level::Info, "scripted", &text);
        }
        let answer = setting("answer").filter(|_| is_meant(&event));
        match answer.as_deref() {
            None | Some("forward") => Ok(forward(&event)),
            Some("drop") => Ok(Vec::new()),
            Some("reject") => {
                let reason = setting("reason").unwrap_or("told to reject".to_owned());
                let words = number("words").unwrap_or(1) as usize;
                Err(Failure::Reject(vec![reason; words].join(" ")))
            }
            Some("retry") => Err(Failure::Retry("told to retry".to_owned())),
            Some(_) => panic!("told to trap"),
        }
    }
}

export!(Scripted);

fn is_meant(event: &Event) -> bool {
    let body = String::from_utf8_lossy(&event.body);
    setting("only").is_none_or(|part| body.contains(&part))
        && number("attempts").is_none_or(|n| event.attempt as u64 <= n)
        && setting("unseen").is_none_or(|_| event.attempt == 1 && !event.redelivered)
}

fn forward(event: &Event) -> Vec<Publication> {
    let to: Vec<_> = match setting("to") {
        Some(exchanges) => exchanges.split_whitespace().map(|name| Some(name.to_owned())).collect(),
        None => vec![None],
    };
    to.into_iter().map(|exchange| publication(exchange, event)).collect()
}

fn publication(exchange: Option<String>, event: &Event) -> Publication {
    let header = setting("header").and_then(|header| {
        let (name, value) = header.split_once('=')?;
        Some((name.to_owned(), Value::Text(value.to_owned())))
    });
    let mut publication = Publication {
        exchange,
        routing_key: setting("key"),
        body: setting("body").map(String::into_bytes).or_else(|| number("size").map(body_of)),
        content_type: setting("content_type"),
        content_encoding: setting("content_encoding"),
        headers: header.into_iter().collect(),
        nested: Vec::new(),
        priority: number("priority").map(|priority| priority as u8),
        correlation_id: setting("correlation_id"),
        reply_to: setting("reply_to"),
        expiration: setting("expiration"),
        timestamp: number("timestamp"),
        type_: setting("type"),
        app_id: setting("app_id"),
        due: number("delay").map_or(Due::Now, Due::After),
        key: None,
    };
    if setting("describe").is_some() {
        publication.body = Some(describe(event).into_bytes());
        let again = event.headers.iter().cloned();
        publication.headers.extend(again.map(|(name, value)| (format!("again-{name}"), value)));
        publication.nested = event.nested.clone();
    }
    publication
}

fn describe(event: &Event) -> String {
    format!(
        "{:?}",
        (
            (&event.content_type, &event.content_encoding, event.priority, &event.correlation_id),
            (&event.reply_to, &event.expiration, &event.message_id, event.timestamp),
            (&event.type_, &event.app_id),
            &event.headers,
            &event.nested,
        )
    )
}

#[allow(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Due {
    fn default() -> Self {
        Due::Now
    }
}

fn body_of(size: u64) -> Vec<u8> {
    vec![b'x'; size as usize]
}

fn setting(key: &str) -> Option<String> {
    store::get(key).ok().flatten()
}

fn number(key: &str) -> Option<u64> {
    setting(key)?.parse().ok()
}
