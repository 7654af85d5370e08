//! The delay store in a local file.
//!
//! Three threads with a connection each write, find due messages, and read for people. With
//! a write-ahead log none waits for another. Only one router at a time uses the file;
//! commands use it at the same time, from other processes.

mod census;
mod condition;
mod manage;
mod queue;
mod rows;
mod schema;
mod thread;
mod watch;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::alarm::Alarm;
use super::record::{Census, Filter, Stored};
use super::retry;
use crate::event::{Datetime, Delayed};
use thread::ConnectionThread;

/// The store in one file.
#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
    writer: ConnectionThread,
    /// Finds due messages, so that a slow read cannot make them late.
    finder: ConnectionThread,
    reader: ConnectionThread,
    alarm: Arc<Alarm>,
    /// Held once this is the router that uses the file.
    router_lock: Mutex<Option<watch::RouterLock>>,
    /// Locked by the one claimer: a second one would not know what the first has in flight.
    claiming: tokio::sync::Mutex<()>,
}

impl Sqlite {
    pub async fn open(file: PathBuf, alarm: Arc<Alarm>) -> Result<Self> {
        let writer = ConnectionThread::start("delay-writer", file.clone())?;
        let finder = ConnectionThread::start("delay-finder", file.clone())?;
        let reader = ConnectionThread::start("delay-reader", file.clone())?;
        let store = Self {
            file,
            writer,
            finder,
            reader,
            alarm,
            router_lock: Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
        };
        store.writer.try_call(schema::migrate).await.with_context(|| store.named("cannot use"))?;
        Ok(store)
    }

    fn named(&self, what: &str) -> String {
        format!("{what} the delay store sqlite:{}", self.file.display())
    }

    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<()> {
        self.writer
            .call(move |connection| queue::accept(connection, &messages))
            .await
            .with_context(|| self.named("cannot write to"))
    }

    /// Fails if the file is read-only, which is enough for listing messages, but not for a
    /// router.
    pub async fn check_writable(&self) -> Result<()> {
        self.writer
            .try_call(|connection| schema::check_writable(connection))
            .await
            .with_context(|| self.named("cannot write to"))
    }

    /// Locks the file for this router, until the store is dropped.
    pub fn lock_for_router(&self) -> Result<()> {
        let mut lock = self.router_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(watch::RouterLock::new(&self.file, Arc::clone(&self.alarm))?);
        }
        Ok(())
    }

    /// Starts to claim due messages. Fails while another claimer exists.
    pub fn claimer(&self) -> Result<Claimer<'_>> {
        self.lock_for_router()?;
        let claiming =
            self.claiming.try_lock().context("due messages are being released already")?;
        Ok(Claimer { store: self, in_flight: Mutex::default(), _claiming: claiming })
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

    pub async fn count(&self, filter: Filter, now: Datetime) -> Result<Census> {
        self.read(move |connection| census::count(connection, &filter, now)).await
    }

    pub async fn count_imported(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.read(move |connection| manage::count_imported(connection, &messages)).await
    }

    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Vec<i64>> {
        self.change(move |connection| manage::cancel(connection, &ids)).await
    }

    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Vec<i64>> {
        self.change(move |connection| manage::reschedule(connection, &ids, due)).await
    }

    pub async fn import(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.change(move |connection| manage::import(connection, &messages)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.reader.call(task).await.with_context(|| self.named("cannot read"))
    }

    /// Changes the store and notifies the router that uses the file, in this or another
    /// process.
    async fn change<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let changed =
            self.writer.call(task).await.with_context(|| self.named("cannot write to"))?;
        watch::notify_router(&self.file)?;
        self.alarm.ring_now();
        Ok(changed)
    }
}

/// Claims due messages. Claims are only kept in memory: when this is dropped, messages that
/// were not settled are due again.
#[derive(Debug)]
pub struct Claimer<'a> {
    store: &'a Sqlite,
    in_flight: Mutex<HashSet<i64>>,
    _claiming: tokio::sync::MutexGuard<'a, ()>,
}

/// The ids and due times of messages to remove, and the messages that are put off, with the
/// due times that they were claimed with.
type Settled = (Vec<(i64, Datetime)>, Vec<(Datetime, Stored)>);

impl Claimer<'_> {
    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        // A panic cannot leave the set half changed.
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims up to `limit` of the messages that are due at `now`. Returns them, and when to
    /// claim again.
    pub async fn claim(
        &self,
        now: Datetime,
        limit: usize,
    ) -> Result<(Vec<Stored>, Option<Datetime>)> {
        // Copied before the read: messages that are settled during it must still be skipped.
        let in_flight = self.in_flight().clone();
        let (due, next) = self
            .store
            .finder
            .call(move |connection| {
                queue::due(connection, now, limit, |id| in_flight.contains(&id))
            })
            .await
            .with_context(|| self.store.named("cannot read"))?;
        self.in_flight().extend(due.iter().map(|message| message.id));
        Ok((due, next))
    }

    /// Settles a claim. Returns whether any of its messages are still in the store.
    ///
    /// Tries until it succeeds. Otherwise the messages would be sent again and again.
    pub async fn settle(
        &self,
        sent: Vec<(i64, Datetime)>,
        put_off: Vec<(Datetime, Stored)>,
    ) -> bool {
        let settled = Arc::new((sent, put_off));
        let removed =
            retry::until_done("remove sent messages", || self.try_settle(Arc::clone(&settled)))
                .await;
        let (sent, put_off) = &*settled;
        let mut in_flight = self.in_flight();
        let ids =
            sent.iter().map(|(id, _)| id).chain(put_off.iter().map(|(_, message)| &message.id));
        for id in ids {
            in_flight.remove(id);
        }
        removed < sent.len() || !put_off.is_empty()
    }

    async fn try_settle(&self, settled: Arc<Settled>) -> Result<usize> {
        self.store
            .writer
            .call(move |connection| queue::settle(connection, &settled.0, &settled.1))
            .await
            .with_context(|| self.store.named("cannot write to"))
    }
}
