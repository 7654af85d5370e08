//! Claiming due messages.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Sqlite, queue};
use crate::delay::record::{Outcome, Stored};
use crate::delay::retry::{self, Work};
use crate::event::Datetime;

/// How long a damaged row is left alone in which nothing can be noted.
const SET_ASIDE: Duration = Duration::from_secs(120);

/// Claims due messages. A claim ends with this: messages that were not settled are then due
/// again. The notes in the file are for commands of other processes.
#[derive(Debug)]
pub struct Claimer<'a> {
    store: &'a Sqlite,
    held: Mutex<Held>,
    /// Whether the notes of an earlier claimer are gone.
    fresh: AtomicBool,
    _claiming: tokio::sync::MutexGuard<'a, ()>,
}

/// What is not to be claimed.
#[derive(Clone, Debug, Default)]
struct Held {
    /// In flight; or sent, and impossible to remove.
    in_flight: HashSet<i64>,
    /// Damaged rows in which that cannot be noted, and until when.
    set_aside: HashMap<i64, Datetime>,
}

impl Held {
    fn has(&self, id: i64, now: Datetime) -> bool {
        self.in_flight.contains(&id) || self.set_aside.get(&id).is_some_and(|until| now < *until)
    }
}

impl<'a> Claimer<'a> {
    pub fn new(store: &'a Sqlite, claiming: tokio::sync::MutexGuard<'a, ()>) -> Self {
        let in_flight = store.unremovable().clone();
        let held = Mutex::new(Held { in_flight, set_aside: HashMap::new() });
        Self { store, held, fresh: AtomicBool::new(false), _claiming: claiming }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // A panic cannot leave the sets half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
        let held = self.held().clone();
        let mut due = self
            .store
            .finder
            .call(move |connection| queue::due(connection, now, limit, |id| held.has(id, now)))
            .await
            .with_context(|| self.store.named("cannot read"))?;
        for Stored { id, damage, .. } in due.lost {
            let until = now.saturating_add(SET_ASIDE);
            if self.held().set_aside.insert(id, until).is_none() {
                let damage = damage.unwrap_or_default();
                tracing::error!(id, "a delayed message stays in the store: {damage}");
            }
        }
        if !due.messages.is_empty() {
            let claimed = due.messages.iter().map(|found| (found.id, found.delayed.due));
            let claimed: Vec<_> = claimed.collect();
            let changed =
                self.write(move |connection| queue::note_in_flight(connection, &claimed)).await?;
            // A damaged row may be another than it seems. It is not sent, but put off.
            due.messages.retain(|found| found.damage.is_some() || !changed.contains(&found.id));
            let mut held = self.held();
            for Stored { id, .. } in &due.messages {
                held.set_aside.remove(id);
                held.in_flight.insert(*id);
            }
            if due.messages.is_empty() {
                // They were changed by a person just now.
                due.next = Some(now);
            }
        }
        Ok((due.messages, due.next))
    }

    /// Settles a claim. Returns whether any of its messages are still in the store, and may be
    /// claimed again.
    ///
    /// Tries until it succeeds. Otherwise the messages would be sent again and again.
    pub async fn settle(&self, outcome: Outcome) -> bool {
        let outcome = Arc::new(outcome);
        let settled = self
            .until_done(|| {
                let outcome = Arc::clone(&outcome);
                self.write(move |connection| {
                    queue::settle(connection, &outcome.sent, &outcome.put_off)
                })
            })
            .await;
        let Outcome { sent, put_off } = &*outcome;
        let is_stuck = |id: &i64| settled.stuck.contains(id);
        let mut held = self.held();
        let mut removable = 0;
        for (id, _) in sent {
            if is_stuck(id) {
                self.store.unremovable().insert(*id);
            } else {
                held.in_flight.remove(id);
                removable += 1;
            }
        }
        let mut stays = settled.removed < removable;
        for (_, Stored { id, delayed, .. }) in put_off {
            held.in_flight.remove(id);
            if is_stuck(id) {
                held.set_aside.insert(*id, delayed.due.saturating_add(SET_ASIDE));
            } else {
                stays = true;
            }
        }
        stays
    }

