//! The delay store in a local file.
//!
//! Three threads with a connection each write, find due messages, and read for people. With
//! a write-ahead log none waits for another. Only one router at a time uses the file;
//! commands use it at the same time, from other processes.

mod anchor;
mod census;
mod claimer;
mod condition;
mod damaged;
mod imported;
mod manage;
mod probe;
mod queue;
mod rows;
mod schema;
mod thread;
mod watch;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::alarm::Alarm;
use super::record::{Census, Changed, Filter, Import, Overview, Stored};
use super::stats::StoreStats;
use crate::event::{Datetime, Delayed};
use crate::health::Health;
use anchor::Anchor;
pub use claimer::Claimer;
pub use probe::look;
use thread::ConnectionThread;

/// The store in one file.
#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
    anchor: Arc<Anchor>,
    writer: ConnectionThread,
    /// Finds due messages, so that a slow read cannot make them late.
    finder: ConnectionThread,
    reader: ConnectionThread,
    alarm: Arc<Alarm>,
    health: Health,
    stats: Arc<StoreStats>,
    /// There once this is the router that uses the file.
    changes: Mutex<Option<watch::Changes>>,
    /// Locked by the one claimer: a second one would not know what the first has in flight.
    claiming: tokio::sync::Mutex<()>,
    /// The ids of messages that were sent, and are so damaged that they cannot be removed.
    unremovable: Mutex<HashSet<i64>>,
}

impl Sqlite {
    pub async fn open(file: PathBuf, alarm: Arc<Alarm>, health: Health) -> Result<Self> {
        let named = || format!("cannot use the delay store sqlite:{}", file.display());
        let anchor = Arc::new(Anchor::open(&file).with_context(named)?);
        let start = |name| ConnectionThread::start(name, file.clone(), Arc::clone(&anchor));
        let (writer, finder, reader) =
            (start("delay-writer")?, start("delay-finder")?, start("delay-reader")?);
        let store = Self {
            anchor,
            writer,
            finder,
            reader,
            alarm,
            health,
            stats: Arc::default(),
            changes: Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
            unremovable: Mutex::default(),
            file,
        };
        let migrated = store.writer.try_call(schema::migrate).await;
        if migrated.is_err() {
            store.abandon().await;
        }
        if migrated.with_context(|| store.named("cannot use"))? {
            let path = store.file.canonicalize().unwrap_or_else(|_| store.file.clone());
            tracing::warn!("created a new, empty delay store: sqlite:{}", path.display());
        }
        Ok(store)
    }

    /// What the store is measured by.
    pub fn stats(&self) -> &Arc<StoreStats> {
        &self.stats
    }

    fn unremovable(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.unremovable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the file, which then holds everything: its write-ahead log is gone, unless
    /// another process has the file open. Nothing works with this store afterwards.
    pub async fn close(&self) {
        // A router of another process has work to do, and tidies up when it stops.
        if !self.anchor.is_in_use().unwrap_or(true) {
            tokio::join!(self.reader.close(), self.finder.close());
            let packed = self.writer.call(schema::pack).await;
            if let Err(error) = packed.with_context(|| self.named("cannot tidy up")) {
                tracing::warn!("{error:#}");
            }
        }
        self.abandon().await;
    }

    /// Closes the connections, and only then, when the last handle is dropped, the file.
    pub async fn abandon(&self) {
        tokio::join!(self.reader.close(), self.finder.close(), self.writer.close());
    }

    fn named(&self, what: &str) -> String {
        format!("{what} the delay store sqlite:{}", self.file.display())
    }

    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<()> {
        self.write(move |connection| queue::accept(connection, &messages)).await
    }

    /// Fails if the file is read-only, which is enough for listing messages, but not for a
    /// router.
    pub async fn check_writable(&self) -> Result<()> {
        self.writer
            .try_call(|connection| schema::check_writable(connection))
            .await
            .with_context(|| self.named("cannot write to"))
    }

    /// Makes sure that a router can use the file, and that no other does.
    pub async fn prepare_for_router(&self) -> Result<()> {
        self.check_writable().await?;
        self.lock_for_router()?;
        self.close_to_others();
        // What is noted is of a router that was killed, or of the one that a backup is from. Now
        // nothing is in flight, and commands may change everything, also while the broker is
        // unreachable or messages are held.
        self.write(queue::forget_in_flight).await
    }

    /// Locks the file for this router, until the store is closed or dropped.
    pub fn lock_for_router(&self) -> Result<()> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.is_none() {
            self.anchor.lock()?;
            let alarm = Arc::clone(&self.alarm);
            *changes = Some(watch::Changes::of(&self.file, &self.anchor, alarm));
        }
        Ok(())
    }

