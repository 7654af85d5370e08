//! Delayed messages as JSON, for commands and for the page.

use serde_json::{Map, Value as Json, json};

use super::record::{Census, Changed, PERIODS, Stored};

/// A message without its body and its properties.
pub fn summary(stored: &Stored) -> Json {
    let delayed = &stored.delayed;
    json!({
        "id": stored.id,
        "due": delayed.due,
        "plugin": delayed.plugin,
        "version": delayed.version,
        "key": delayed.key,
        "uuid": delayed.uuid,
        "exchange": delayed.message.exchange,
        "routing_key": delayed.message.routing_key,
        "message_id": delayed.message.id(),
        "attempts": stored.attempts,
        "problem": stored.problem,
    })
}

/// One message with its properties, and its body as text.
///
/// # Errors
/// Its properties have no form in JSON.
pub fn whole(stored: &Stored) -> serde_json::Result<Json> {
    let message = &stored.delayed.message;
    let mut whole = summary(stored);
    whole["properties"] = serde_json::to_value(&message.properties)?;
    whole["body"] = String::from_utf8_lossy(&message.body).into();
    if let Some(unreadable) = &stored.unreadable {
        whole["unreadable_properties"] = unreadable.as_str().into();
    }
    Ok(whole)
}

/// How many messages are due in which of the [`PERIODS`].
pub fn census(census: &Census) -> Json {
    let periods = PERIODS.iter().map(|(name, _)| *name).chain(["later"]);
    let due = periods.zip(&census.histogram).map(|(name, count)| (name.to_owned(), json!(count)));
    json!({ "total": census.total, "next": census.next, "due": due.collect::<Map<_, _>>() })
}

/// Which of the messages that were `asked` for have been changed.
pub fn changed(asked: &[i64], changed: &Changed) -> Json {
    let Changed { done, in_flight } = changed;
    json!({ "changed": done, "missing": missing(asked, changed), "in_flight": in_flight })
}

/// Those that were not there.
pub fn missing(asked: &[i64], Changed { done, in_flight }: &Changed) -> Vec<i64> {
    asked.iter().filter(|id| !done.contains(id) && !in_flight.contains(id)).copied().collect()
}
