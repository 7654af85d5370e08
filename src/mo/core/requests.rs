//! What is asked of MO, and what its answers mean.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{BATCHES, Core, DECLARE_EVERY, Flight, Notice, Request};
use crate::mo::documents;
use crate::mo::event::Event;
use crate::mo::failure::Failure;

/// Letting leased events come again touches all events of a listener: not more often than this.
const RERUN_EVERY: Duration = Duration::from_secs(10);

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

    /// Asks each listener that is due for one event, and shares what is left of the batch among
    /// those of which more is expected.
    fn fetch(&mut self, now: Instant) -> Option<Request> {
        let room = self.room();
        if !self.is_open || room == 0 {
            return None;
        }
        let mut due: Vec<(Instant, &String, Uuid, usize)> = self
            .listeners
            .iter()
            .filter(|(_, listener)| listener.poll_at <= now)
            .filter_map(|(key, listener)| {
                Some((listener.poll_at, key, listener.source()?, listener.width))
            })
            .collect();
        due.sort_unstable();
        due.truncate(room);
        let most = room.min(self.rules.batch).max(due.len());
        let widest = due.iter().map(|(.., width)| *width).max()?;
        let rounds = (0..widest.min(most)).flat_map(|round| {
            let wider = due.iter().filter(move |(.., width)| round < *width);
            wider.map(|(_, key, uuid, _)| ((*key).clone(), *uuid))
        });
        Some(Request::Fetch(rounds.take(most).collect()))
    }

    /// How many more events may be in flight.
    pub(super) fn room(&self) -> usize {
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
                    _ => {
                        let removed = self.listeners.remove(&key);
                        let stuck = removed.map(|listener| listener.stuck).unwrap_or_default();
                        self.stuck -= stuck.len();
                        stuck.into_iter().for_each(|id| drop(self.forget(id)));
                    }
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
