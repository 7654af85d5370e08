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
mod listener;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;
use uuid::Uuid;

use self::batches::Batches;
use self::listener::Listener;
use super::documents;
use super::event::Event;
use super::failure::Failure;
use crate::backoff::{Backoff, Jitter, Policy};
use crate::transport::Fate;

/// How many batches of events may be in flight.
pub const BATCHES: usize = 4;
/// The pauses after a request that failed.
const REQUEST_PAUSES: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(30));
/// The pauses before an event is offered to the sink again.
const SINK_PAUSES: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(30));
/// So many [`Rules::pause`]s after it was declared a listener is declared again: nothing else
/// tells that somebody deleted it.
const DECLARE_EVERY: u32 = 24;
/// Letting leased events come again touches all events of a listener: not more often than this.
const RERUN_EVERY: Duration = Duration::from_secs(10);
/// How long acknowledgements wait for others, so that they are told together.
const GATHER: Duration = Duration::from_millis(20);

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
    /// The listener of this key belongs to somebody else, who alone can fetch its events.
    Foreign(String, Uuid),
    /// The listener of this key cannot be declared, and why.
    Undeclared(String, String),
    /// The listener of this key is declared.
    Declared(String),
    /// The sink does not take the events of this key, and why.
    Stuck(String, String),
    /// The sink takes the events of this key again.
    Unstuck(String),
    /// This subject's event of this key cannot be acknowledged, and why. It comes again.
    Unacknowledged(String, String, String),
    /// Leased events do not come again before their time, and why.
    NotRerun(String),
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

/// One request at a time, and the pause after one that failed.
#[derive(Debug)]
struct Lane {
    is_busy: bool,
    failures: u32,
    ready_at: Instant,
    backoff: Backoff,
}

impl Lane {
    fn new(now: Instant) -> Self {
        let backoff = Backoff::new(REQUEST_PAUSES);
        Self { is_busy: false, failures: 0, ready_at: now, backoff }
    }

    fn is_ready(&self, now: Instant) -> bool {
        !self.is_busy && self.ready_at <= now
    }

    fn answered(&mut self) {
        self.is_busy = false;
        self.failures = 0;
        self.backoff.reset();
    }

    fn failed(&mut self, failure: &Failure, now: Instant, jitter: &mut Jitter) {
        self.is_busy = false;
        self.failures += 1;
        let pause = self.backoff.next_pause_with(jitter);
        self.ready_at = now + pause.max(failure.retry_after().unwrap_or_default());
    }
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

    /// These are the routing keys that somebody asks for.
    pub fn on_wanted(&mut self, keys: &BTreeSet<String>, now: Instant) {
        for key in keys {
            match self.listeners.get_mut(key) {
                Some(listener) if listener.unwanted_since.is_none() => continue,
                Some(listener) => {
                    (listener.unwanted_since, listener.poll_at) = (None, now);
                }
                None => drop(self.listeners.insert(key.clone(), Listener::new(now))),
            }
            self.undeclared.push(key.clone());
            // Another router, or this one before a crash, may have left something.
            self.to_rerun.insert(key.clone());
        }
        for (key, listener) in &mut self.listeners {
            if !keys.contains(key) {
                listener.unwanted_since.get_or_insert(now);
            }
        }
        self.listeners
            .retain(|_, listener| listener.uuid.is_some() || listener.unwanted_since.is_none());
    }

    /// Others may have fetched meanwhile: this router takes over.
    pub fn on_takeover(&mut self) {
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
            times.extend(Some(self.rerun_at).filter(|_| !self.to_rerun.is_empty()));
            let unwanted = self.listeners.values().filter_map(|listener| listener.unwanted_since);
            times.extend(unwanted.map(|since| since + self.rules.keep));
            times.iter_mut().for_each(|time| *time = (*time).max(self.asking.ready_at));
        }
        if !self.is_stopping {
            times.extend(self.listeners.values().filter_map(|listener| listener.retry_at));
        }
        if !self.acknowledging.is_busy {
            let gathered = self.gathered_at.filter(|_| !self.to_acknowledge.is_empty());
            times.extend(gathered.map(|at| at.max(self.acknowledging.ready_at)));
        }
        times.into_iter().min()
    }
}

