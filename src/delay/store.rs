//! The store, wherever it is kept.

use std::sync::Arc;

use anyhow::Result;

use super::alarm::Alarm;
use super::postgres::{self, Postgres};
use super::record::{Census, Filter, Newer, Outcome, Stored};
use super::retry;
use super::sqlite::{self, Sqlite};
use crate::event::{Datetime, Delayed};
use crate::settings;

/// Where delayed messages are kept. Clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    home: Home,
    alarm: Arc<Alarm>,
}

#[derive(Clone, Debug)]
enum Home {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// Calls the same method of either home.
macro_rules! at_home {
    ($store:expr, $home:ident => $call:expr) => {
        match &$store.home {
            Home::Sqlite($home) => $call.await,
            Home::Postgres($home) => $call.await,
        }
    };
}

impl Store {
    /// Opens the store, and brings its schema up to this version.
    ///
    /// # Errors
    /// It cannot be reached, cannot be written, or was written by a newer version.
    pub async fn open(settings: &settings::StoreUrl) -> Result<Self> {
        let alarm = Arc::new(Alarm::new());
        let home = match settings {
            settings::StoreUrl::Sqlite(file) => {
                Home::Sqlite(Arc::new(Sqlite::open(file.clone(), Arc::clone(&alarm)).await?))
            }
            settings::StoreUrl::Postgres(url) => {
                Home::Postgres(Arc::new(Postgres::open(url, Arc::clone(&alarm)).await?))
            }
        };
        Ok(Self { home, alarm })
    }

    /// As [`Store::open`], for a router: waits for as long as the store cannot be
    /// reached or written (a database may start later, a disk may be mended), or
    /// another router uses the same local file.
    ///
    /// # Errors
    /// It was written by a newer version.
    pub async fn wait_for(settings: &settings::StoreUrl) -> Result<Self> {
        retry::until_done("open", || async {
            match Self::open(settings).await {
                Err(error) if error.is::<Newer>() => Ok(Err(error)),
                Err(error) => Err(error),
                Ok(store) => store.owned().await.map(Ok),
            }
        })
        .await
    }

    async fn owned(self) -> Result<Self> {
        if let Home::Sqlite(home) = &self.home {
            home.check_writable().await?;
            home.own()?;
        }
        Ok(self)
    }

    /// Adds messages, durably. One with a key replaces the pending one of the same
    /// plugin and key. In a shared store it cannot while that one is on its way: it
    /// is left out, and its position returned, to be handed in again.
    ///
    /// # Errors
    /// The store cannot be reached or written; none is added.
    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<Vec<usize>> {
        let earliest = messages.iter().map(|delayed| delayed.due).min();
        let left_out = match &self.home {
            Home::Sqlite(home) => home.accept(messages).await.map(|()| Vec::new()),
            Home::Postgres(home) => home.accept(messages).await,
        }?;
        if let Some(due) = earliest {
            self.alarm.ring(due);
        }
        Ok(left_out)
    }

    /// Up to `limit` messages in due order, from after the one with the id `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        at_home!(self, home => home.list(filter, after, limit))
    }

    /// The message with this id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn show(&self, id: i64) -> Result<Option<Stored>> {
        at_home!(self, home => home.show(id))
    }

    /// How many messages there are, and when they are due, seen from `now`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count(&self, filter: Filter, now: Datetime) -> Result<Census> {
        at_home!(self, home => home.count(filter, now))
    }

    /// Removes messages. Returns the ids of those that were there still.
    ///
    /// # Errors
    /// The store cannot be reached or written.
    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Vec<i64>> {
        at_home!(self, home => home.cancel(ids))
    }

    /// Gives messages another due time. Returns the ids of those that were there still.
    ///
    /// # Errors
    /// The store cannot be reached or written.
    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Vec<i64>> {
        at_home!(self, home => home.reschedule(ids, due))
    }

    /// Adds those messages whose `message_id` was never imported before. Returns how many.
    ///
    /// # Errors
    /// The store cannot be reached or written.
    pub async fn import(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        at_home!(self, home => home.import(messages))
    }

    /// How many of these messages were imported before.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count_imported(&self, messages: Arc<Vec<Delayed>>) -> Result<usize> {
        at_home!(self, home => home.count_imported(messages))
    }

    /// Waits until something may be due earlier than was known; says when.
    pub(super) async fn changed(&self) -> Datetime {
        self.alarm.heard().await
    }

    /// Begins to release what is due.
    pub(super) fn session(&self) -> Result<Session<'_>> {
        Ok(match &self.home {
            Home::Sqlite(home) => Session::Sqlite(home.session()?),
            Home::Postgres(home) => Session::Postgres(home.session()),
        })
    }
}

/// The releasing of due messages by one scheduler.
#[derive(Debug)]
pub enum Session<'a> {
    Sqlite(sqlite::Session<'a>),
    Postgres(postgres::Session<'a>),
}

/// Messages that this session alone may send now.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Due messages, in due order.
    pub messages: Vec<Stored>,
    /// What keeps them from being claimed again; none if there are none.
    pub hold: Option<Hold<'a>>,
    /// When to look again; none if nothing waits.
    pub next: Option<Datetime>,
}

/// What keeps a claim's messages from being claimed again, to be settled when their
/// fate is known. If it is dropped they are due again, in the next session at the latest.
#[derive(Debug)]
pub struct Hold<'a>(Held<'a>);

#[derive(Debug)]
enum Held<'a> {
    /// The session remembers them.
    Sqlite(&'a sqlite::Session<'a>),
    /// The connection's open transaction has them.
    Postgres(&'a postgres::Session<'a>, Box<postgres::Link>),
}

impl Session<'_> {
    /// Claims up to `limit` of the messages that are due at `now`.
    pub async fn claim(&self, now: Datetime, limit: usize) -> Result<Claim<'_>> {
        Ok(match self {
            Session::Sqlite(session) => {
                let (messages, next) = session.claim(now, limit).await?;
                let hold = (!messages.is_empty()).then_some(Hold(Held::Sqlite(session)));
                Claim { messages, hold, next }
            }
            Session::Postgres(session) => {
                let (messages, next, link) = session.claim(now, limit).await?;
                let hold = link.map(|link| Hold(Held::Postgres(session, Box::new(link))));
                Claim { messages, hold, next }
            }
        })
    }
}

impl Hold<'_> {
    /// Removes what was sent and puts off the rest of the claim. Says whether any of
    /// it is in the store still.
    pub async fn settle(self, outcome: Outcome) -> bool {
        match self.0 {
            Held::Sqlite(session) => session.settle(outcome.sent, outcome.put_off).await,
            Held::Postgres(session, link) => session.settle(*link, outcome).await,
        }
    }
}
