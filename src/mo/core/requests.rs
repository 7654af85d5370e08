//! What is asked of MO, and what its answers mean.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Core, DECLARE_EVERY, Notice, Request};
use crate::backoff::Policy;
use crate::mo::documents;
use crate::mo::failure::Failure;

/// Letting leased events come again touches all events of a listener: not more often than this.
const RERUN_EVERY: Duration = Duration::from_secs(10);
/// The pauses before a listener is declared again that MO refused.
const DECLARE_PAUSES: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

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
            let wanted = self.listeners.values_mut().filter(|l| l.unwanted_since.is_none());
            wanted.for_each(|listener| listener.declare_at = Some(now));
            self.declare_at = now + self.rules.pause * DECLARE_EVERY;
        }
        for (key, listener) in &mut self.listeners {
            if listener.declares_at().is_some_and(|at| at <= now) {
                listener.declare_at = None;
                self.undeclared.push(key.clone());
            }
        }
        let mut keys = self.undeclared.take(self.rules.batch);
        keys.retain(|key| self.listeners.contains_key(key));
        (!keys.is_empty()).then_some(Request::Declare(keys))
    }

    fn rerun(&mut self, now: Instant) -> Option<Request> {
        if self.rerun_at > now {
            return None;
        }
        let ready: BTreeMap<String, Uuid> =
            self.reruns().map(|(key, uuid)| (key.clone(), uuid)).collect();
        if ready.is_empty() {
            return None;
        }
        self.to_rerun.retain(|key| !ready.contains_key(key));
        self.rerun_at = now + RERUN_EVERY;
        Some(Request::Rerun(ready.into_values().collect()))
    }

    /// The listeners whose leased events are to come again and can. Others stay to be rerun:
    /// those that are not declared yet, say.
    pub(super) fn reruns(&self) -> impl Iterator<Item = (&String, Uuid)> {
        let keys = self.to_rerun.iter().filter(|_| self.may_rerun);
        keys.filter_map(|key| Some((key, self.listeners.get(key)?.source()?)))
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
                    self.declare_later(&key, now);
                    self.notices.push_back(Notice::Undeclared(key, reason));
                }
            }
            Err(failure @ Failure::Forbidden(_)) => {
                // What is declared may still be fetched.
                self.asking.failed(&failure, now, &mut self.jitter);
                for key in keys {
                    self.declare_later(&key, now);
                }
            }
            Err(failure) => {
                self.asking.failed(&failure, now, &mut self.jitter);
                self.undeclared.put_back(keys);
            }
        }
    }

    /// MO refused to declare the listener of a key.
    fn declare_later(&mut self, key: &str, now: Instant) {
        let Some(listener) = self.listeners.get_mut(key) else { return };
        listener.declare_refusals += 1;
        let pause = DECLARE_PAUSES.pause(listener.declare_refusals, &mut self.jitter);
        listener.declare_at = Some(now + pause);
    }

    fn on_one_declared(
        &mut self,
        key: String,
        declared: &documents::Listener,
        identity: Option<Uuid>,
    ) {
        let Some(listener) = self.listeners.get_mut(&key) else { return };
        (listener.declare_at, listener.declare_refusals) = (None, 0);
        let before = listener.uuid.replace(declared.uuid);
        listener.is_foreign = identity.is_some_and(|identity| identity != declared.owner);
        if listener.is_foreign {
            self.notices.push_back(Notice::Foreign(key, declared.owner));
            return;
        }
        let owner_before = listener.owner.replace(declared.owner);
        self.notices.push_back(Notice::Declared(key.clone()));
        if before == Some(declared.uuid) {
            return;
        }
        match owner_before {
            Some(owner) if owner != declared.owner => {
                self.notices.push_back(Notice::Moved(key.clone(), owner, declared.owner));
            }
            _ if before.is_some() => self.notices.push_back(Notice::Deleted(key.clone())),
            _ => {}
        }
        self.notices.push_back(Notice::Listening(key, declared.uuid));
    }

    /// Leased events come again at once; or they do not.
    pub fn on_reran(&mut self, answer: Result<(), Failure>, now: Instant) {
        match answer {
            Ok(()) => self.asking.answered(),
            Err(failure @ (Failure::Unavailable { .. } | Failure::Unauthenticated(_))) => {
                self.asking.failed(&failure, now, &mut self.jitter);
                self.rerun_all();
            }
            Err(failure) => {
                // Without the right they come again when their lease ends.
                self.asking.answered();
                self.may_rerun = !matches!(failure, Failure::Forbidden(_));
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
                        self.to_rerun.remove(&key);
                        let stuck = removed.map(|listener| listener.stuck).unwrap_or_default();
                        self.stuck -= stuck.len();
                        stuck.into_iter().for_each(|id| drop(self.forget(id)));
                    }
                }
                self.notices.push_back(Notice::Retired(key));
            }
            Err(failure) => {
                self.asking.failed(&failure, now, &mut self.jitter);
                if let Failure::Unavailable { .. } = failure
                    && let Some(listener) = self.listeners.get_mut(&key)
                    && listener.unwanted_since.is_some()
                {
                    // MO may be away for a moment: it is told again when it is back.
                    listener.unwanted_since = now.checked_sub(self.rules.keep).or(Some(now));
                    return;
                }
                self.notices.push_back(Notice::NotRetired(key, failure.to_string()));
            }
        }
    }
}