/// Requests.
impl Core {
    /// What to ask of MO now. The answer is told with the method of its name.
    pub fn next_request(&mut self, now: Instant) -> Option<Request> {
        if self.is_stopping || !self.asking.is_ready(now) {
            return None;
        }
        let request = self
            .declaration(now)
            .or_else(|| self.rerun(now))
            .or_else(|| self.deletion(now))
            .or_else(|| self.fetch(now))?;
        self.asking.is_busy = true;
        Some(request)
    }

    fn declaration(&mut self, now: Instant) -> Option<Request> {
        if self.undeclared.is_empty() && self.declare_at <= now {
            let wanted = self.listeners.iter().filter(|(_, l)| l.unwanted_since.is_none());
            wanted.for_each(|(key, _)| self.undeclared.push(key.clone()));
            self.declare_at = now + self.rules.pause * DECLARE_EVERY;
        }
        let mut keys = self.undeclared.take(self.rules.batch);
        keys.retain(|key| self.listeners.contains_key(key));
        (!keys.is_empty()).then_some(Request::Declare(keys))
    }

    fn rerun(&mut self, now: Instant) -> Option<Request> {
        if self.to_rerun.is_empty() || self.rerun_at > now {
            return None;
        }
        let keys = std::mem::take(&mut self.to_rerun);
        let uuids: Vec<Uuid> =
            keys.iter().filter_map(|key| self.listeners.get(key)?.source()).collect();
        if uuids.is_empty() || !self.may_rerun {
            return None;
        }
        self.rerun_at = now + RERUN_EVERY;
        Some(Request::Rerun(uuids))
    }

    fn deletion(&mut self, now: Instant) -> Option<Request> {
        let keep = self.rules.keep;
        let (key, listener) = self.listeners.iter_mut().find(|(_, listener)| {
            listener.unwanted_since.is_some_and(|since| since + keep <= now)
        })?;
        // Should it fail, it is tried again as late.
        listener.unwanted_since = Some(now);
        Some(Request::Delete(key.clone(), listener.uuid?))
    }

    /// Asks each listener that is due for one event, and those that gave all that they were asked
    /// for last time for what is left of the batch.
    fn fetch(&mut self, now: Instant) -> Option<Request> {
        let room = self.room();
        if !self.is_open || room == 0 {
            return None;
        }
        let mut due: Vec<(Instant, String, Uuid, bool)> = self
            .listeners
            .iter()
            .filter(|(_, listener)| listener.poll_at <= now)
            .filter_map(|(key, listener)| {
                Some((listener.poll_at, key.clone(), listener.source()?, listener.is_full))
            })
            .collect();
        due.sort();
        due.truncate(room);
        let mut entries: Vec<(String, Uuid)> =
            due.iter().map(|(_, key, uuid, _)| (key.clone(), *uuid)).collect();
        let full = due.iter().filter(|(.., is_full)| *is_full);
        let more = room.min(self.rules.batch).saturating_sub(entries.len());
        entries.extend(full.cycle().take(more).map(|(_, key, uuid, _)| (key.clone(), *uuid)));
        (!entries.is_empty()).then_some(Request::Fetch(entries))
    }

    /// How many more events may be in flight.
    fn room(&self) -> usize {
        (self.rules.batch * BATCHES).saturating_sub(self.flights.len() - self.stuck)
    }

    /// The listeners are declared, in the order of their keys; or they are not. `identity` is who
    /// MO takes us for, if we know.
    pub fn on_declared(
        &mut self,
        keys: Vec<String>,
        answer: Result<Vec<documents::Listener>, Failure>,
        identity: Option<Uuid>,
        now: Instant,
    ) {
        match answer {
            Ok(listeners) => {
                self.asking.answered();
                for (key, declared) in keys.into_iter().zip(listeners) {
                    self.on_one_declared(key, &declared, identity);
                }
            }
            Err(Failure::Rejected(reason)) => {
                self.asking.answered();
                if let Some(key) = self.undeclared.split(keys) {
                    self.notices.push_back(Notice::Undeclared(key, reason));
                }
            }
            Err(failure) => {
                self.asking.failed(&failure, now, &mut self.jitter);
                self.undeclared.put_back(keys);
            }
        }
    }

