//! The delay store in a local file.
//!
//! Threads with connections of their own write, look for what is due, and read for
//! people; with a write-ahead log none waits for another. One router at a time
//! uses the file; people's commands use it beside the router, from other processes.

mod sql;
mod watch;
mod worker;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::alarm::Alarm;
use super::record::{Census, Filter, Stored};
use super::retry;
use crate::event::{Datetime, Delayed};
use worker::Worker;

/// The store in one file.
#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
    writer: Worker,
    /// For the scheduler: counting millions must not make messages late.
    lookout: Worker,
    reader: Worker,
    alarm: Arc<Alarm>,
    /// Once this is the router that uses the file.
    guard: Mutex<Option<watch::Guard>>,
    /// Locked by the session that releases what is due: another one would not know
    /// what this one has in flight.
    turn: tokio::sync::Mutex<()>,
}

impl Sqlite {
    pub async fn open(file: PathBuf, alarm: Arc<Alarm>) -> Result<Self> {
        let writer = Worker::start("delay-writer", file.clone())?;
        let lookout = Worker::start("delay-lookout", file.clone())?;
        let reader = Worker::start("delay-reader", file.clone())?;
        let store = Self {
            file,
            writer,
            lookout,
            reader,
            alarm,
            guard: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        };
        store.writer.try_call(sql::migrate).await.with_context(|| store.named("cannot use"))?;
        Ok(store)
    }

    fn named(&self, what: &str) -> String {
        format!("{what} the delay store sqlite:{}", self.file.display())
    }

    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<()> {
        self.writer
            .call(move |connection| sql::accept(connection, &messages))
            .await
            .with_context(|| self.named("cannot write to"))
    }

    /// Fails if it can only be read, which is enough for people who look into it,
    /// but not for a router.
    pub async fn check_writable(&self) -> Result<()> {
        self.writer
            .try_call(|connection| sql::check_writable(connection))
            .await
            .with_context(|| self.named("cannot write to"))
    }

    /// Makes this the one router that uses the file, until it is dropped.
    pub fn own(&self) -> Result<()> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            *guard = Some(watch::Guard::new(&self.file, Arc::clone(&self.alarm))?);
        }
        Ok(())
    }

    /// Begins to release what is due. Fails while another session does.
    pub fn session(&self) -> Result<Session<'_>> {
        self.own()?;
        let turn = self.turn.try_lock().context("what is due is being released already")?;
        Ok(Session { store: self, in_flight: Mutex::default(), _turn: turn })
    }

    pub async fn list(
        &self,
        filter: Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        self.read(move |connection| sql::list(connection, &filter, after, limit)).await
    }

    pub async fn show(&self, id: i64) -> Result<Option<Stored>> {
        self.read(move |connection| sql::show(connection, id)).await
    }

    pub async fn count(&self, filter: Filter, now: Datetime) -> Result<Census> {
        self.read(move |connection| sql::count(connection, &filter, now)).await
    }

    pub async fn count_imported(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.read(move |connection| sql::count_imported(connection, &messages)).await
    }

    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Vec<i64>> {
        self.change(move |connection| sql::cancel(connection, &ids)).await
    }

    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Vec<i64>> {
        self.change(move |connection| sql::reschedule(connection, &ids, due)).await
    }

    pub async fn import(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        self.change(move |connection| sql::import(connection, &messages)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.reader.call(task).await.with_context(|| self.named("cannot read"))
    }

    /// Changes the store and tells the router that uses the file, in whichever
    /// process it is.
    async fn change<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let changed =
            self.writer.call(task).await.with_context(|| self.named("cannot write to"))?;
        watch::tell(&self.file)?;
        self.alarm.ring_now();
        Ok(changed)
    }
}

/// The releasing of due messages. What it has claimed is only remembered: after
/// it ends, all that was not settled is due again.
#[derive(Debug)]
pub struct Session<'a> {
    store: &'a Sqlite,
    in_flight: Mutex<HashSet<i64>>,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

/// Ids to remove with their due times, and what is put off with its former ones.
type Settled = (Vec<(i64, Datetime)>, Vec<(Datetime, Stored)>);

impl Session<'_> {
    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        // The set is whole between any two of its calls.
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn claim(
        &self,
        now: Datetime,
        limit: usize,
    ) -> Result<(Vec<Stored>, Option<Datetime>)> {
        // Taken before the read begins: what is settled meanwhile is in it still.
        let in_flight = self.in_flight().clone();
        let (due, next) = self
            .store
            .lookout
            .call(move |connection| sql::due(connection, now, limit, |id| in_flight.contains(&id)))
            .await
            .with_context(|| self.store.named("cannot read"))?;
        self.in_flight().extend(due.iter().map(|message| message.id));
        Ok((due, next))
    }

    /// Says whether messages of the claim are in the store still.
    ///
    /// Tried until it is done: were it given up, the messages would be sent again
    /// and again.
    pub async fn settle(
        &self,
        sent: Vec<(i64, Datetime)>,
        put_off: Vec<(Datetime, Stored)>,
    ) -> bool {
        let settled = Arc::new((sent, put_off));
        let removed =
            retry::until_done("remove what was sent", || self.try_settle(Arc::clone(&settled)))
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
            .call(move |connection| sql::settle(connection, &settled.0, &settled.1))
            .await
            .with_context(|| self.store.named("cannot write to"))
    }
}
