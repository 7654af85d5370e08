//! Importing mo-delay-agent's messages.
//!
//! The agent's table is `messages(id serial, message text, topic text, produce_at
//! timestamptz)`. It is only read, so the agent can continue to use it. `back` is the way back.

mod back;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono_tz::Tz;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use xxhash_rust::xxh3::Xxh3;

use super::{Imported, TOGETHER, Target};
use crate::delay::{BYTES_TOGETHER, Import, postgres};
use crate::event::{Datetime, Delayed, Event, Incoming, Message, Properties, headers};

pub use back::Moved;

/// Stands in place of a plugin's version for imported messages.
const VERSION: &str = "imported from mo-delay-agent";

/// The text columns as bytes: UTF-8, unless the database does not know what its text is.
const MESSAGE: &str = "convert_to(message, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)";
const TOPIC: &str = "convert_to(topic, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)";

/// When a message is due, in microseconds since 1970. PostgreSQL's `infinity` becomes
/// [`Datetime::NO_DATE`].
const MICROS: &str = "CASE produce_at
    WHEN 'infinity' THEN 253402300799999999
    WHEN '-infinity' THEN 0
    ELSE (extract(epoch FROM produce_at) * 1000000)::bigint END";

/// How long the database may take for each thing that it is asked.
const DEADLINE: Duration = Duration::from_secs(60);

/// How messages are to be imported.
#[derive(Clone, Debug)]
pub struct Options {
    /// The exchange that they are to be published to.
    pub exchange: String,
    /// The plugin that they are listed under, also as dead letters.
    pub plugin: String,
}

/// The agent's table.
#[derive(Debug)]
pub struct Agent {
    client: postgres::Connection,
    /// The database's name, which distinguishes its messages from those of another agent.
    name: String,
    deadline: Duration,
}

impl Agent {
    /// Connects to the database that holds the agent's table.
    ///
    /// # Errors
    /// It is unreachable, or has no such table.
    pub async fn connect(url: &str) -> Result<Self> {
        let client = in_time(DEADLINE, postgres::connect(url)).await;
        let client = client.context("cannot reach mo-delay-agent's database")?;
        let sql = "SELECT current_database()::text, 'messages'::regclass::text";
        let row = in_time(DEADLINE, client.query_typed_one(sql, &[]))
            .await
            .context("the database has no table `messages`: check that it is mo-delay-agent's")?;
        let name = row.get(0);
        Ok(Self { client, name, deadline: DEADLINE })
    }

    /// The same with another time for each answer than a minute.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// How many messages it holds.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn count(&self) -> Result<u64> {
        let count = self.client.query_typed_one("SELECT count(*) FROM messages", &[]);
        let row =
            in_time(self.deadline, count).await.context("cannot count the agent's messages")?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    /// Adds its messages to the store, except those that were added before, and those without
    /// a date: the agent would never have sent them. Calls `progress` with the number of
    /// messages of each batch.
    ///
    /// # Errors
    /// The table cannot be read, or the store cannot be written. The next import skips what
    /// was added before the error.
    pub async fn import(
        &self,
        target: Target<'_>,
        options: &Options,
        progress: impl Fn(u64),
    ) -> Result<Imported> {
        let mut imported = Imported::default();
        let mut last = i64::MIN;
        loop {
            let rows = self.rows(last).await?;
            let Some(row) = rows.last() else {
                target.until_safe().await?;
                return Ok(imported);
            };
            last = row.get(0);
            let mut batch = Vec::with_capacity(rows.len());
            for row in &rows {
                match self.message(row, options) {
                    Ok(message) if message.delayed.due >= Datetime::NO_DATE => {
                        imported.undated += 1;
                    }
                    Ok(message) => batch.push(message),
                    Err(error) => {
                        let which = format!("row {} of the agent's messages", row.get::<_, i64>(0));
                        imported.set_aside(&which, &format!("{error:#}"));
                    }
                }
            }
            imported.read += rows.len() as u64;
            let named = |message: &Import| format!("the agent's message {}", message.id);
            imported.add(target, batch, named).await?;
            progress(rows.len() as u64);
        }
    }