    fn on_one_declared(
        &mut self,
        key: String,
        declared: &documents::Listener,
        identity: Option<Uuid>,
    ) {
        let Some(listener) = self.listeners.get_mut(&key) else { return };
        let before = listener.uuid.replace(declared.uuid);
        listener.is_foreign = identity.is_some_and(|identity| identity != declared.owner);
        if listener.is_foreign {
            self.notices.push_back(Notice::Foreign(key, declared.owner));
            return;
        }
        self.notices.push_back(Notice::Declared(key.clone()));
        if before.is_some_and(|before| before != declared.uuid) {
            self.notices.push_back(Notice::Deleted(key));
        }
    }

    /// Leased events come again at once; or they do not.
    pub fn on_reran(&mut self, answer: Result<(), Failure>, now: Instant) {
        match answer {
            Ok(()) => self.asking.answered(),
            Err(failure @ Failure::Unavailable { .. }) => {
                self.asking.failed(&failure, now, &mut self.jitter);
                self.on_takeover();
            }
            Err(failure) => {
                // Without the right they come again when their lease ends.
                self.asking.answered();
                self.may_rerun = false;
                self.notices.push_back(Notice::NotRerun(failure.to_string()));
            }
        }
    }

    /// The listener of a key is deleted; or it is not.
    pub fn on_deleted(&mut self, key: String, answer: Result<(), Failure>, now: Instant) {
        match answer {
            Ok(()) => {
                self.asking.answered();
                // Somebody may ask for it again by now.
                match self.listeners.get_mut(&key) {
                    Some(listener) if listener.unwanted_since.is_none() => listener.uuid = None,
                    _ => drop(self.listeners.remove(&key)),
                }
                self.notices.push_back(Notice::Retired(key));
            }
            Err(failure) => {
                self.asking.failed(&failure, now, &mut self.jitter);
                self.notices.push_back(Notice::NotRetired(key, failure.to_string()));
            }
        }
    }

    /// MO gave an event, or none, for each entry of a [`Request::Fetch`].
    pub fn on_fetched(
        &mut self,
        entries: Vec<(String, Uuid)>,
        answer: Result<Vec<Option<Event>>, Failure>,
        now: Instant,
    ) {
        let events = match answer {
            Ok(events) => events,
            Err(failure) => {
                self.asking.failed(&failure, now, &mut self.jitter);
                // MO may have leased them, and the answer is lost.
                if matches!(failure, Failure::Unavailable { .. }) {
                    self.to_rerun.extend(entries.into_iter().map(|(key, _)| key));
                }
                return;
            }
        };
        self.asking.answered();
        if self.idle_at <= now {
            self.idle_at = now + self.rules.pause;
        }
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for ((key, listener), event) in entries.into_iter().zip(events) {
            let (asked, given) = counts.entry(key.clone()).or_default();
            *asked += 1;
            let Some(event) = event else { continue };
            *given += 1;
            // It is in flight already: its lease has ended meanwhile.
            if self.by_token.contains_key(&event.token) {
                continue;
            }
            let token = event.token.clone();
            let id = self.flights.insert(Flight { key, listener, event, is_sent: false });
            self.by_token.insert(token, id);
            self.to_send.push_back(id);
        }
        for (key, (asked, given)) in counts {
            if let Some(listener) = self.listeners.get_mut(&key) {
                listener.on_fetched(asked, given, now, self.idle_at);
            }
        }
    }
}

/// The sink, and acknowledgements.
impl Core {
    /// The next event for the sink: what tells its fate, its key, its listener, and itself.
    pub fn next_message(&mut self, now: Instant) -> Option<(u64, &str, Uuid, &Event)> {
        self.retry(now);
        let id = self.to_send.pop_front()?;
        self.sent += 1;
        let flight = &mut self.flights[id];
        flight.is_sent = true;
        Some((id as u64, &flight.key, flight.listener, &flight.event))
    }