    /// Removes messages that were put off until these times, and confirmed all the same. One that
    /// is in flight again, or has another time, is left alone.
    ///
    /// Tries until it succeeds.
    pub async fn remove(&self, confirmed: Vec<(i64, Datetime)>) {
        let confirmed = Arc::new(confirmed);
        let stuck = self
            .until_done(|| {
                let confirmed = Arc::clone(&confirmed);
                self.write(move |connection| queue::remove(connection, &confirmed))
            })
            .await;
        let mut held = self.held();
        for id in stuck {
            self.store.unremovable().insert(id);
            held.in_flight.insert(id);
        }
    }

    /// Settles until that succeeds.
    async fn until_done<T, F: Future<Output = Result<T>>>(&self, attempt: impl FnMut() -> F) -> T {
        let Sqlite { health, stats, .. } = self.store;
        retry::until_done(health, stats, Work::Settle, attempt).await
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

impl Drop for Claimer<'_> {
    /// Nobody sends any more what was in flight, so commands may change it. If this fails, the
    /// next claimer does it.
    fn drop(&mut self) {
        self.store.writer.start_if_possible(queue::forget_in_flight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::alarm::Alarm;
    use crate::event::{Delayed, Message};
    use crate::health::Health;

    fn message(due: Datetime) -> Delayed {
        Delayed {
            message: Message::default(),
            due,
            plugin: "test".into(),
            version: "1".into(),
            key: None,
            uuid: String::new(),
        }
    }

    #[tokio::test]
    async fn a_late_confirm_leaves_a_message_alone_that_is_in_flight_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("delays.db");
        let store = Sqlite::open(file, Arc::new(Alarm::new()), Health::default()).await.unwrap();
        let now = Datetime::now();
        let later = now.saturating_add(SET_ASIDE);
        store.accept(Arc::new(vec![message(now), message(now)])).await.unwrap();

        let claimer = store.claimer().unwrap();
        let (claimed, _) = claimer.claim(now, 10).await.unwrap();
        let put_off = claimed.into_iter().map(|mut message| {
            message.delayed.due = later;
            (now, message)
        });
        let outcome = Outcome { sent: Vec::new(), put_off: put_off.collect() };
        assert!(claimer.settle(outcome).await);
        // A person sends the first one now.
        store.reschedule(vec![1], now).await.unwrap();
        assert_eq!(claimer.claim(now, 10).await.unwrap().0.len(), 1);

        claimer.remove(vec![(1, later), (2, later)]).await;
        assert!(store.show(2).await.unwrap().is_none(), "it was confirmed");
        assert_eq!(claimer.claim(now, 10).await.unwrap().0, [], "it is in flight");
        store.cancel(vec![1]).await.unwrap();
        assert!(store.show(1).await.unwrap().is_some(), "it is in flight");
    }

    #[tokio::test]
    async fn a_row_whose_due_time_cannot_be_read_is_claimed_once_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("delays.db");
        let store = Sqlite::open(file.clone(), Arc::new(Alarm::new()), Health::default());
        let store = store.await.unwrap();
        let now = Datetime::now();
        store.accept(Arc::new(vec![message(now), message(now)])).await.unwrap();
        let damage = "PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '');
            PRAGMA writable_schema = RESET;
            UPDATE message SET due = CASE id WHEN 1 THEN 1.5 ELSE 'soon' END;";
        rusqlite::Connection::open(&file).unwrap().execute_batch(damage).unwrap();

        let claimer = store.claimer().unwrap();
        let (mut claimed, next) = claimer.claim(now, 10).await.unwrap();
        assert!(claimed[0].damage.is_some() && next.is_none(), "{claimed:?}, {next:?}");
        let mut message = claimed.remove(0);
        let due = message.delayed.due;
        message.delayed.due = now.saturating_add(SET_ASIDE);
        let outcome = Outcome { sent: Vec::new(), put_off: vec![(due, message)] };
        assert!(!claimer.settle(outcome).await);
        assert_eq!(claimer.claim(now, 10).await.unwrap(), (Vec::new(), None));
        let later = now.saturating_add(SET_ASIDE * 3);
        assert_eq!(claimer.claim(later, 10).await.unwrap().0.len(), 1);
    }
}
