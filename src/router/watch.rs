//! Decisions as they are made, for people who look at them. Nobody looks most of the time, and
//! then an event pays for one load of a number.
//!
//! Whoever looks gets a sample: so many decisions a second, and no more than fit into a small
//! queue. What is left out is counted, and told.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;
use tokio::sync::mpsc;

use super::core::answer::{Author, Planned};
use crate::event::topic;
use crate::event::{Datetime, Incoming};

/// How many may look at once.
pub const MOST: usize = 16;
/// How many decisions a second one who looks is shown, at most.
pub const SHOWN_PER_SECOND: u32 = 50;
/// How many decisions, and how many bytes of messages, may wait for one who looks.
const WAITING: usize = 256;
const WAITING_BYTES: usize = 1 << 20;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decided {
    /// Its messages are published now.
    Published,
    /// One of its messages is not due yet.
    Delayed,
    /// It caused nothing.
    Dropped,
    /// It is given to the plugin again.
    Retry,
    /// It is a dead letter.
    Dead,
}

impl Decided {
    /// Reads one, as it is written.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Published, Self::Delayed, Self::Dropped, Self::Retry, Self::Dead];
        all.into_iter().find(|it| format!("{it:?}").to_lowercase() == text)
    }
}

/// One event, and what its plugin made of it.
#[derive(Debug)]
pub struct Decision {
    /// When.
    pub at: Datetime,
    /// Who decided: the plugin.
    pub plugin: String,
    /// And its version.
    pub version: String,
    /// The event.
    pub event: Incoming,
    /// The person or unit that it is about; none of what is no event.
    pub uuid: Option<String>,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What became of it.
    pub decided: Decided,
    /// Why, of a retry or a dead letter.
    pub reason: Option<String>,
    /// The messages that it caused.
    pub messages: Vec<Planned>,
}

impl Decision {
    fn bytes(&self) -> usize {
        let caused: usize = self.messages.iter().map(|planned| planned.message().size()).sum();
        self.event.size() + caused
    }
}

/// Which decisions somebody wants to see: those that match everything given here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Of this plugin.
    pub plugin: Option<String>,
    /// Of events whose routing key matches this topic pattern.
    pub topic: Option<String>,
    /// About this person or unit.
    pub uuid: Option<String>,
    /// With this end.
    pub decided: Option<Decided>,
}

impl Wanted {
    /// Whether an event is wanted, whatever becomes of it.
    fn fits(&self, plugin: &str, routing_key: &str, uuid: Option<&str>) -> bool {
        self.plugin.as_deref().is_none_or(|wanted| wanted == plugin)
            && self.uuid.as_deref().is_none_or(|wanted| uuid == Some(wanted))
            && self.topic.as_deref().is_none_or(|wanted| topic::matches(wanted, routing_key))
    }
}

/// Whoever looks at decisions. All plugins of a router share one.
#[derive(Debug, Default)]
pub struct Watch {
    count: AtomicUsize,
    watchers: RwLock<Vec<Arc<Watcher>>>,
}

/// One who looks.
#[derive(Debug)]
struct Watcher {
    wanted: Wanted,
    sender: mpsc::Sender<Arc<Decision>>,
    waiting_bytes: AtomicUsize,
    matched: AtomicU64,
    shown: AtomicU64,
    missed: AtomicU64,
    /// A second, and how many may still be shown in it.
    budget: Mutex<(i64, u32)>,
}

/// What one who looks was not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Decisions that were wanted.
    pub matched: u64,
    /// Those that were shown, or wait to be.
    pub shown: u64,
    /// Those that were left out because the reader is slow. What is missing beyond them was
    /// left out of the sample.
    pub missed: u64,
}

/// The decisions that one who looks is shown. Dropped, it costs nothing more.
#[derive(Debug)]
pub struct Watching {
    watch: Arc<Watch>,
    watcher: Arc<Watcher>,
    receiver: mpsc::Receiver<Arc<Decision>>,
}

/// An event that somebody wants to know the end of.
#[derive(Debug)]
pub struct Seen {
    wanting: Vec<Arc<Watcher>>,
    /// None if nobody can be shown more in this second.
    event: Option<Incoming>,
    uuid: Option<String>,
    at: Datetime,
}

