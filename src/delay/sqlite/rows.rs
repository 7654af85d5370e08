//! Messages as rows of the table.

use rusqlite::types::ValueRef;
use rusqlite::{Result, Row, Statement, params};

use crate::delay::damage::Damage;
use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed, Message};

/// The columns that [`read`] expects.
pub const COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, body, attempts, problem";

/// The same without bodies, which can be large.
pub const HEAD_COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, x'', attempts, problem";

/// The statement that [`insert`] runs.
pub const INSERT: &str = "
    INSERT INTO message (due, plugin, version, key, uuid, exchange, routing_key, properties, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Inserts a message with [`INSERT`].
pub fn insert(statement: &mut Statement<'_>, delayed: &Delayed) -> Result<usize> {
    let message = &delayed.message;
    let properties = serde_json::to_string(&message.properties)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    statement.execute(params![
        delayed.due.unix_micros(),
        delayed.plugin,
        delayed.version,
        delayed.key,
        delayed.uuid,
        message.exchange,
        message.routing_key,
        properties,
        message.body.as_ref(),
    ])
}

/// The message in a row of [`COLUMNS`] or [`HEAD_COLUMNS`]. What cannot be read of it is its
/// damage; only its id must be readable.
pub fn read(row: &Row<'_>) -> Result<Stored> {
    let id = row.get(0)?;
    let mut damage = Damage::default();
    let mut text = |column: &str, at: usize| damage.text(column, bytes(row, at));
    let (plugin, version) = (text("plugin", 2), text("version", 3));
    let (uuid, properties) = (text("uuid", 5), text("properties", 8));
    let (exchange, routing_key) = (text("exchange", 6), text("routing key", 7));
    let mut optional = |column: &str, at: usize| match row.get_ref(at) {
        Ok(ValueRef::Null) => None,
        _ => Some(damage.text(column, bytes(row, at))),
    };
    let (key, problem) = (optional("key", 4), optional("problem", 11));
    let body: Vec<u8> = damage.value("body", row.get(9));
    let delayed = Delayed {
        message: Message { exchange, routing_key, properties: Box::default(), body: body.into() },
        due: Datetime::from_unix_micros(damage.value("due time", row.get(1))),
        plugin,
        version,
        key,
        uuid,
    };
    let attempts = damage.count("number of attempts", row.get(10));
    let damage = damage.noted();
    let stored = Stored { id, attempts, problem, delayed, damage, unreadable: None };
    Ok(stored.with_properties(&properties))
}

/// A text's bytes, which need not be UTF-8.
fn bytes<'a>(row: &'a Row<'_>, at: usize) -> Result<&'a [u8]> {
    Ok(row.get_ref(at)?.as_bytes()?)
}

/// What is known of a row that is on a damaged page: its id.
pub fn unreadable(id: i64, error: &rusqlite::Error) -> Stored {
    let reason = match error {
        rusqlite::Error::QueryReturnedNoRows => {
            "an index names it, and there is no such row".into()
        }
        error => error.to_string(),
    };
    let delayed = Delayed {
        message: Message::default(),
        due: Datetime::from_unix_micros(0),
        plugin: String::new(),
        version: String::new(),
        key: None,
        uuid: String::new(),
    };
    let damage = Some(format!("it cannot be read: {reason}"));
    Stored { id, attempts: 0, problem: damage.clone(), delayed, damage, unreadable: None }
}
