//! Accepting messages: many share one transaction, and so one disk flush.

mod committer;
mod entry;

use tokio::sync::mpsc;

use self::committer::Committer;
pub use self::entry::{Answer, Entry};
use super::Store;
use crate::event::Delayed;
use crate::health::Health;

/// Messages that may wait for the committer, beside those that it is committing.
const WAITING: usize = 4096;

/// Where delayed messages are handed in. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: mpsc::Sender<Entry>,
}

/// A place in the queue, to be used at once.
#[derive(Debug)]
pub struct Permit<'a>(mpsc::Permit<'a, Entry>);

impl Handle {
    /// Hands `delayed` in, as soon as the queue has room. When it is committed, and not before,
    /// or when the store has refused it for good, `done` is told: once for each message.
    ///
    /// If the future is dropped, the message may not have been handed in; where
    /// that matters, call [`Handle::reserve`] first.
    pub async fn accept(&self, token: u64, delayed: Delayed, done: &mpsc::UnboundedSender<Answer>) {
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

impl Permit<'_> {
    /// Hands `delayed` in; see [`Handle::accept`].
    pub fn accept(self, token: u64, delayed: Delayed, done: &mpsc::UnboundedSender<Answer>) {
        self.0.send(Entry { delayed, token, done: done.clone() });
    }
}

/// The way into `store`: a handle, and the committer behind it, to be spawned. It
/// ends when all handles are dropped and all that was handed in is committed.
///
/// While the store fails (disk full, read-only, database unreachable), or the committer
/// itself does, it keeps trying, nothing is reported done, and `health` says so.
pub fn accepting(
    store: Store,
    health: Health,
) -> (Handle, impl Future<Output = ()> + Send + 'static) {
    let (handle, queue) = handle(WAITING);
    (handle, Committer::new(store, queue).run(health))
}

/// A handle, and the queue of what is handed in: of at most so many messages.
pub fn handle(capacity: usize) -> (Handle, mpsc::Receiver<Entry>) {
    let (sender, queue) = mpsc::channel(capacity);
    (Handle { queue: sender }, queue)
}