    fn close_to_others(&self) {
        let file = self.file.display();
        match self.anchor.others_rights() {
            Ok(0) => {}
            _ => match self.anchor.close_to_others() {
                Ok(()) => tracing::warn!(
                    "others than its user had rights to the delay store's file {file}, and have none any more"
                ),
                Err(error) => tracing::warn!(
                    "others than its user have rights to the delay store's file {file}, and the router \
                     cannot take them away: {error}; chmod 600 {file}"
                ),
            },
        }
    }

    /// Starts to claim due messages. Fails while another claimer exists.
    pub fn claimer(&self) -> Result<Claimer<'_>> {
        self.lock_for_router()?;
        let claiming =
            self.claiming.try_lock().context("due messages are being released already")?;
        Ok(Claimer::new(self, claiming))
    }

    pub async fn list(
        &self,
        filter: Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        self.read(move |connection| manage::list(connection, &filter, after, limit)).await
    }

    pub async fn show(&self, id: i64) -> Result<Option<Stored>> {
        self.read(move |connection| manage::show(connection, id)).await
    }

    pub async fn page(&self, after: i64, limit: i64) -> Result<Vec<Stored>> {
        self.read(move |connection| manage::page(connection, after, limit)).await
    }

    pub async fn count(&self, filter: Filter, bounds: Vec<i64>) -> Result<Census> {
        self.read(move |connection| census::count(connection, &filter, &bounds)).await
    }

    pub async fn overview(&self, time: Datetime) -> Result<Overview> {
        // It is looked at regularly, also while nothing is stored.
        self.anchor.check().with_context(|| self.named("cannot write to"))?;
        // Not behind what people ask for, which may take long.
        let looked = self.finder.call(move |connection| census::overview(connection, time));
        looked.await.with_context(|| self.named("cannot read"))
    }

    pub async fn count_imported(&self, messages: Arc<Vec<Import>>) -> Result<usize> {
        self.read(move |connection| imported::count(connection, &messages)).await
    }

    pub async fn imported_ids(&self, after: String, limit: u32) -> Result<Vec<String>> {
        self.read(move |connection| imported::page(connection, &after, limit)).await
    }

    pub async fn note_imported(&self, ids: Arc<Vec<String>>) -> Result<()> {
        self.write(move |connection| imported::note(connection, &ids)).await
    }

    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Changed> {
        let anchor = Arc::clone(&self.anchor);
        self.change(move |connection| manage::cancel(connection, &ids, || anchor.is_claimed()))
            .await
    }

    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Changed> {
        let anchor = Arc::clone(&self.anchor);
        self.change(move |connection| {
            manage::reschedule(connection, &ids, due, || anchor.is_claimed())
        })
        .await
    }

    pub async fn import(&self, messages: Arc<Vec<Import>>) -> Result<usize> {
        self.change(move |connection| imported::import(connection, &messages)).await
    }

    pub async fn end_pauses(&self, latest: Datetime, now: Datetime) -> Result<u64> {
        let ended = self.write(move |connection| manage::end_pauses(connection, latest, now));
        Ok(ended.await? as u64)
    }

    /// Gives some of the file's space back, if much of it holds nothing.
    pub async fn shrink(&self) -> Result<()> {
        self.write(schema::shrink).await
    }

    /// Writes everything, as it is at this moment, into a new file, which is complete on disk
    /// afterwards.
    pub async fn back_up(&self, file: &Path) -> Result<()> {
        let new = anchor::create(file)?;
        let target = file.to_owned();
        let written = self.read(move |connection| manage::back_up(connection, &target)).await;
        if written.is_err() {
            // It holds nothing, or not everything.
            let _ = fs::remove_file(file);
        }
        written?;
        new.sync_all().with_context(|| format!("cannot write {}", file.display()))
    }

    async fn read<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.reader.call_while_wanted(task).await.with_context(|| self.named("cannot read"))
    }

    /// Changes the file, and makes sure that it is still the one that will be opened again:
    /// nothing counts as stored that is in a file which was deleted.
    async fn write<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let cannot = || self.named("cannot write to");
        self.anchor.check().with_context(cannot)?;
        let done = self.writer.call(task).await.with_context(cannot)?;
        self.anchor.check().with_context(cannot)?;
        Ok(done)
    }

    /// Changes the store and notifies the router that uses the file, in this or another
    /// process.
    async fn change<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let changed = self.write(task).await?;
        watch::notify_router(&self.file, &self.anchor);
        self.alarm.ring_now();
        Ok(changed)
    }
}
