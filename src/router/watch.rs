//! Decisions as they are made, for people who look at them. Nobody looks most of the time, and
//! then an event pays for one load of a number.
//!
//! Whoever looks gets a sample: so many decisions a second, and no more than fit into a small
//! queue. What is left out is counted, and told. Where nobody has room for another one, an event is
//! counted without a copy of anything.

mod sample;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use self::sample::Sample;
use super::planned::{Author, Planned};
use crate::event::topic;
use crate::event::{Datetime, Incoming, Message};

/// How many may look at once.
pub const MOST: usize = 16;
/// Some of those who look: a bit for each.
type Bits = u16;
const _: () = assert!(MOST <= Bits::BITS as usize, "there is a bit for each");
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

/// What was decided on.
#[derive(Debug)]
pub enum Subject {
    /// An event.
    Event(Incoming),
    /// A message that the plugin answered an event with, and that could be neither published nor
    /// stored: a dead letter.
    Publication(Message),
}

impl Subject {
    /// Bytes that it takes in memory, roughly.
    pub fn size(&self) -> usize {
        match self {
            Self::Event(event) => event.size(),
            Self::Publication(message) => message.size(),
        }
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
    /// The event, or what it caused.
    pub subject: Subject,
    /// The person or unit that it is about; none of what is no event.
    pub uuid: Option<Uuid>,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What became of it.
    pub decided: Decided,
    /// Why, of a retry or a dead letter.
    pub reason: Option<String>,
    /// The messages that it caused.
    pub messages: Vec<Planned>,
    /// As it is shown.
    written: OnceLock<Arc<str>>,
}

impl Decision {
    /// As it is shown: written by the first of those who look.
    pub fn written(&self, write: impl FnOnce(&Self) -> String) -> Arc<str> {
        Arc::clone(self.written.get_or_init(|| write(self).into()))
    }

    fn bytes(&self) -> usize {
        let caused: usize = self.messages.iter().map(|planned| planned.message().size()).sum();
        self.subject.size() + caused
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
    pub uuid: Option<Uuid>,
    /// With this end.
    pub decided: Option<Decided>,
}

impl Wanted {
    /// Whether an event is wanted, whatever becomes of it.
    fn fits(&self, plugin: &str, routing_key: &str, uuid: Option<Uuid>) -> bool {
        self.plugin.as_deref().is_none_or(|wanted| wanted == plugin)
            && self.uuid.is_none_or(|wanted| uuid == Some(wanted))
            && self.topic.as_deref().is_none_or(|wanted| topic::matches(wanted, routing_key))
    }
}

/// Whoever looks at decisions. All plugins of a router share one.
#[derive(Debug, Default)]
pub struct Watch {
    count: AtomicUsize,
    /// Replaced as a whole when somebody begins to look, or ends.
    watchers: RwLock<Arc<[Arc<Watcher>]>>,
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
    sample: Sample,
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
    watchers: Arc<[Arc<Watcher>]>,
    /// Those of them who want to.
    wanting: Bits,
    /// None if nobody can be shown more at the moment.
    subject: Option<Subject>,
    uuid: Option<Uuid>,
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
            sample: Sample::default(),
        });
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        if watchers.len() >= MOST {
            return None;
        }
        *watchers = watchers.iter().chain([&watcher]).cloned().collect();
        self.count.store(watchers.len(), Relaxed);
        drop(watchers);
        Some(Watching { watch: Arc::clone(self), watcher, receiver })
    }

    /// Something is about to be decided on, about this person or unit; none if nobody wants to
    /// know. What that is, is only asked for if somebody can be shown it.
    pub fn look(
        &self,
        plugin: &str,
        routing_key: &str,
        uuid: Option<Uuid>,
        at: Datetime,
        subject: impl FnOnce() -> Subject,
    ) -> Option<Seen> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let watchers = Arc::clone(&self.watchers.read().unwrap_or_else(PoisonError::into_inner));
        let (mut wanting, mut has_room) = (0, false);
        for (number, watcher) in watchers.iter().enumerate() {
            if watcher.wanted.fits(plugin, routing_key, uuid) {
                wanting |= 1 << number;
                has_room |= watcher.sample.has_room(at);
            }
        }
        if wanting == 0 {
            return None;
        }
        Some(Seen { subject: has_room.then(subject), watchers, wanting, uuid, at })
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
        let Self { watchers, wanting, subject, uuid, at } = self;
        let mut shown = 0;
        for (number, watcher) in of(&watchers, wanting) {
            if watcher.wanted.decided.is_none_or(|wanted| wanted == decided) {
                watcher.matched.fetch_add(1, Relaxed);
                shown |= Bits::from(subject.is_some() && watcher.sample.take(at)) << number;
            }
        }
        let (Some(subject), 1..) = (subject, shown) else { return };
        let decision = Arc::new(Decision {
            at,
            plugin: author.plugin.clone(),
            version: author.version.clone(),
            subject,
            uuid,
            attempt,
            decided,
            reason: reason.map(str::to_owned),
            messages: messages.to_vec(),
            written: OnceLock::new(),
        });
        let bytes = decision.bytes();
        of(&watchers, shown).for_each(|(_, watcher)| watcher.send(&decision, bytes));
    }
}

/// Those of the watchers whose bits are set.
fn of(watchers: &[Arc<Watcher>], bits: Bits) -> impl Iterator<Item = (usize, &Watcher)> {
    let watchers = watchers.iter().map(|watcher| &**watcher).enumerate();
    watchers.filter(move |(number, _)| bits >> number & 1 == 1)
}

impl Watcher {
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
        let is_other = |other: &&Arc<Watcher>| !Arc::ptr_eq(other, &self.watcher);
        *watchers = watchers.iter().filter(is_other).cloned().collect();
        self.watch.count.store(watchers.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests;
