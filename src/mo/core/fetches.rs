//! Fetching: which listeners are asked for how many events, and what they give.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{BATCHES, Core, Flight, Notice, Request};
use crate::backoff::Policy;
use crate::mo::event::Event;
use crate::mo::failure::Failure;

/// The pauses before a listener is asked again whose events MO refuses.
const REFUSED_PAUSES: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(30));
/// So often in a row MO may refuse a listener's events before that is told.
const TOLD: u32 = 2;

impl Core {
    /// Asks each listener that is due for one event, and shares what is left of the batch among
    /// those of which more is expected.
    pub(super) fn fetch(&mut self, now: Instant) -> Option<Request> {
        let room = self.room();
        if !self.is_open || room == 0 {
            return None;
        }
        let mut due: Vec<_> = self
            .listeners
            .iter()
            .filter(|(_, listener)| listener.poll_at <= now)
            .filter_map(|(key, listener)| Some((key, listener.source()?, listener)))
            .collect();
        due.sort_by_key(|(.., listener)| listener.poll_at);
        match due.iter().position(|(.., listener)| listener.is_alone) {
            Some(alone) => due = vec![due[alone]],
            None => due.truncate(room),
        }
        let most = room.min(self.rules.batch).max(due.len());
        let widest = due.iter().map(|(.., listener)| listener.width).max()?;
        let rounds = (0..widest.min(most)).flat_map(|round| {
            let wider = due.iter().filter(move |(.., listener)| round < listener.width);
            wider.map(|(key, uuid, _)| ((*key).clone(), *uuid))
        });
        Some(Request::Fetch(rounds.take(most).collect()))
    }

    /// How many more events may be in flight.
    pub(super) fn room(&self) -> usize {
        (self.rules.batch * BATCHES).saturating_sub(self.flights.len() - self.stuck)
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
            Err(Failure::Rejected(reason)) => {
                self.asking.answered();
                return self.on_fetch_refused(&entries, &reason, now);
            }
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
            let flight =
                Flight { key, listener, event, is_sent: false, is_untaken: false, rejections: 0 };
            let id = self.flights.insert(flight);
            self.by_token.insert(token, id);
            self.to_send.push_back(id);
        }
        for (key, (asked, given)) in counts {
            if let Some(listener) = self.listeners.get_mut(&key) {
                listener.on_fetched(asked, given, now, self.idle_at);
                if std::mem::take(&mut listener.fetch_refusals) >= TOLD {
                    self.notices.push_back(Notice::Fetched(key));
                }
            }
        }
    }

    /// One listener's error undoes what all of them would have given: each is asked alone until it
    /// gives an answer, and the one that MO refuses then waits, and holds up no other.
    fn on_fetch_refused(&mut self, entries: &[(String, Uuid)], reason: &str, now: Instant) {
        let keys: BTreeSet<&String> = entries.iter().map(|(key, _)| key).collect();
        let was_alone = keys.len() == 1;
        for key in keys {
            let Some(listener) = self.listeners.get_mut(key) else { continue };
            (listener.is_alone, listener.width) = (true, 1);
            if !was_alone {
                continue;
            }
            listener.fetch_refusals += 1;
            let pause = REFUSED_PAUSES.pause(listener.fetch_refusals, &mut self.jitter);
            listener.poll_at = now + pause;
            if listener.fetch_refusals >= TOLD {
                self.notices.push_back(Notice::Unfetched(key.clone(), reason.to_owned()));
            }
        }
    }
}