    /// Offers to the sink again what it did not take.
    fn retry(&mut self, now: Instant) {
        if self.is_stopping {
            return;
        }
        for listener in self.listeners.values_mut() {
            if listener.retry_at.is_some_and(|at| at <= now) {
                listener.retry_at = None;
                self.stuck -= listener.stuck.len();
                self.to_send.extend(listener.stuck.drain(..));
            }
        }
    }

    /// What became of an event that the sink had. Unless the sink has it for certain, it is
    /// offered again: MO keeps it until it is acknowledged.
    pub fn on_fate(&mut self, id: u64, fate: Fate, now: Instant) {
        let id = id as usize;
        let Some(flight) = self.flights.get_mut(id).filter(|flight| flight.is_sent) else { return };
        flight.is_sent = false;
        self.sent -= 1;
        let key = flight.key.clone();
        let listener = self.listeners.get_mut(&key);
        match (fate, listener) {
            (Fate::Confirmed, listener) => {
                self.to_acknowledge.push(id);
                self.gathered_at.get_or_insert(now + GATHER);
                if let Some(listener) = listener
                    && std::mem::take(&mut listener.failures) > 0
                {
                    listener.poll_at = now;
                    self.notices.push_back(Notice::Unstuck(key));
                }
            }
            (
                Fate::Undeliverable(reason) | Fate::Refused(reason) | Fate::Nacked(reason),
                Some(listener),
            ) => {
                listener.stuck.push(id);
                self.stuck += 1;
                if listener.retry_at.is_none() {
                    listener.failures += 1;
                    let pause = SINK_PAUSES.pause(listener.failures, &mut self.jitter);
                    listener.retry_at = Some(now + pause);
                    self.notices.push_back(Notice::Stuck(key, reason));
                }
            }
            // The listener is deleted: MO has nothing to acknowledge.
            (_, None) => drop(self.forget(id)),
        }
    }

    /// The events to acknowledge now. What came of it is told with
    /// [`Core::on_acknowledged`].
    pub fn next_acknowledgements(&mut self, now: Instant) -> Option<Vec<usize>> {
        let is_gathered = self.to_acknowledge.len() >= self.rules.batch
            || self.sent == 0
            || self.to_acknowledge.is_splitting()
            || self.gathered_at.is_none_or(|at| at <= now);
        if self.to_acknowledge.is_empty() || !is_gathered || !self.acknowledging.is_ready(now) {
            return None;
        }
        let ids = self.to_acknowledge.take(self.rules.batch);
        self.gathered_at = (!self.to_acknowledge.is_empty()).then_some(now);
        self.acknowledging.is_busy = true;
        Some(ids)
    }

    /// The tokens of events.
    pub fn tokens(&self, ids: &[usize]) -> Vec<&str> {
        ids.iter().map(|id| &*self.flights[*id].event.token).collect()
    }

    /// MO has been told of these events, or has not. Gives the keys of those that are done.
    pub fn on_acknowledged(
        &mut self,
        ids: Vec<usize>,
        answer: Result<(), Failure>,
        now: Instant,
    ) -> Vec<String> {
        match answer {
            Ok(()) => {
                self.acknowledging.answered();
                return ids.into_iter().map(|id| self.forget(id).key).collect();
            }
            Err(Failure::Rejected(reason)) => {
                self.acknowledging.answered();
                if let Some(id) = self.to_acknowledge.split(ids) {
                    let Flight { key, event, .. } = self.forget(id);
                    self.notices.push_back(Notice::Unacknowledged(key, event.subject, reason));
                }
            }
            Err(failure) => {
                self.acknowledging.failed(&failure, now, &mut self.jitter);
                self.to_acknowledge.put_back(ids);
            }
        }
        self.gathered_at = (!self.to_acknowledge.is_empty()).then_some(now);
        Vec::new()
    }

    fn forget(&mut self, id: usize) -> Flight {
        let flight = self.flights.remove(id);
        self.by_token.remove(&flight.event.token);
        flight
    }
}
