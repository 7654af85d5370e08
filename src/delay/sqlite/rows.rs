//! Messages as rows of the table.

use rusqlite::{Result, Row, Statement, params};

use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed, Message};

/// The columns that [`read`] expects.
pub const COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, body, attempts, problem";

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

/// The message in a row of [`COLUMNS`].
pub fn read(row: &Row<'_>) -> Result<Stored> {
    let message = Message {
        exchange: row.get(6)?,
        routing_key: row.get(7)?,
        properties: Box::default(),
        body: row.get::<_, Vec<u8>>(9)?.into(),
    };
    let delayed = Delayed {
        message,
        due: Datetime::from_unix_micros(row.get(1)?),
        plugin: row.get(2)?,
        version: row.get(3)?,
        key: row.get(4)?,
        uuid: row.get(5)?,
    };
    let (id, attempts, problem) = (row.get(0)?, row.get(10)?, row.get(11)?);
    let stored = Stored { id, attempts, problem, delayed, unreadable: None };
    Ok(stored.with_properties(row.get_ref(8)?.as_str()?))
}