impl Watch {
    /// Begins to look; none if [`MOST`] do.
    pub fn open(self: &Arc<Self>, wanted: Wanted) -> Option<Watching> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let watcher = Arc::new(Watcher {
            wanted,
            sender,
            waiting_bytes: AtomicUsize::new(0),
            matched: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            budget: Mutex::new((i64::MIN, 0)),
        });
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        if watchers.len() >= MOST {
            return None;
        }
        watchers.push(Arc::clone(&watcher));
        self.count.store(watchers.len(), Relaxed);
        drop(watchers);
        Some(Watching { watch: Arc::clone(self), watcher, receiver })
    }

    /// An event is about to be decided on; none if nobody wants to know.
    pub fn look(
        &self,
        plugin: &str,
        event: &Incoming,
        uuid: impl FnOnce() -> Option<String>,
        at: Datetime,
    ) -> Option<Seen> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
        let uuid = uuid();
        let fits = |watcher: &&Arc<Watcher>| {
            watcher.wanted.fits(plugin, &event.routing_key, uuid.as_deref())
        };
        let wanting: Vec<_> = watchers.iter().filter(fits).cloned().collect();
        if wanting.is_empty() {
            return None;
        }
        let has_room = wanting.iter().any(|watcher| watcher.left(at) > 0);
        Some(Seen { event: has_room.then(|| event.clone()), wanting, uuid, at })
    }
}

impl Seen {
    /// This became of it.
    pub fn tell(
        self,
        author: &Author,
        attempt: u32,
        decided: Decided,
        reason: Option<&str>,
        messages: &[Planned],
    ) {
        let Self { wanting, event, uuid, at } = self;
        let is_wanted = |watcher: &Arc<Watcher>| {
            watcher.wanted.decided.is_none_or(|wanted| wanted == decided) && {
                watcher.matched.fetch_add(1, Relaxed);
                watcher.take(at)
            }
        };
        let wanting: Vec<_> = wanting.into_iter().filter(is_wanted).collect();
        let (Some(event), false) = (event, wanting.is_empty()) else { return };
        let decision = Arc::new(Decision {
            at,
            plugin: author.plugin.clone(),
            version: author.version.clone(),
            event,
            uuid,
            attempt,
            decided,
            reason: reason.map(str::to_owned),
            messages: messages.to_vec(),
        });
        let bytes = decision.bytes();
        wanting.iter().for_each(|watcher| watcher.send(&decision, bytes));
    }
}

impl Watcher {
    /// How many it can be shown in this second.
    fn left(&self, at: Datetime) -> u32 {
        let budget = self.budget();
        if budget.0 == at.seconds() { budget.1 } else { SHOWN_PER_SECOND }
    }

    /// Takes one of those.
    fn take(&self, at: Datetime) -> bool {
        let mut budget = self.budget();
        if budget.0 != at.seconds() {
            *budget = (at.seconds(), SHOWN_PER_SECOND);
        }
        let is_left = budget.1 > 0;
        budget.1 = budget.1.saturating_sub(1);
        is_left
    }

    fn budget(&self) -> MutexGuard<'_, (i64, u32)> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a decision over, unless too much waits already; a large one needs an empty queue.
    fn send(&self, decision: &Arc<Decision>, bytes: usize) {
        let waiting = self.waiting_bytes.fetch_add(bytes, Relaxed);
        let has_room = waiting == 0 || waiting + bytes <= WAITING_BYTES;
        if has_room && self.sender.try_send(Arc::clone(decision)).is_ok() {
            self.shown.fetch_add(1, Relaxed);
        } else {
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
            self.missed.fetch_add(1, Relaxed);
        }
    }
}

impl Watching {
    /// Waits for the next decision. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Arc<Decision>> {
        let decision = self.receiver.recv().await?;
        self.watcher.waiting_bytes.fetch_sub(decision.bytes(), Relaxed);
        Some(decision)
    }

    /// What was wanted, and what was left out.
    pub fn counts(&self) -> Counts {
        Counts {
            matched: self.watcher.matched.load(Relaxed),
            shown: self.watcher.shown.load(Relaxed),
            missed: self.watcher.missed.load(Relaxed),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watchers = self.watch.watchers.write().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|other| !Arc::ptr_eq(other, &self.watcher));
        self.watch.count.store(watchers.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests;