    /// The next rows with ids above `last`: as many as are stored together, by number and bytes.
    async fn rows(&self, last: i64) -> Result<Vec<Row>> {
        let sql = format!(
            "SELECT id::bigint, {MESSAGE}, {TOPIC}, {MICROS} FROM (
                 SELECT *, sum(size) OVER (ORDER BY id) - size AS before FROM (
                     SELECT *, coalesce(octet_length(message), 0) AS size FROM messages
                     WHERE id > $1 ORDER BY id LIMIT {TOGETHER}) AS sized) AS summed
             WHERE before < {BYTES_TOGETHER} ORDER BY id"
        );
        let values = [(&last as _, Type::INT8)];
        let rows = self.client.query_typed(&sql, &values);
        let rows = in_time(self.deadline, rows).await;
        rows.context("the table `messages` cannot be read as mo-delay-agent's")
    }

    fn message(&self, row: &Row, options: &Options) -> Result<Import> {
        let number: i64 = row.try_get(0)?;
        let (body, topic) = (text(row, 1, "message")?, text(row, 2, "topic")?);
        let micros: Option<i64> = row.try_get(3)?;
        let micros = micros.context("its produce_at is NULL")?;
        let due = Datetime::from_unix_micros(micros);
        let id = self.message_id(number, &body, &topic, micros);
        let mut properties = Properties { message_id: Some(id.clone()), ..Properties::default() };
        let own = &mut properties.headers;
        own.insert(headers::PLUGIN.into(), options.plugin.as_str().into());
        own.insert(headers::VERSION.into(), VERSION.into());
        own.insert(headers::DUE.into(), due.to_string().into());
        let uuid = subject(&topic, &body);
        let exchange = options.exchange.clone();
        let (properties, body) = (properties.into(), body.into());
        let message = Message { exchange, routing_key: topic, properties, body };
        let (plugin, version) = (options.plugin.clone(), VERSION.into());
        let delayed = Delayed { message, due, plugin, version, key: None, uuid };
        Ok(Import { id, delayed })
    }

    /// The id of a row's message, which is the same at every import.
    fn message_id(&self, number: i64, body: &str, topic: &str, micros: i64) -> String {
        let mut hasher = Xxh3::new();
        for part in [&self.name, body, topic] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&number.to_le_bytes());
        hasher.update(&micros.to_le_bytes());
        uuid::Builder::from_custom_bytes(hasher.digest128().to_be_bytes()).into_uuid().to_string()
    }
}

/// Waits for the database, but not for ever: somebody may have locked the table.
async fn in_time<T, E: Into<anyhow::Error>>(
    deadline: Duration,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    match timeout(deadline, asked).await {
        Ok(answered) => answered.map_err(Into::into),
        Err(_) => bail!(
            "mo-delay-agent's database has not answered within {deadline:?}: see in pg_stat_activity whether \
             somebody has locked the table `messages`; what was done before stays, and another run goes on"
        ),
    }
}

/// A text column, which need be neither there nor UTF-8.
fn text(row: &Row, at: usize, column: &str) -> Result<String> {
    let bytes: Option<Vec<u8>> = row.try_get(at)?;
    let bytes = bytes.with_context(|| format!("its {column} is NULL"))?;
    String::from_utf8(bytes).with_context(|| format!("its {column} is not UTF-8"))
}

/// The person or unit that the message is about, for searching; empty if unknown.
fn subject(topic: &str, body: &str) -> String {
    let message = Incoming {
        routing_key: topic.to_owned(),
        body: body.to_owned().into(),
        ..Incoming::default()
    };
    Event::parse(message, Tz::UTC).map(|event| event.uuid.to_string()).unwrap_or_default()
}
