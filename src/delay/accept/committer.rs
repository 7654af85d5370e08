//! What commits the messages that are handed in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::entry::{Answer, Entry};
use crate::backoff::Backoff;
use crate::delay::blame::{Unstorable, halves};
use crate::delay::record::Unreplicated;
use crate::delay::retry::{self, Work};
use crate::delay::{BYTES_TOGETHER, Store};
use crate::event::Delayed;
use crate::health::Health;
use crate::keep::caught;

/// Messages of one transaction, at most.
const TOGETHER: usize = 1000;

/// How long a message waits, at most, until it is tried again to replace the one with
/// its key, while that one is being published.
const PAUSE: Duration = Duration::from_millis(200);

/// Commits what comes out of a queue. What it has taken stays in here until it is committed,
/// so that an attempt that fails or panics loses nothing.
pub(super) struct Committer {
    store: Store,
    queue: mpsc::Receiver<Entry>,
    /// What was taken from the queue, and waits for the next transactions.
    entries: Vec<Entry>,
    /// The next transactions.
    groups: VecDeque<Vec<Entry>>,
    /// The present transaction.
    batch: Option<Batch>,
    /// What has to wait until the fate of a message with the same key is known.
    waiting: Vec<Entry>,
}

/// The messages of one transaction, and who is told when they are safe.
struct Batch {
    messages: Arc<Vec<Delayed>>,
    tellers: Vec<(u64, mpsc::UnboundedSender<Answer>)>,
    /// Once it is stored, though not everywhere.
    stored: Option<Unreplicated>,
}

impl Committer {
    pub(super) fn new(store: Store, queue: mpsc::Receiver<Entry>) -> Self {
        let (groups, batch) = (VecDeque::new(), None);
        Self { store, queue, entries: Vec::new(), groups, batch, waiting: Vec::new() }
    }

    /// Commits until the queue is closed and everything is committed.
    pub(super) async fn run(mut self, health: Health) {
        let mut backoff = Backoff::new(retry::PAUSES);
        let works = |backoff: &mut Backoff| {
            retry::available(&health, Work::Accept);
            backoff.reset();
        };
        while let Err(error) = caught(self.commit_all(|| works(&mut backoff))).await {
            retry::unavailable(&health, self.store.stats(), Work::Accept, &error);
            sleep(backoff.next_pause()).await;
        }
    }

    /// Calls `works` whenever nothing is left of an attempt that failed.
    async fn commit_all(&mut self, mut works: impl FnMut()) -> Result<()> {
        loop {
            self.commit().await?;
            works();
            while let Some(mut group) = self.groups.pop_front() {
                group.retain(is_waited_for);
                let behind =
                    |entry: &Entry| self.waiting.iter().any(|other| replaces(entry, other));
                let (behind, group): (Vec<_>, Vec<_>) = group.into_iter().partition(behind);
                self.waiting.extend(behind);
                self.batch = Some(Batch::of(group));
                self.commit().await?;
            }
            self.entries.append(&mut self.waiting);
            let ended = self.queue.is_closed() && self.queue.is_empty();
            let some_wait = !self.entries.is_empty();
            // Both can be dropped: what `recv_many` has taken is in `entries`.
            select! {
                _ = self.queue.recv_many(&mut self.entries, TOGETHER), if !ended => {}
                () = sleep(PAUSE), if some_wait => {}
                else => return Ok(()),
            }
            self.entries.retain(is_waited_for);
            self.groups = groups(self.entries.drain(..));
        }
    }

    /// Commits the batch, if there is one, and tells that it is safe.
    async fn commit(&mut self) -> Result<()> {
        // What is stored is not stored again, unless it is lost.
        if let Some(batch) = &mut self.batch
            && let Some(stored) = &batch.stored
            && !self.store.is_replicated(stored).await?
        {
            batch.stored = None;
        }
        // Time may have passed since an attempt that failed.
        let batch = self.batch.take().map(Batch::without_gone);
        self.batch = batch.filter(|batch| !batch.tellers.is_empty());
        let Some(batch) = &mut self.batch else { return Ok(()) };
        let accepted = match &batch.stored {
            Some(stored) => Ok(stored.left_out.clone()),
            None => self.store.accept(Arc::clone(&batch.messages)).await,
        };
        let left_out = match accepted {
            Err(error) if error.is::<Unstorable>() => {
                self.split(&format!("{error:#}"));
                return Ok(());
            }
            accepted => accepted.inspect_err(|error| {
                batch.stored = error.downcast_ref::<Unreplicated>().cloned();
            })?,
        };
        let Some(Batch { messages, tellers, .. }) = self.batch.take() else { return Ok(()) };
        for (position, (token, done)) in tellers.into_iter().enumerate() {
            if left_out.binary_search(&position).is_ok() {
                self.waiting.push(Entry { delayed: messages[position].clone(), token, done });
            } else {
                // If that session has ended, the broker redelivers the event.
                let _ = done.send(Answer { token, refused: None });
            }
        }
        Ok(())
    }

