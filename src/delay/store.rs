//! The store, whichever backend keeps it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::claim::Claimer;
use super::exchanges::Exchanges;
use super::offset::Offset;
use super::postgres::Postgres;
use super::record::{
    self, Census, Changed, Filter, Import, Overview, Stored, Unreplicated, Unusable,
};
use super::retry::{self, Work};
use super::sqlite::Sqlite;
use super::stats::StoreStats;
use crate::event::{Datetime, Delayed};
use crate::health::Health;
use crate::settings;

/// Where delayed messages are kept. Clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    alarm: Arc<Alarm>,
    health: Health,
    stats: Arc<StoreStats>,
    /// What the one scheduler of this process knows of them.
    exchanges: Arc<Mutex<Exchanges>>,
    /// Of the clock of a database that routers share.
    offset: Arc<Offset>,
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
    /// The store is unreachable, cannot be written, or will never do as it is.
    pub async fn open(settings: &settings::StoreUrl) -> Result<Self> {
        Self::open_reporting(settings, Health::default()).await
    }

    /// Opens a store that is there, and makes nothing in a database; none if there is none: no
    /// file, or a database without the router's tables.
    ///
    /// # Errors
    /// As those of [`Store::open`].
    pub async fn existing(settings: &settings::StoreUrl) -> Result<Option<Self>> {
        match settings {
            settings::StoreUrl::Sqlite(file) if !file.exists() => Ok(None),
            settings::StoreUrl::Sqlite(_) => Self::open(settings).await.map(Some),
            settings::StoreUrl::Postgres(url) => {
                let alarm = Arc::new(Alarm::new());
                let found = Postgres::existing(url, Arc::clone(&alarm)).await?;
                let backend = found.map(|found| Backend::Postgres(Arc::new(found)));
                Ok(backend.map(|backend| Self::of(backend, alarm, Health::default())))
            }
        }
    }

    async fn open_reporting(settings: &settings::StoreUrl, health: Health) -> Result<Self> {
        let alarm = Arc::new(Alarm::new());
        let backend = match settings {
            settings::StoreUrl::Sqlite(file) => {
                let opened = Sqlite::open(file.clone(), Arc::clone(&alarm), health.clone());
                Backend::Sqlite(Arc::new(opened.await?))
            }
            settings::StoreUrl::Postgres(url) => {
                Backend::Postgres(Arc::new(Postgres::open(url, Arc::clone(&alarm)).await?))
            }
        };
        Ok(Self::of(backend, alarm, health))
    }

    fn of(backend: Backend, alarm: Arc<Alarm>, health: Health) -> Self {
        let stats = match &backend {
            Backend::Sqlite(sqlite) => Arc::clone(sqlite.stats()),
            Backend::Postgres(_) => Arc::default(),
        };
        let (exchanges, offset) = Default::default();
        Self { backend, alarm, health, stats, exchanges, offset }
    }

    /// As [`Store::open`], for a router: waits while the store is unreachable or cannot be
    /// written (a database may start later, a full disk may be cleared), or another router
    /// uses the same local file. From now on `health` says what the store fails at.
    ///
    /// # Errors
    /// The store will never do as it is: it was written by a newer version, say.
    pub async fn wait_for(settings: &settings::StoreUrl, health: &Health) -> Result<Self> {
        // What is measured begins when it is open.
        retry::until_done(health, &StoreStats::default(), Work::Open, || async {
            match Self::open_reporting(settings, health.clone()).await {
                Err(error) if error.is::<Unusable>() => Ok(Err(error)),
                Err(error) => Err(error),
                Ok(store) => store.prepared_for_router().await.map(Ok),
            }
        })
        .await
    }

    async fn prepared_for_router(self) -> Result<Self> {
        match &self.backend {
            Backend::Sqlite(sqlite) => {
                let prepared = sqlite.prepare_for_router().await;
                if prepared.is_err() {
                    // Before the next attempt opens the file.
                    sqlite.abandon().await;
                }
                prepared?;
            }
            Backend::Postgres(postgres) => postgres.prepare_for_router().await?,
        }
        // Before anything is claimed by it.
        self.compare_clocks().await?;
        Ok(self)
    }

    /// Closes the store: a local file then holds everything by itself. Nothing works with
    /// any clone afterwards.
    pub async fn close(&self) {
        if let Backend::Sqlite(sqlite) = &self.backend {
            sqlite.close().await;
        }
    }

    /// What the store is measured by.
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn exchanges(&self) -> MutexGuard<'_, Exchanges> {
        // What is in it is whole at any time, even if a holder panicked.
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds messages durably. One with a key replaces the pending one of the same plugin and
    /// key. In a shared store this is not possible while that one is in flight; then the new
    /// one is left out, and its position returned, so that it can be added later.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written, or refuses one of the messages
    /// ([`Unstorable`](super::blame::Unstorable)). No message is added then.
    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<Vec<usize>> {
        let earliest = messages.iter().map(|delayed| delayed.due).min();
        let begun = Instant::now();
        let left_out = match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.accept(messages).await.map(|()| Vec::new()),
            Backend::Postgres(postgres) => postgres.accept(messages).await,
        }?;
        self.stats.committed(begun.elapsed());
        if let Some(due) = earliest {
            self.alarm.ring(due);
        }
        Ok(left_out)
    }

    /// Up to `limit` messages in due order, starting after the one with the id `after`;
    /// without their bodies.
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

    /// Up to `limit` messages as a whole, with ids above `after`, in the order of their ids.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn page(&self, after: i64, limit: u32) -> Result<Vec<Stored>> {
        on_backend!(self, backend => backend.page(after, limit.into()))
    }

    /// How many messages there are, and when they are due, as seen from `now`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count(&self, filter: Filter, now: Datetime) -> Result<Census> {
        on_backend!(self, backend => backend.count(filter, record::bounds(now).to_vec()))
    }

    /// How many messages there are, and how many are due until each of the times, which rise,
    /// but not until an earlier one; and last, how many are due after all of them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn timeline(&self, filter: Filter, ends: &[Datetime]) -> Result<Census> {
        let bounds: Vec<i64> = ends.iter().map(|end| end.unix_micros()).collect();
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.count(filter, bounds).await,
            Backend::Postgres(postgres) => postgres.timeline(filter, bounds).await,
        }
    }

    /// How many messages should have been sent by `time`, by this machine's clock, or were put
    /// off.
    ///
    /// # Errors
    /// The store cannot be used, or a local file is no longer the one that was opened.
    pub async fn overview(&self, time: Datetime) -> Result<Overview> {
        let time = self.offset.to_store(time);
        on_backend!(self, backend => backend.overview(time))
    }

    /// Removes messages that are not in flight.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Changed> {
        on_backend!(self, backend => backend.cancel(ids))
    }

    /// Changes the due time of messages that are not in flight.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Changed> {
        on_backend!(self, backend => backend.reschedule(ids, due))
    }

    /// Sends messages that are not in flight now: they are due at once by the clock that they
    /// are sent by.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn send_now(&self, ids: Vec<i64>) -> Result<Changed> {
        let now = self.now().await?;
        self.reschedule(ids, now).await
    }

    /// The time by the clock that messages are sent by: this machine's, or that of a database
    /// that routers share.
    ///
    /// # Errors
    /// The store is unreachable.
    pub async fn now(&self) -> Result<Datetime> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Datetime::now()),
            Backend::Postgres(postgres) => postgres.now().await,
        }
    }

    /// Adds those messages that were never imported before; but not those whose key a newer
    /// message has taken. Returns how many were new.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written, or refuses one of the messages
    /// ([`Unstorable`](super::blame::Unstorable)). No message is added then.
    pub async fn import(&self, messages: Arc<Vec<Import>>) -> Result<usize> {
        on_backend!(self, backend => backend.import(messages))
    }

    /// Waits until what was stored is wherever the database promises to have it. Gives whether it
    /// is: another server may have taken over, which does not have it.
    ///
    /// # Errors
    /// The store is unreachable, or that takes too long.
    pub async fn is_replicated(&self, stored: &Unreplicated) -> Result<bool> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(postgres) => Ok(postgres.until_replicated().await? == stored.server),
        }
    }

    /// Waits until all that was stored is wherever the database promises to have it.
    ///
    /// # Errors
    /// As those of [`is_replicated`](Self::is_replicated).
    pub async fn until_replicated(&self) -> Result<()> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(postgres) => postgres.until_replicated().await.map(|_| ()),
        }
    }

    /// Puts right what an import could not work with.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn prepare_for_import(&self) -> Result<()> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.check_writable().await,
            Backend::Postgres(postgres) => postgres.prepare_for_router().await,
        }
    }

    /// How many of these messages were imported before.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count_imported(&self, messages: Arc<Vec<Import>>) -> Result<usize> {
        on_backend!(self, backend => backend.count_imported(messages))
    }

    /// Up to `limit` ids of what was imported, above `after`, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn imported_ids(&self, after: String, limit: u32) -> Result<Vec<String>> {
        on_backend!(self, backend => backend.imported_ids(after, limit))
    }

    /// Remembers that these were imported, so that no import adds them.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub async fn note_imported(&self, ids: Arc<Vec<String>>) -> Result<()> {
        on_backend!(self, backend => backend.note_imported(ids))
    }

    /// Writes a local store, as it is at this moment, into a new file.
    ///
    /// # Errors
    /// There is such a file, or it cannot be written; or the store is a database, which has
    /// tools of its own.
    pub async fn back_up(&self, file: &Path) -> Result<()> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.back_up(file).await,
            Backend::Postgres(_) => bail!(
                "the delay store is a PostgreSQL database, which pg_dump backs up: \
                 pg_dump --format=custom --table='mo_router_*' --file={} DATABASE",
                file.display()
            ),
        }
    }

    /// Ends pauses that begin later than `latest`. Returns how many there were.
    ///
    /// # Errors
    /// The store is unreachable or cannot be written.
    pub(super) async fn end_pauses(&self, latest: Datetime, now: Datetime) -> Result<u64> {
        let (latest, now) = (self.offset.to_store(latest), self.offset.to_store(now));
        on_backend!(self, backend => backend.end_pauses(latest, now))
    }

    /// Gives space back that a local file no longer needs.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn shrink(&self) -> Result<()> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.shrink().await,
            // Vacuumed by the server.
            Backend::Postgres(_) => Ok(()),
        }
    }

    /// Compares the clock with that of a shared store, by which messages are due from now on.
    /// Returns how far they are from one another.
    ///
    /// # Errors
    /// The store is unreachable.
    pub(super) async fn compare_clocks(&self) -> Result<Duration> {
        if let Backend::Postgres(postgres) = &self.backend {
            self.offset.set(postgres.compare_clocks().await?.ahead());
        }
        Ok(self.offset.distance())
    }

    /// Waits until a message may be due earlier than was known. Returns when.
    pub(super) async fn changed(&self) -> Datetime {
        self.offset.to_local(self.alarm.heard().await)
    }

    /// Starts to claim due messages.
    ///
    /// # Errors
    /// A local file is in use by another router or claimer.
    pub(super) fn claimer(&self) -> Result<Claimer<'_>> {
        Ok(match &self.backend {
            Backend::Sqlite(sqlite) => Claimer::Sqlite(sqlite.claimer()?),
            Backend::Postgres(postgres) => Claimer::Postgres(postgres.claimer(), &self.offset),
        })
    }
}
