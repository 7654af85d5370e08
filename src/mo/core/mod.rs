//! The rules of fetching MO's events, without I/O and without a clock.
//!
//! A driver says what has happened and what time it is; the core says what to do:
//!
//! - [`Core::next_request`]: declare listeners, let leased events come again, fetch, delete. One
//!   such request at a time: concurrent fetches only hide events from each other.
//! - [`Core::next_message`]: hand an event to the sink. Its fate comes back.
//! - [`Core::next_acknowledgements`]: acknowledge what the sink took, one request at a time.
//! - [`Core::next_notice`]: tell people.
//!
//! What is bounded: events that are with the sink or to be acknowledged ([`BATCHES`] batches), and
//! for each listener as many that the sink does not take.

mod batches;
mod fetches;
mod flights;
mod lane;
mod listener;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;
use uuid::Uuid;

use self::batches::Batches;
use self::lane::Lane;
use self::listener::Listener;
use super::event::Event;
use crate::backoff::Jitter;

/// How many batches of events may be in flight.
pub const BATCHES: usize = 4;
/// So many [`Rules::pause`]s after it was declared a listener is declared again: nothing else
/// tells that somebody deleted it.
const DECLARE_EVERY: u32 = 24;

/// What the settings say.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many events to ask for at once.
    pub batch: usize,
    /// How long to wait before listeners without events are asked again.
    pub pause: Duration,
    /// How long a listener is kept whose events nobody asks for any more.
    pub keep: Duration,
}

/// What to ask of MO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Declare listeners for these routing keys.
    Declare(Vec<String>),
    /// Let what is leased to nobody come again.
    Rerun(Vec<Uuid>),
    /// Fetch: an event for each entry, from the listener of this routing key.
    Fetch(Vec<(String, Uuid)>),
    /// Delete the listener of this routing key.
    Delete(String, Uuid),
}

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Somebody deleted the listener of this key. It is declared again; what MO would have sent
    /// it meanwhile is lost.
    Deleted(String),
    /// MO takes this client for another one than before, from and to these: it has another listener
    /// of this key, and the old one holds what was not fetched.
    Moved(String, Uuid, Uuid),
    /// The listener of this key belongs to somebody else, who alone can fetch its events.
    Foreign(String, Uuid),
    /// The listener of this key cannot be declared, and why.
    Undeclared(String, String),
    /// The listener of this key is declared.
    Declared(String),
    /// This is the listener of this key, which it was not before.
    Listening(String, Uuid),
    /// MO gives no events of this key, and why.
    Unfetched(String, String),
    /// MO gives the events of this key again.
    Fetched(String),
    /// The sink does not take the events of this key, and why.
    Stuck(String, String),
    /// The sink takes the events of this key again.
    Unstuck(String),
    /// This subject's event of this key cannot be acknowledged, and why. It comes again.
    Unacknowledged(String, String, String),
    /// Leased events do not come again before their time, and why.
    NotRerun(String),
    /// Nobody asks for the events of this key any more: what was wrong with it is over.
    Unwanted(String),
    /// Nobody has asked for the events of this key for so long that the listener is deleted.
    Retired(String),
    /// It should be deleted and cannot be, and why.
    NotRetired(String, String),
}

/// An event that MO has leased to us.
#[derive(Debug)]
struct Flight {
    key: String,
    listener: Uuid,
    event: Event,
    /// Whether the sink has it.
    is_sent: bool,
    /// Whether the sink did not take it when it was last offered.
    is_untaken: bool,
    /// How often MO refused to have it acknowledged.
    rejections: u32,
}

/// The rules. See the module's documentation.
#[derive(Debug)]
pub struct Core {
    rules: Rules,
    jitter: Jitter,
    listeners: BTreeMap<String, Listener>,
    /// Keys whose listeners are to be declared.
    undeclared: Batches<String>,
    declare_at: Instant,
    /// Listeners that may have events leased to nobody.
    to_rerun: BTreeSet<String>,
    rerun_at: Instant,
    may_rerun: bool,
    /// When all listeners without traffic are asked.
    idle_at: Instant,
    flights: Slab<Flight>,
    by_token: HashMap<String, usize>,
    /// Flights that the sink does not take now.
    stuck: usize,
    to_send: VecDeque<usize>,
    /// How many the sink has.
    sent: usize,
    to_acknowledge: Batches<usize>,
    gathered_at: Option<Instant>,
    asking: Lane,
    acknowledging: Lane,
    /// Whether the sink takes anything.
    is_open: bool,
    is_stopping: bool,
    notices: VecDeque<Notice>,
}

impl Core {
    /// No listeners yet.
    pub fn new(rules: Rules, jitter: Jitter, now: Instant) -> Self {
        Self {
            rules,
            jitter,
            listeners: BTreeMap::new(),
            undeclared: Batches::default(),
            declare_at: now + rules.pause * DECLARE_EVERY,
            to_rerun: BTreeSet::new(),
            rerun_at: now,
            may_rerun: true,
            idle_at: now,
            flights: Slab::new(),
            by_token: HashMap::new(),
            stuck: 0,
            to_send: VecDeque::new(),
            sent: 0,
            to_acknowledge: Batches::default(),
            gathered_at: None,
            asking: Lane::new(now),
            acknowledging: Lane::new(now),
            is_open: true,
            is_stopping: false,
            notices: VecDeque::new(),
        }
    }