    /// Tries the halves of a batch by themselves that the store has refused; what is refused
    /// alone is given back.
    fn split(&mut self, reason: &str) {
        let Some(batch) = self.batch.take() else { return };
        match halves(batch.into_entries().collect()) {
            Ok([first, second]) => {
                self.groups.push_front(second);
                self.groups.push_front(first);
            }
            Err(culprit) => {
                for entry in culprit {
                    entry.refused(reason.to_owned());
                }
            }
        }
    }
}

/// Whether the session lives that handed it in. If not, the event comes again, and so would
/// this.
fn is_waited_for(entry: &Entry) -> bool {
    !entry.done.is_closed()
}

impl Batch {
    /// Those of which somebody is still told.
    fn without_gone(self) -> Self {
        if self.stored.is_some() || self.tellers.iter().all(|(_, done)| !done.is_closed()) {
            return self;
        }
        Self::of(self.into_entries().filter(is_waited_for).collect())
    }

    fn into_entries(self) -> impl Iterator<Item = Entry> {
        let messages = Arc::unwrap_or_clone(self.messages).into_iter();
        let entries = messages.zip(self.tellers);
        entries.map(|(delayed, (token, done))| Entry { delayed, token, done })
    }

    fn of(entries: Vec<Entry>) -> Self {
        let (messages, tellers) =
            entries.into_iter().map(|entry| (entry.delayed, (entry.token, entry.done))).unzip();
        Self { messages: Arc::new(messages), tellers, stored: None }
    }
}

fn replaces(new: &Entry, old: &Entry) -> bool {
    let (new, old) = (&new.delayed, &old.delayed);
    new.key.is_some() && (&new.plugin, &new.key) == (&old.plugin, &old.key)
}

/// Splits where large messages would make a transaction larger than a store takes.
fn groups(entries: impl Iterator<Item = Entry>) -> VecDeque<Vec<Entry>> {
    let mut groups: VecDeque<Vec<Entry>> = VecDeque::new();
    let mut room = 0;
    for entry in entries {
        let size = entry.delayed.message.body.len();
        match groups.back_mut().filter(|_| size <= room) {
            Some(group) => group.push(entry),
            None => {
                room = BYTES_TOGETHER;
                groups.push_back(vec![entry]);
            }
        }
        room = room.saturating_sub(size);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::Filter;
    use crate::event::{Datetime, Message};
    use crate::settings::StoreUrl;

    fn entry(token: u64, done: &mpsc::UnboundedSender<Answer>) -> Entry {
        let delayed = Delayed {
            message: Message::default(),
            due: Datetime::now(),
            plugin: "test".into(),
            version: "1".into(),
            uuid: String::new(),
            key: None,
        };
        Entry { delayed, token, done: done.clone() }
    }

    #[tokio::test]
    async fn what_a_fault_interrupted_is_committed_by_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(folder.path().join("delays.db"));
        let store = Store::open(&url).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test bounds it")]
        let (done, mut committed) = mpsc::unbounded_channel();
        let (sender, queue) = mpsc::channel(4);
        let mut committer = Committer::new(store.clone(), queue);
        // As left by a panic in the middle.
        committer.batch = Some(Batch::of(vec![entry(1, &done)]));
        committer.groups.push_back(vec![entry(2, &done)]);
        committer.waiting.push(entry(3, &done));
        sender.send(entry(4, &done)).await.unwrap();
        drop(sender);
        committer.run(Health::default()).await;
        let mut answers = Vec::new();
        committed.recv_many(&mut answers, 8).await;
        let tokens: Vec<u64> = answers.iter().map(|answer| answer.token).collect();
        assert_eq!(tokens, [1, 2, 3, 4]);
        let census = store.count(Filter::default(), Datetime::now()).await.unwrap();
        assert_eq!(census.total, 4);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(folder.path().join("delays.db"));
        let store = Store::open(&url).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test bounds them")]
        let ((done, mut committed), (gone, session)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        drop(session);
        let (sender, queue) = mpsc::channel(4);
        let mut committer = Committer::new(store.clone(), queue);
        // Wherever they were when the session ended.
        committer.batch = Some(Batch::of(vec![entry(1, &gone), entry(2, &done)]));
        committer.groups.push_back(vec![entry(3, &done), entry(4, &gone)]);
        committer.waiting.extend([entry(5, &gone), entry(6, &done)]);
        sender.send(entry(7, &gone)).await.unwrap();
        sender.send(entry(8, &done)).await.unwrap();
        drop(sender);
        committer.run(Health::default()).await;
        let mut answers = Vec::new();
        committed.recv_many(&mut answers, 8).await;
        let tokens: Vec<u64> = answers.iter().map(|answer| answer.token).collect();
        assert_eq!(tokens, [2, 3, 6, 8]);
        let census = store.count(Filter::default(), Datetime::now()).await.unwrap();
        assert_eq!(census.total, 4);
    }
}
