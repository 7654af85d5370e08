//! Claims of due messages. Each is an open transaction on a connection of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::cancelling::or_cancelled;
use super::connection::{self, Connection};
use super::queue::{self, Unreadable};
use super::{Postgres, in_time};
use crate::delay::record::{Outcome, Stored};
use crate::event::Datetime;

/// How long a row is left alone that the server cannot read, and how many may be.
const LEFT_ALONE: Duration = Duration::from_secs(60);
const MOST_LEFT_ALONE: usize = 100;

/// Due messages that were claimed.
#[derive(Debug)]
pub struct Claimed {
    /// The messages.
    pub messages: Vec<Stored>,
    /// When to claim again; none if no message waits.
    pub next: Option<Datetime>,
    /// The database's time, if it is not yet what it was thought to be.
    pub behind: Option<Datetime>,
    /// The connection whose open transaction holds the messages; none if there are none.
    pub connection: Option<Connection>,
}

/// Claims due messages.
#[derive(Debug)]
pub struct Claimer<'a> {
    store: &'a Postgres,
    listener: AbortHandle,
    /// Rows that the server cannot read, and until when they are left alone.
    unreadable: Mutex<HashMap<i64, Instant>>,
}

impl Drop for Claimer<'_> {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl<'a> Claimer<'a> {
    /// Listens to changes of the store from now on.
    pub fn new(store: &'a Postgres) -> Self {
        let listening = connection::keep_listening(store.access.clone(), Arc::clone(&store.alarm));
        let listener = tokio::spawn(listening).abort_handle();
        Self { store, listener, unreadable: Mutex::default() }
    }

    /// Claims up to `limit` of the messages that are due at `now`, which is taken for the
    /// database's time; none that are not due by its own clock.
    pub async fn claim(&self, now: Datetime, limit: usize) -> Result<Claimed> {
        loop {
            let client = self.store.connection().await?;
            let claimed = in_time(self.try_claim(client, now, limit)).await;
            let unreadable = claimed.as_ref().err().and_then(|error| error.downcast_ref());
            if unreadable.is_none_or(|unreadable| !self.leaves_alone(unreadable)) {
                return claimed.with_context(|| self.store.named("cannot claim messages in"));
            }
        }
    }

    async fn try_claim(&self, client: Connection, now: Datetime, limit: usize) -> Result<Claimed> {
        let left_alone = self.left_alone();
        let asked = queue::claim(&client, now, limit, &left_alone);
        let claimed = or_cancelled(&self.store.access, client.cancel_token(), asked).await?;
        let queue::Claim { messages, next, behind } = claimed;
        let connection = match messages.is_empty() {
            true => {
                queue::settle(&client, &[]).await?;
                self.store.put_back(client);
                None
            }
            false => Some(client),
        };
        Ok(Claimed { messages, next, behind, connection })
    }

    /// Whether the row is left alone from now on, so that the others leave.
    fn leaves_alone(&self, Unreadable { id, reason }: &Unreadable) -> bool {
        let mut unreadable = self.unreadable();
        if unreadable.len() >= MOST_LEFT_ALONE && !unreadable.contains_key(id) {
            return false;
        }
        if unreadable.insert(*id, Instant::now() + LEFT_ALONE).is_none() {
            tracing::error!(id, "a delayed message stays in the store: {reason}");
        }
        true
    }

    fn left_alone(&self) -> Vec<i64> {
        let (now, mut unreadable) = (Instant::now(), self.unreadable());
        // One that was not met again for so long was corrected or removed.
        unreadable.retain(|_, until| now < *until + 10 * LEFT_ALONE);
        unreadable.iter().filter(|(_, until)| now < **until).map(|(id, _)| *id).collect()
    }

    fn unreadable(&self) -> MutexGuard<'_, HashMap<i64, Instant>> {
        // A panic cannot leave the rows half changed.
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes messages that were put off and have been sent all the same.
    ///
    /// # Errors
    /// The database does not, which is logged: they are sent again.
    pub async fn remove(&self, ids: Vec<i64>) -> Result<()> {
        let what = "cannot remove sent messages from";
        let removed =
            self.store.with_connection(what, async |client| queue::remove(client, &ids).await);
        removed.await.inspect_err(|error| {
            tracing::warn!("{error:#}; {} messages will be sent again", ids.len());
        })
    }

    /// Settles a claim. Returns whether any of its messages are still in the store.
    ///
    /// # Errors
    /// The database does not settle it: all of them are still in it, and due.
    pub async fn settle(&self, client: Connection, outcome: Outcome) -> Result<bool> {
        let put_off: Vec<Stored> =
            outcome.put_off.into_iter().map(|(_, message)| message).collect();
        let asked = queue::settle(&client, &put_off);
        let settled = in_time(or_cancelled(&self.store.access, client.cancel_token(), asked)).await;
        settled.with_context(|| self.store.named("cannot settle a claim in"))?;
        self.store.put_back(client);
        Ok(!put_off.is_empty())
    }
}

/// Keeps the server from ending a claim to which nothing happens, as if the router were frozen.
pub fn keep_open(claim: &Connection) {
    // Polling once puts it into the connection's queue. If it fails, so does what comes next.
    let _ = claim.batch_execute("SELECT 1").now_or_never();
}
