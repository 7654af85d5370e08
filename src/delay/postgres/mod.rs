//! The delay store in a PostgreSQL database, which several routers share.

mod census;
mod condition;
mod connection;
mod manage;
mod queue;
mod rows;
mod schema;
mod statements;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Config};

use super::alarm::Alarm;
use super::record::{Census, Filter, Outcome, Stored};
use crate::event::{Datetime, Delayed};
use crate::settings::ServerUrl;
pub use connection::PooledConnection;

/// Connects to a database other than the store's.
pub async fn client(url: &str) -> Result<Client> {
    connection::connect(&connection::config(url)?, Arc::new(Alarm::new())).await
}

/// The store in one database.
#[derive(Debug)]
pub struct Postgres {
    url: ServerUrl,
    config: Config,
    /// Connections that are not in use.
    idle: Mutex<Vec<PooledConnection>>,
    alarm: Arc<Alarm>,
}

impl Postgres {
    pub async fn open(url: &ServerUrl, alarm: Arc<Alarm>) -> Result<Self> {
        let config = connection::config(url.expose())
            .with_context(|| format!("[delay] store {url} cannot be used"))?;
        let store = Self { url: url.clone(), config, idle: Mutex::default(), alarm };
        let mut client = connection::connect(&store.config, Arc::clone(&store.alarm))
            .await
            .with_context(|| store.named("cannot reach"))?;
        schema::migrate(&mut client).await.with_context(|| store.named("cannot use"))?;
        Ok(store)
    }

    fn named(&self, what: &str) -> String {
        format!("{what} the delay store {}", self.url)
    }

    /// Runs `task` with a connection, which is reused if the task succeeds.
    async fn with_connection<T>(
        &self,
        what: &str,
        task: impl AsyncFnOnce(&mut PooledConnection) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection().await.with_context(|| self.named("cannot reach"))?;
        let done = task(&mut connection).await.with_context(|| self.named(what))?;
        self.put_back(connection);
        Ok(done)
    }

    async fn connection(&self) -> Result<PooledConnection> {
        let idle = self.idle().pop();
        match idle {
            Some(connection) if !connection.client.is_closed() => Ok(connection),
            // The others were probably closed with it.
            _ => {
                self.idle().retain(|connection| !connection.client.is_closed());
                PooledConnection::open(&self.config, Arc::clone(&self.alarm)).await
            }
        }
    }

    fn put_back(&self, connection: PooledConnection) {
        self.idle().push(connection);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PooledConnection>> {
        // A panic cannot leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<Vec<usize>> {
        self.with_connection("cannot write to", async |connection| {
            queue::accept(&connection.client, &connection.statements, &messages).await
        })
        .await
    }

    /// Starts to claim due messages.
    pub fn claimer(&self) -> Claimer<'_> {
        let listener =
            tokio::spawn(connection::keep_listening(self.config.clone(), Arc::clone(&self.alarm)));
        Claimer { store: self, listener: listener.abort_handle() }
    }

    pub async fn list(
        &self,
        filter: Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        self.with_connection("cannot read", async |connection| {
            manage::list(&connection.client, &filter, after, limit).await
        })
        .await
    }

    pub async fn show(&self, id: i64) -> Result<Option<Stored>> {
        self.with_connection("cannot read", async |connection| {
            manage::show(&connection.client, id).await
        })
        .await
    }

    pub async fn count(&self, filter: Filter, now: Datetime) -> Result<Census> {
        self.with_connection("cannot read", async |connection| {
            census::count(&connection.client, &filter, now).await
        })
        .await
    }

    pub async fn count_imported(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.with_connection("cannot read", async |connection| {
            manage::count_imported(&connection.client, &messages).await
        })
        .await
    }

    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Vec<i64>> {
        self.change(async |connection| manage::cancel(&connection.client, &ids).await).await
    }

    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Vec<i64>> {
        self.change(async |connection| manage::reschedule(&connection.client, &ids, due).await)
            .await
    }

    pub async fn import(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.change(async |connection| manage::import(&mut connection.client, &messages).await)
            .await
    }

    /// Changes the store and notifies all routers.
    async fn change<T>(
        &self,
        task: impl AsyncFnOnce(&mut PooledConnection) -> Result<T>,
    ) -> Result<T> {
        self.with_connection("cannot write to", async |connection| {
            let changed = task(connection).await?;
            connection::announce(&connection.client).await?;
            Ok(changed)
        })
        .await
    }
}

/// Due messages that were claimed.
#[derive(Debug)]
pub struct Claimed {
    /// The messages.
    pub messages: Vec<Stored>,
    /// When to claim again; none if no message waits.
    pub next: Option<Datetime>,
    /// The connection whose open transaction holds the messages; none if there are none.
    pub connection: Option<PooledConnection>,
}

/// Claims due messages. Each claim is an open transaction on its own connection.
#[derive(Debug)]
pub struct Claimer<'a> {
    store: &'a Postgres,
    listener: AbortHandle,
}

impl Drop for Claimer<'_> {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Claimer<'_> {
    /// Claims up to `limit` of the messages that are due at `now`.
    pub async fn claim(&self, now: Datetime, limit: usize) -> Result<Claimed> {
        self.try_claim(now, limit)
            .await
            .with_context(|| self.store.named("cannot claim messages in"))
    }

    async fn try_claim(&self, now: Datetime, limit: usize) -> Result<Claimed> {
        let connection = self.store.connection().await?;
        let (messages, more) =
            queue::claim(&connection.client, &connection.statements, now, limit).await?;
        let next = match more {
            true => Some(now),
            false => queue::next(&connection.client, &connection.statements, now).await?,
        };
        if messages.is_empty() {
            queue::settle(&connection.client, &connection.statements, &[]).await?;
            self.store.put_back(connection);
            return Ok(Claimed { messages, next, connection: None });
        }
        Ok(Claimed { messages, next, connection: Some(connection) })
    }

    /// Settles a claim. Returns whether any of its messages are still in the store. If this
    /// fails, all of them are, and are sent again.
    pub async fn settle(&self, connection: PooledConnection, outcome: Outcome) -> bool {
        let put_off: Vec<Stored> =
            outcome.put_off.into_iter().map(|(_, message)| message).collect();
        match queue::settle(&connection.client, &connection.statements, &put_off).await {
            Ok(()) => {
                self.store.put_back(connection);
                !put_off.is_empty()
            }
            Err(error) => {
                tracing::warn!(
                    "{}: {error:#}; {} messages will be sent again",
                    self.store.named("cannot remove sent messages from"),
                    outcome.sent.len()
                );
                true
            }
        }
    }
}
