//! Messages as rows of the table.

use std::borrow::Cow;

use anyhow::Result;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed, Message};

/// The columns that [`read`] expects.
pub const COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, body, attempts, problem";

/// The columns of many rows, for `unnest`.
#[derive(Default)]
pub struct Columns<'a> {
    due: Vec<i64>,
    plugin: Vec<Cow<'a, str>>,
    version: Vec<Cow<'a, str>>,
    pub key: Vec<Option<Cow<'a, str>>>,
    uuid: Vec<Cow<'a, str>>,
    exchange: Vec<Cow<'a, str>>,
    routing_key: Vec<Cow<'a, str>>,
    pub properties: Vec<String>,
    body: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    pub fn of(messages: impl Iterator<Item = &'a Delayed>) -> Result<Self> {
        let mut columns = Self::default();
        for delayed in messages {
            let message = &delayed.message;
            columns.due.push(delayed.due.unix_micros());
            columns.plugin.push(text(&delayed.plugin));
            columns.version.push(text(&delayed.version));
            columns.key.push(delayed.key.as_deref().map(text));
            columns.uuid.push(text(&delayed.uuid));
            columns.exchange.push(text(&message.exchange));
            columns.routing_key.push(text(&message.routing_key));
            columns.properties.push(serde_json::to_string(&message.properties)?);
            columns.body.push(&message.body);
        }
        Ok(columns)
    }

    /// As parameters of a statement.
    pub fn values(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.due,
            &self.plugin,
            &self.version,
            &self.key,
            &self.uuid,
            &self.exchange,
            &self.routing_key,
            &self.properties,
            &self.body,
        ]
    }
}

/// A text without NUL, which PostgreSQL cannot store. AMQP's texts have none either, so this
/// only ever changes a plugin's unusual key.
pub fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// The message in a row of [`COLUMNS`].
pub fn read(row: &Row) -> Result<Stored> {
    let id: i64 = row.try_get(0)?;
    let message = Message {
        exchange: row.try_get(6)?,
        routing_key: row.try_get(7)?,
        properties: Box::default(),
        body: row.try_get::<_, Vec<u8>>(9)?.into(),
    };
    let delayed = Delayed {
        message,
        due: Datetime::from_unix_micros(row.try_get(1)?),
        plugin: row.try_get(2)?,
        version: row.try_get(3)?,
        key: row.try_get(4)?,
        uuid: row.try_get(5)?,
    };
    let attempts = u32::try_from(row.try_get::<_, i32>(10)?).unwrap_or_default();
    let stored = Stored { id, attempts, problem: row.try_get(11)?, delayed, unreadable: None };
    Ok(stored.with_properties(row.try_get(8)?))
}
