//! Importing mo-delay-agent's messages.
//!
//! The agent's table is `messages(id serial, message text, topic text, produce_at
//! timestamptz)`. It is only read, so the agent can continue to use it.

use std::sync::Arc;

use anyhow::{Context, Result};
use chrono_tz::Tz;
use tokio_postgres::{Client, Row};
use xxhash_rust::xxh3::Xxh3;

use super::{Store, postgres};
use crate::event::{Datetime, Delayed, Event, Incoming, Message, Properties, headers};

/// How many messages are read and stored at a time.
const TOGETHER: i64 = 1000;

/// Stands in place of a plugin's version for imported messages.
const VERSION: &str = "imported from mo-delay-agent";

/// When a message is due, in microseconds since 1970. PostgreSQL's `infinity` becomes the
/// year 9999, which means "never".
const MICROS: &str = "CASE produce_at
    WHEN 'infinity' THEN 253402300799999999
    WHEN '-infinity' THEN 0
    ELSE (extract(epoch FROM produce_at) * 1000000)::bigint END";

/// How messages are to be imported.
#[derive(Clone, Debug)]
pub struct Options {
    /// The exchange that they are to be published to.
    pub exchange: String,
    /// The plugin that they are listed under, also as dead letters.
    pub plugin: String,
    /// Only count them.
    pub dry_run: bool,
}

/// The numbers of messages of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Messages in the agent's table.
    pub read: u64,
    /// Those that were added, or would be in a dry run.
    pub added: u64,
    /// Those that an earlier import has added.
    pub known: u64,
}

/// The agent's table.
#[derive(Debug)]
pub struct Agent {
    client: Client,
    /// The database's name, which distinguishes its messages from those of another agent.
    name: String,
}

impl Agent {
    /// Connects to the database that holds the agent's table.
    ///
    /// # Errors
    /// It is unreachable, or has no such table.
    pub async fn connect(url: &str) -> Result<Self> {
        let client =
            postgres::client(url).await.context("cannot reach mo-delay-agent's database")?;
        let row = client
            .query_one("SELECT current_database()::text, 'messages'::regclass::text", &[])
            .await
            .context("the database has no table `messages`: check that it is mo-delay-agent's")?;
        let name = row.get(0);
        Ok(Self { client, name })
    }

    /// How many messages it holds.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn count(&self) -> Result<u64> {
        let row = self.client.query_one("SELECT count(*) FROM messages", &[]).await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    /// Adds all its messages to `store`, except those that were added before. Calls
    /// `progress` with the number of messages of each batch.
    ///
    /// # Errors
    /// The table cannot be read, or the store cannot be written. The next import skips what
    /// was added before the error.
    pub async fn import(
        &self,
        store: &Store,
        options: &Options,
        progress: impl Fn(u64),
    ) -> Result<Imported> {
        let sql = format!(
            "SELECT id::bigint, message, topic, {MICROS} FROM messages WHERE id > $1::bigint ORDER BY id LIMIT {TOGETHER}"
        );
        let page = self
            .client
            .prepare(&sql)
            .await
            .context("the table `messages` is not mo-delay-agent's")?;
        let mut imported = Imported::default();
        let mut last = i64::MIN;
        loop {
            let rows = self
                .client
                .query(&page, &[&last])
                .await
                .context("cannot read mo-delay-agent's messages")?;
            let Some(row) = rows.last() else { return Ok(imported) };
            last = row.get(0);
            let batch: Vec<Delayed> =
                rows.iter().map(|row| self.message(row, options)).collect::<Result<_>>()?;
            let read = batch.len() as u64;
            let known = store_batch(store, batch, options.dry_run).await?;
            imported.read += read;
            imported.known += known;
            imported.added += read - known;
            progress(read);
        }
    }

    fn message(&self, row: &Row, options: &Options) -> Result<Delayed> {
        let (number, body, topic, micros): (i64, String, String, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let due = Datetime::from_unix_micros(micros);
        let mut properties = Properties {
            message_id: Some(self.message_id(number, &body, &topic, micros)),
            ..Properties::default()
        };
        let own = &mut properties.headers;
        own.insert(headers::PLUGIN.into(), options.plugin.as_str().into());
        own.insert(headers::VERSION.into(), VERSION.into());
        own.insert(headers::DUE.into(), due.to_string().into());
        let uuid = subject(&topic, &body);
        let exchange = options.exchange.clone();
        let (properties, body) = (properties.into(), body.into());
        let message = Message { exchange, routing_key: topic, properties, body };
        Ok(Delayed {
            message,
            due,
            plugin: options.plugin.clone(),
            version: VERSION.into(),
            key: None,
            uuid,
        })
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

/// Stores a batch. Returns how many of its messages were known.
async fn store_batch(store: &Store, batch: Vec<Delayed>, dry_run: bool) -> Result<u64> {
    let batch = Arc::new(batch);
    let known = match dry_run {
        true => store.count_imported(batch).await?,
        false => batch.len() - store.import(batch.clone()).await?,
    };
    Ok(known as u64)
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
