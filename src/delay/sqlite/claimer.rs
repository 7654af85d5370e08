//! Claiming due messages.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use super::{Sqlite, queue};
use crate::delay::record::{Outcome, Stored};
use crate::delay::retry::{self, Work};
use crate::event::Datetime;

/// Claims due messages. A claim ends with this: messages that were not settled are then due
/// again. The notes in the file are for commands of other processes.
#[derive(Debug)]
pub struct Claimer<'a> {
    store: &'a Sqlite,
    /// Also damaged rows that nothing can be done with.
    in_flight: Mutex<HashSet<i64>>,
    /// Whether the notes of an earlier claimer are gone.
    fresh: AtomicBool,
    _claiming: tokio::sync::MutexGuard<'a, ()>,
}

impl<'a> Claimer<'a> {
    pub fn new(store: &'a Sqlite, claiming: tokio::sync::MutexGuard<'a, ()>) -> Self {
        let (in_flight, fresh) = (Mutex::default(), AtomicBool::new(false));
        Self { store, in_flight, fresh, _claiming: claiming }
    }

    fn in_flight(&self) -> MutexGuard<'_, HashSet<i64>> {
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
        if !self.fresh.load(Relaxed) {
            self.write(queue::forget_in_flight).await?;
            self.fresh.store(true, Relaxed);
        }
        // Copied before the read: messages that are settled during it must still be skipped.
        let in_flight = self.in_flight().clone();
        let mut due = self
            .store
            .finder
            .call(move |connection| {
                queue::due(connection, now, limit, |id| in_flight.contains(&id))
            })
            .await
            .with_context(|| self.store.named("cannot read"))?;
        for Stored { id, damage, .. } in due.lost {
            let damage = damage.unwrap_or_default();
            tracing::error!(id, "a delayed message is on a damaged page and stays: {damage}");
            self.in_flight().insert(id);
        }
        if !due.messages.is_empty() {
            let claimed = due.messages.iter().map(|found| (found.id, found.delayed.due));
            let claimed: Vec<_> = claimed.collect();
            let changed =
                self.write(move |connection| queue::note_in_flight(connection, &claimed)).await?;
            due.messages.retain(|message| !changed.contains(&message.id));
            self.in_flight().extend(due.messages.iter().map(|message| message.id));
            if due.messages.is_empty() {
                // They were changed by a person just now.
                due.next = Some(now);
            }
        }
        Ok((due.messages, due.next))
    }

    /// Settles a claim. Returns whether any of its messages are still in the store.
    ///
    /// Tries until it succeeds. Otherwise the messages would be sent again and again.
    pub async fn settle(&self, outcome: Outcome) -> bool {
        let outcome = Arc::new(outcome);
        let settled = retry::until_done(&self.store.health, Work::Settle, || {
            let outcome = Arc::clone(&outcome);
            self.write(move |connection| queue::settle(connection, &outcome.sent, &outcome.put_off))
        })
        .await;
        let Outcome { sent, put_off } = &*outcome;
        let mut in_flight = self.in_flight();
        let ids =
            sent.iter().map(|(id, _)| id).chain(put_off.iter().map(|(_, message)| &message.id));
        for id in ids.filter(|id| !settled.stuck.contains(id)) {
            in_flight.remove(id);
        }
        settled.removed < sent.len() || put_off.len() > settled.stuck.len()
    }

    /// Whatever became of the file: what is in flight may be in one that was deleted, and is
    /// settled there.
    async fn write<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.store.writer.call(task).await;
        done.with_context(|| self.store.named("cannot write to"))
    }
}
