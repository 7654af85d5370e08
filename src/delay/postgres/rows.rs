//! Messages as rows of the table.

use std::borrow::Cow;

use anyhow::Result;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::delay::damage::Damage;
use crate::delay::record::Stored;
use crate::event::{Datetime, Delayed, Message};

/// The columns that [`read`] expects.
pub const COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, body, attempts, problem";

/// The same without bodies, which can be large.
pub const HEAD_COLUMNS: &str = "id, due, plugin, version, key, uuid, exchange, routing_key, properties, ''::bytea, attempts, problem";

/// Only what has one length in every row.
pub const BARE_COLUMNS: &str =
    "id, due, '', '', NULL::text, '', '', '', '{}', ''::bytea, attempts, NULL::text";

/// A parameter of a statement.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

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
    pub fn values(&self) -> [Parameter<'_>; 9] {
        [
            (&self.due, Type::INT8_ARRAY),
            (&self.plugin, Type::TEXT_ARRAY),
            (&self.version, Type::TEXT_ARRAY),
            (&self.key, Type::TEXT_ARRAY),
            (&self.uuid, Type::TEXT_ARRAY),
            (&self.exchange, Type::TEXT_ARRAY),
            (&self.routing_key, Type::TEXT_ARRAY),
            (&self.properties, Type::TEXT_ARRAY),
            (&self.body, Type::BYTEA_ARRAY),
        ]
    }
}

/// A text without NUL, which PostgreSQL cannot store. AMQP's texts have none either, so this
/// only ever changes a plugin's unusual key.
pub fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// The message in a row of [`COLUMNS`] or [`HEAD_COLUMNS`]. What cannot be read of it is its
/// damage; only its id must be readable.
pub fn read(row: &Row) -> Result<Stored> {
    let id: i64 = row.try_get(0)?;
    let mut damage = Damage::default();
    let mut text = |column: &str, at: usize| damage.value(column, row.try_get::<_, String>(at));
    let (plugin, version) = (text("plugin", 2), text("version", 3));
    let (uuid, properties) = (text("uuid", 5), text("properties", 8));
    let (exchange, routing_key) = (text("exchange", 6), text("routing key", 7));
    let body: Vec<u8> = damage.value("body", row.try_get(9));
    let delayed = Delayed {
        message: Message { exchange, routing_key, properties: Box::default(), body: body.into() },
        due: Datetime::from_unix_micros(damage.value("due time", row.try_get(1))),
        plugin,
        version,
        key: damage.value("key", row.try_get(4)),
        uuid,
    };
    let attempts = row.try_get::<_, i32>(10).map(i64::from);
    let attempts = damage.count("number of attempts", attempts);
    let problem = damage.value("problem", row.try_get(11));
    let damage = damage.noted();
    let stored = Stored { id, attempts, problem, delayed, damage, unreadable: None };
    Ok(stored.with_properties(&properties))
}
