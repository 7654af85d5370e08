//! The delay store in a PostgreSQL database, which several routers share.

mod census;
mod link;
mod schema;
mod sql;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Config};

use super::alarm::Alarm;
use super::record::{Census, Filter, Outcome, Stored};
use crate::event::{Datetime, Delayed};
use crate::settings::ServerUrl;
pub use link::Link;

/// Connects to a database that is not the store.
pub async fn client(url: &str) -> Result<Client> {
    link::connect(&link::config(url)?, Arc::new(Alarm::new())).await
}

/// The store in one database.
#[derive(Debug)]
pub struct Postgres {
    url: ServerUrl,
    config: Config,
    /// Connections that nobody uses now.
    idle: Mutex<Vec<Link>>,
    alarm: Arc<Alarm>,
}

impl Postgres {
    pub async fn open(url: &ServerUrl, alarm: Arc<Alarm>) -> Result<Self> {
        let config = link::config(url.expose())
            .with_context(|| format!("[delay] store {url} cannot be used"))?;
        let store = Self { url: url.clone(), config, idle: Mutex::default(), alarm };
        let mut client = link::connect(&store.config, Arc::clone(&store.alarm))
            .await
            .with_context(|| store.named("cannot reach"))?;
        schema::migrate(&mut client).await.with_context(|| store.named("cannot use"))?;
        Ok(store)
    }

    fn named(&self, what: &str) -> String {
        format!("{what} the delay store {}", self.url)
    }

    /// Runs `task` with a connection, which is kept for the next one if all goes well.
    async fn with_link<T>(
        &self,
        what: &str,
        task: impl AsyncFnOnce(&mut Link) -> Result<T>,
    ) -> Result<T> {
        let mut link = self.link().await.with_context(|| self.named("cannot reach"))?;
        let done = task(&mut link).await.with_context(|| self.named(what))?;
        self.put_back(link);
        Ok(done)
    }

    async fn link(&self) -> Result<Link> {
        let idle = self.idle().pop();
        match idle {
            Some(link) if !link.client.is_closed() => Ok(link),
            // The others ended with it, most likely.
            _ => {
                self.idle().retain(|link| !link.client.is_closed());
                Link::open(&self.config, Arc::clone(&self.alarm)).await
            }
        }
    }

    fn put_back(&self, link: Link) {
        self.idle().push(link);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Link>> {
        // The list is whole between any two of its calls.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<Vec<usize>> {
        self.with_link("cannot write to", async |link| {
            sql::accept(&link.client, &link.statements, &messages).await
        })
        .await
    }

    /// Begins to release what is due.
    pub fn session(&self) -> Session<'_> {
        let listener =
            tokio::spawn(link::keep_listening(self.config.clone(), Arc::clone(&self.alarm)));
        Session { store: self, listener: listener.abort_handle() }
    }

    pub async fn list(
        &self,
        filter: Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        self.with_link("cannot read", async |link| {
            sql::list(&link.client, &filter, after, limit).await
        })
        .await
    }

    pub async fn show(&self, id: i64) -> Result<Option<Stored>> {
        self.with_link("cannot read", async |link| sql::show(&link.client, id).await).await
    }

    pub async fn count(&self, filter: Filter, now: Datetime) -> Result<Census> {
        self.with_link("cannot read", async |link| census::count(&link.client, &filter, now).await)
            .await
    }

    pub async fn count_imported(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.with_link("cannot read", async |link| {
            sql::count_imported(&link.client, &messages).await
        })
        .await
    }

    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Vec<i64>> {
        self.change(async |link| sql::cancel(&link.client, &ids).await).await
    }

    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Vec<i64>> {
        self.change(async |link| sql::reschedule(&link.client, &ids, due).await).await
    }

    pub async fn import(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.change(async |link| sql::import(&mut link.client, &messages).await).await
    }

    /// Changes the store and tells all routers.
    async fn change<T>(&self, task: impl AsyncFnOnce(&mut Link) -> Result<T>) -> Result<T> {
        self.with_link("cannot write to", async |link| {
            let changed = task(link).await?;
            sql::announce(&link.client).await?;
            Ok(changed)
        })
        .await
    }
}

/// Due messages, when to look again, and the connection with the open transaction
/// that holds them.
type Claim = (Vec<Stored>, Option<Datetime>, Option<Link>);

/// The releasing of due messages. Each claim is an open transaction on a
/// connection of its own.
#[derive(Debug)]
pub struct Session<'a> {
    store: &'a Postgres,
    listener: AbortHandle,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Session<'_> {
    pub async fn claim(&self, now: Datetime, limit: usize) -> Result<Claim> {
        self.try_claim(now, limit)
            .await
            .with_context(|| self.store.named("cannot claim messages in"))
    }

    async fn try_claim(&self, now: Datetime, limit: usize) -> Result<Claim> {
        let link = self.store.link().await?;
        let (messages, more) = sql::claim(&link.client, &link.statements, now, limit).await?;
        let next = match more {
            true => Some(now),
            false => sql::next(&link.client, &link.statements, now).await?,
        };
        if messages.is_empty() {
            sql::settle(&link.client, &link.statements, &[]).await?;
            self.store.put_back(link);
            return Ok((messages, next, None));
        }
        Ok((messages, next, Some(link)))
    }

    /// Says whether messages of the claim are in the store still. If this fails all
    /// of them are, and are sent again.
    pub async fn settle(&self, link: Link, outcome: Outcome) -> bool {
        let put_off: Vec<Stored> =
            outcome.put_off.into_iter().map(|(_, message)| message).collect();
        match sql::settle(&link.client, &link.statements, &put_off).await {
            Ok(()) => {
                self.store.put_back(link);
                !put_off.is_empty()
            }
            Err(error) => {
                tracing::warn!(
                    "{}: {error:#}; {} messages will be sent again",
                    self.store.named("cannot remove what was sent from"),
                    outcome.sent.len()
                );
                true
            }
        }
    }
}