    /// These are the routing keys that somebody asks for, and those that are to be kept: somebody
    /// asks for them who cannot take anything at the moment.
    pub fn on_wanted(&mut self, keys: &BTreeSet<String>, kept: &BTreeSet<String>, now: Instant) {
        for key in keys {
            match self.listeners.get_mut(key) {
                Some(listener) if listener.unwanted_since.is_none() => continue,
                Some(listener) => {
                    (listener.unwanted_since, listener.poll_at) = (None, now);
                    listener.declare_at = None;
                }
                None => drop(self.listeners.insert(key.clone(), Listener::new(now))),
            }
            self.undeclared.push(key.clone());
            // Another router, or this one before a crash, may have left something.
            self.to_rerun.insert(key.clone());
        }
        for (key, listener) in &mut self.listeners {
            if keys.contains(key) {
                continue;
            }
            let was_wanted = listener.unwanted_since.is_none();
            if was_wanted {
                self.notices.push_back(Notice::Unwanted(key.clone()));
            }
            if was_wanted || kept.contains(key) {
                listener.unwanted_since = Some(now);
            }
        }
        self.listeners
            .retain(|_, listener| listener.uuid.is_some() || listener.unwanted_since.is_none());
    }

    /// Others may have fetched meanwhile: this router takes over.
    pub fn on_takeover(&mut self, now: Instant) {
        // What MO did not offer then it may now.
        self.may_rerun = true;
        // Meanwhile others knew who asks for what.
        let unwanted = self.listeners.values_mut().filter_map(|l| l.unwanted_since.as_mut());
        unwanted.for_each(|since| *since = now);
        self.rerun_all();
    }

    fn rerun_all(&mut self) {
        self.to_rerun = self.listeners.keys().cloned().collect();
    }

    /// Whether the sink takes anything at the moment.
    pub fn on_sink(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    /// The sink is lost, and what became of the events that it has is unknown: they are for the
    /// next one.
    pub fn on_sink_lost(&mut self) {
        self.sent = 0;
        for (id, flight) in &mut self.flights {
            if std::mem::take(&mut flight.is_sent) {
                self.to_send.push_back(id);
            }
        }
    }

    /// Nothing is fetched any more. What is in flight is finished.
    pub fn on_stop(&mut self, now: Instant) {
        self.is_stopping = true;
        (self.acknowledging.failures, self.acknowledging.ready_at) = (0, now);
    }

    /// Whether nothing is left to do after [`Core::on_stop`]. What MO cannot be told now comes
    /// again.
    pub fn is_done(&self) -> bool {
        let is_told = (self.to_acknowledge.is_empty() && !self.acknowledging.is_busy)
            || self.acknowledging.failures > 0;
        let is_sent = self.sent == 0 && self.to_send.is_empty();
        self.is_stopping && !self.asking.is_busy && is_sent && is_told
    }

    /// How often in a row a request that is no acknowledgement has failed.
    pub fn failed_requests(&self) -> u32 {
        self.asking.failures
    }

    /// How often in a row acknowledging has failed.
    pub fn failed_acknowledgements(&self) -> u32 {
        self.acknowledging.failures
    }

    /// Whether the sink has events.
    pub fn awaits_sink(&self) -> bool {
        self.sent > 0
    }

    /// The next thing to tell people.
    pub fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When something is to be done at the latest, if nothing happens.
    pub fn wake_at(&self) -> Option<Instant> {
        let asks = !self.asking.is_busy && !self.is_stopping;
        let mut times = Vec::new();
        if asks {
            let polls = self.listeners.values().filter(|l| l.source().is_some());
            let can_fetch = self.is_open && self.room() > 0;
            times.extend(polls.map(|listener| listener.poll_at).filter(|_| can_fetch));
            times.push(match self.undeclared.is_empty() {
                true => self.declare_at,
                false => self.asking.ready_at,
            });
            times.extend(self.listeners.values().filter_map(Listener::declares_at));
            times.extend(self.reruns().next().map(|_| self.rerun_at));
            let unwanted = self.listeners.values().filter_map(|listener| listener.unwanted_since);
            times.extend(unwanted.map(|since| since + self.rules.keep));
            times.iter_mut().for_each(|time| *time = (*time).max(self.asking.ready_at));
        }
        if !self.is_stopping {
            times.extend(self.listeners.values().filter_map(Listener::offers_at));
        }
        if !self.acknowledging.is_busy {
            let gathered = self.gathered_at.filter(|_| !self.to_acknowledge.is_empty());
            times.extend(gathered.map(|at| at.max(self.acknowledging.ready_at)));
        }
        times.into_iter().min()
    }
}
