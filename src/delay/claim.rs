//! Claims: due messages that one scheduler holds until their fates are known.

use anyhow::Result;

use super::offset::Offset;
use super::record::{Outcome, Stored};
use super::{postgres, sqlite};
use crate::event::Datetime;

/// Claims due messages for the one scheduler of this process. Times are this machine's.
#[derive(Debug)]
pub enum Claimer<'a> {
    Sqlite(sqlite::Claimer<'a>),
    Postgres(postgres::Claimer<'a>, &'a Offset),
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
    Postgres(&'a postgres::Claimer<'a>, Box<postgres::Connection>, &'a Offset),
}

impl Claimer<'_> {
    /// Removes messages that were put off until these times, and confirmed all the same: unless
    /// they were claimed or changed meanwhile.
    ///
    /// # Errors
    /// The store does not, which is logged: they are sent again.
    pub async fn remove(&self, confirmed: Vec<(i64, Datetime)>) -> Result<()> {
        match self {
            Claimer::Sqlite(sqlite) => {
                sqlite.remove(confirmed).await;
                Ok(())
            }
            Claimer::Postgres(postgres, _) => {
                let ids = confirmed.into_iter().map(|(id, _)| id);
                postgres.remove(ids.collect()).await
            }
        }
    }

    /// Claims up to `limit` of the messages that are due at `now`.
    pub async fn claim(&self, now: Datetime, limit: usize) -> Result<Claim<'_>> {
        Ok(match self {
            Claimer::Sqlite(sqlite) => {
                let (messages, next) = sqlite.claim(now, limit).await?;
                let hold = (!messages.is_empty()).then_some(Hold(Held::Sqlite(sqlite)));
                Claim { messages, hold, next }
            }
            Claimer::Postgres(postgres, offset) => {
                let claimed = postgres.claim(offset.to_store(now), limit).await?;
                if let Some(clock) = claimed.behind {
                    // It has jumped since the last comparison.
                    offset.set(clock.unix_micros().saturating_sub(now.unix_micros()));
                }
                let hold = claimed
                    .connection
                    .map(|connection| Hold(Held::Postgres(postgres, Box::new(connection), offset)));
                let next = claimed.next.map(|next| offset.to_local(next));
                Claim { messages: claimed.messages, hold, next }
            }
        })
    }
}

impl Hold<'_> {
    /// The claim is needed still, though nothing happens to it.
    pub fn keep(&self) {
        if let Held::Postgres(_, connection, _) = &self.0 {
            postgres::keep_open(connection);
        }
    }

    /// Removes the messages that were sent, and puts off the others. Returns whether any of
    /// them are still in the store.
    ///
    /// # Errors
    /// The store does not: all of them are still in it, and due.
    pub async fn settle(self, mut outcome: Outcome) -> Result<bool> {
        match self.0 {
            Held::Sqlite(sqlite) => Ok(sqlite.settle(outcome).await),
            Held::Postgres(postgres, connection, offset) => {
                for (_, message) in &mut outcome.put_off {
                    message.delayed.due = offset.to_store(message.delayed.due);
                }
                postgres.settle(*connection, outcome).await
            }
        }
    }
}
