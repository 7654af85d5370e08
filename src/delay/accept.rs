//! Accepting messages: many share one transaction, and so one disk flush.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{BYTES_TOGETHER, Store, retry};
use crate::event::Delayed;

/// Messages that may wait for the committer, beside those that it is committing.
const WAITING: usize = 4096;

/// Messages of one transaction, at most.
const TOGETHER: usize = 1000;

/// How long a message waits, at most, until it is tried again to replace the one with
/// its key, while that one is being published.
const PAUSE: Duration = Duration::from_millis(200);

/// Where delayed messages are handed in. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: mpsc::Sender<Entry>,
}

/// A place in the queue, to be used at once.
#[derive(Debug)]
pub struct Permit<'a>(mpsc::Permit<'a, Entry>);

/// A message that was handed in, and who is told when it is safe.
#[derive(Debug)]
pub struct Entry {
    delayed: Delayed,
    token: u64,
    done: mpsc::UnboundedSender<u64>,
}

impl Handle {
    /// Hands `delayed` in, as soon as the queue has room. When it is committed,
    /// and not before, `done` gets `token`: once for each message.
    ///
    /// If the future is dropped, the message may not have been handed in; where
    /// that matters, call [`Handle::reserve`] first.
    pub async fn accept(&self, token: u64, delayed: Delayed, done: &mpsc::UnboundedSender<u64>) {
        self.reserve().await.accept(token, delayed, done);
    }

    /// Waits until the queue has room: while the store works, not for long.
    /// Nothing is lost when the future is dropped.
    pub async fn reserve(&self) -> Permit<'_> {
        match self.queue.reserve().await {
            Ok(permit) => Permit(permit),
            // The committer has been aborted: what it was given is not done, and
            // nothing more will be.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Entry {
    /// The message.
    pub fn delayed(&self) -> &Delayed {
        &self.delayed
    }

    /// It is safe.
    pub fn committed(self) {
        // If that session has ended, the broker redelivers the event.
        let _ = self.done.send(self.token);
    }
}

impl Permit<'_> {
    /// Hands `delayed` in; see [`Handle::accept`].
    pub fn accept(self, token: u64, delayed: Delayed, done: &mpsc::UnboundedSender<u64>) {
        self.0.send(Entry { delayed, token, done: done.clone() });
    }
}

/// The way into `store`: a handle, and the committer behind it, to be spawned. It
/// ends when all handles are dropped and all that was handed in is committed.
///
/// While the store fails (disk full, read-only, database unreachable) it keeps trying,
/// and nothing is reported done.
pub fn accepting(store: Store) -> (Handle, impl Future<Output = ()> + Send + 'static) {
    let (handle, queue) = handle(WAITING);
    (handle, commit_all(store, queue))
}

/// A handle, and the queue of what is handed in: of at most so many messages.
pub fn handle(capacity: usize) -> (Handle, mpsc::Receiver<Entry>) {
    let (sender, queue) = mpsc::channel(capacity);
    (Handle { queue: sender }, queue)
}

async fn commit_all(store: Store, mut queue: mpsc::Receiver<Entry>) {
    let mut entries = Vec::with_capacity(TOGETHER);
    loop {
        let some_wait = !entries.is_empty();
        select! {
            _ = queue.recv_many(&mut entries, TOGETHER), if !(queue.is_closed() && queue.is_empty()) => {}
            () = sleep(PAUSE), if some_wait => {}
            else => return,
        }
        // Their session has ended: the events come again, and so would these.
        entries.retain(|entry| !entry.done.is_closed());
        let mut waiting: Vec<Entry> = Vec::new();
        for group in groups(entries.drain(..)) {
            let behind = |entry: &Entry| waiting.iter().any(|other| replaces(entry, other));
            let (behind, group) = group.into_iter().partition(behind);
            waiting.extend(commit(&store, group).await);
            waiting.extend(behind);
        }
        entries.append(&mut waiting);
    }
}

fn replaces(new: &Entry, old: &Entry) -> bool {
    let (new, old) = (&new.delayed, &old.delayed);
    new.key.is_some() && (&new.plugin, &new.key) == (&old.plugin, &old.key)
}

/// Splits where large messages would make a transaction larger than a store takes.
fn groups(entries: impl Iterator<Item = Entry>) -> Vec<Vec<Entry>> {
    let mut groups: Vec<Vec<Entry>> = Vec::new();
    let mut room = 0;
    for entry in entries {
        let size = entry.delayed.message.body.len();
        match groups.last_mut().filter(|_| size <= room) {
            Some(group) => group.push(entry),
            None => {
                room = BYTES_TOGETHER;
                groups.push(vec![entry]);
            }
        }
        room = room.saturating_sub(size);
    }
    groups
}

/// Returns what has to wait until the fate of a message with the same key is known.
async fn commit(store: &Store, entries: Vec<Entry>) -> Vec<Entry> {
    let (messages, tellers): (Vec<_>, Vec<_>) =
        entries.into_iter().map(|entry| (entry.delayed, (entry.token, entry.done))).unzip();
    let messages = Arc::new(messages);
    let left_out =
        retry::until_done("keep delayed messages", || store.accept(Arc::clone(&messages))).await;
    let mut waiting = Vec::new();
    for (position, (token, done)) in tellers.into_iter().enumerate() {
        if left_out.binary_search(&position).is_ok() {
            waiting.push(Entry { delayed: messages[position].clone(), token, done });
        } else {
            // If that session has ended, the broker redelivers the event.
            let _ = done.send(token);
        }
    }
    waiting
}
