//! The store, whichever backend keeps it.

use std::sync::Arc;

use anyhow::Result;

use super::alarm::Alarm;
use super::postgres::{self, Postgres};
use super::record::{Census, Filter, NewerSchema, Outcome, Stored};
use super::retry;
use super::sqlite::{self, Sqlite};
use crate::event::{Datetime, Delayed};
use crate::settings;

/// Where delayed messages are kept. Clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    alarm: Arc<Alarm>,
}

#[derive(Clone, Debug)]
enum Backend {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// Calls the same method of either backend.
macro_rules! on_backend {
    ($store:expr, $backend:ident => $call:expr) => {
        match &$store.backend {
            Backend::Sqlite($backend) => $call.await,
            Backend::Postgres($backend) => $call.await,
        }
    };
}

impl Store {
    /// Opens the store, and migrates its schema to this version.
    ///
    /// # Errors
    /// The store is unreachable, cannot be written, or was written by a newer version.
    pub async fn open(settings: &settings::StoreUrl) -> Result<Self> {
        let alarm = Arc::new(Alarm::new());
        let backend = match settings {
            settings::StoreUrl::Sqlite(file) => {
                Backend::Sqlite(Arc::new(Sqlite::open(file.clone(), Arc::clone(&alarm)).await?))
            }
            settings::StoreUrl::Postgres(url) => {
                Backend::Postgres(Arc::new(Postgres::open(url, Arc::clone(&alarm)).await?))
            }
        };
        Ok(Self { backend, alarm })
    }

    /// As [`Store::open`], for a router: waits while the store is unreachable or cannot be
    /// written (a database may start later, a full disk may be cleared), or another router
    /// uses the same local file.
    ///
    /// # Errors
    /// The store was written by a newer version.
    pub async fn wait_for(settings: &settings::StoreUrl) -> Result<Self> {
        retry::until_done("open it", || async {
            match Self::open(settings).await {
                Err(error) if error.is::<NewerSchema>() => Ok(Err(error)),
                Err(error) => Err(error),
                Ok(store) => store.locked_for_router().await.map(Ok),
            }
        })
        .await
    }

    async fn locked_for_router(self) -> Result<Self> {
        if let Backend::Sqlite(sqlite) = &self.backend {
            sqlite.check_writable().await?;
            sqlite.lock_for_router()?;
        }
        Ok(self)
    }

    /// Adds messages durably. One with a key replaces the pending one of the same plugin and
    /// key. In a shared store this is not possible while that one is in flight; then the new
    /// one is left out, and its position returned, so that it can be added later.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written. No message is added then.
    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<Vec<usize>> {
        let earliest = messages.iter().map(|delayed| delayed.due).min();
        let left_out = match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.accept(messages).await.map(|()| Vec::new()),
            Backend::Postgres(postgres) => postgres.accept(messages).await,
        }?;
        if let Some(due) = earliest {
            self.alarm.ring(due);
        }
        Ok(left_out)
    }

    /// Up to `limit` messages in due order, starting after the one with the id `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        on_backend!(self, backend => backend.list(filter, after, limit))
    }

    /// The message with this id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn show(&self, id: i64) -> Result<Option<Stored>> {
        on_backend!(self, backend => backend.show(id))
    }

    /// How many messages there are, and when they are due, as seen from `now`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count(&self, filter: Filter, now: Datetime) -> Result<Census> {
        on_backend!(self, backend => backend.count(filter, now))
    }

    /// Removes messages. Returns the ids of those that were still there.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Vec<i64>> {
        on_backend!(self, backend => backend.cancel(ids))
    }

    /// Changes the due time of messages. Returns the ids of those that were still there.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Vec<i64>> {
        on_backend!(self, backend => backend.reschedule(ids, due))
    }

    /// Adds those messages whose `message_id` was never imported before. Returns how many.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn import(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        on_backend!(self, backend => backend.import(messages))
    }

    /// How many of these messages were imported before.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count_imported(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        on_backend!(self, backend => backend.count_imported(messages))
    }

    /// Waits until a message may be due earlier than was known. Returns when.
    pub(super) async fn changed(&self) -> Datetime {
        self.alarm.heard().await
    }

    /// Starts to claim due messages.
    ///
    /// # Errors
    /// A local file is in use by another router or claimer.
    pub(super) fn claimer(&self) -> Result<Claimer<'_>> {
        Ok(match &self.backend {
            Backend::Sqlite(sqlite) => Claimer::Sqlite(sqlite.claimer()?),
            Backend::Postgres(postgres) => Claimer::Postgres(postgres.claimer()),
        })
    }
}

/// Claims due messages for the one scheduler of this process.
#[derive(Debug)]
pub enum Claimer<'a> {
    Sqlite(sqlite::Claimer<'a>),
    Postgres(postgres::Claimer<'a>),
}

/// Due messages that nobody else may send now.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Due messages, in due order.
    pub messages: Vec<Stored>,
    /// Keeps them from being claimed again; none if there are no messages.
    pub hold: Option<Hold<'a>>,
    /// When to claim again; none if no message waits.
    pub next: Option<Datetime>,
}

/// Keeps a claim's messages from being claimed again, until it is settled when their fates
/// are known. If it is dropped, they are due again, at the latest for the next claimer.
#[derive(Debug)]
pub struct Hold<'a>(Held<'a>);

#[derive(Debug)]
enum Held<'a> {
    /// The claimer remembers them.
    Sqlite(&'a sqlite::Claimer<'a>),
    /// The connection's open transaction holds them.
    Postgres(&'a postgres::Claimer<'a>, Box<postgres::PooledConnection>),
}

impl Claimer<'_> {
    /// Claims up to `limit` of the messages that are due at `now`.
    pub async fn claim(&self, now: Datetime, limit: usize) -> Result<Claim<'_>> {
        Ok(match self {
            Claimer::Sqlite(sqlite) => {
                let (messages, next) = sqlite.claim(now, limit).await?;
                let hold = (!messages.is_empty()).then_some(Hold(Held::Sqlite(sqlite)));
                Claim { messages, hold, next }
            }
            Claimer::Postgres(postgres) => {
                let claimed = postgres.claim(now, limit).await?;
                let hold = claimed
                    .connection
                    .map(|connection| Hold(Held::Postgres(postgres, Box::new(connection))));
                Claim { messages: claimed.messages, hold, next: claimed.next }
            }
        })
    }
}

impl Hold<'_> {
    /// Removes the messages that were sent, and puts off the others. Returns whether any of
    /// them are still in the store.
    pub async fn settle(self, outcome: Outcome) -> bool {
        match self.0 {
            Held::Sqlite(sqlite) => sqlite.settle(outcome.sent, outcome.put_off).await,
            Held::Postgres(postgres, connection) => postgres.settle(*connection, outcome).await,
        }
    }
}
