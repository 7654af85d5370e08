//! Events in flight: with the sink, to be offered to it again, or to be acknowledged.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Core, Flight, Notice};
use crate::backoff::Policy;
use crate::mo::event::Event;
use crate::mo::failure::Failure;
use crate::transport::{Fate, RESENDS};

/// The pauses before an event is offered to the sink again.
const SINK_PAUSES: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(30));
/// How long acknowledgements wait for others, so that they are told together.
const GATHER: Duration = Duration::from_millis(20);
/// So often an event's acknowledgement is tried that MO refuses. Meanwhile it is in flight, which
/// bounds what is fetched while MO takes no acknowledgements at all.
const ACKNOWLEDGE_TRIES: u32 = 3;

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
            if listener.offers_at().is_some_and(|at| at <= now) {
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
        let (pauses, reason) = match fate {
            Fate::Confirmed => return self.on_taken(id, now),
            Fate::Returned(reason) | Fate::Unacceptable(reason) | Fate::Refused(reason) => {
                (SINK_PAUSES, reason)
            }
            // Each time, the queues that took it get another copy.
            Fate::Nacked(reason) => (RESENDS, reason),
        };
        let Some(listener) = self.listeners.get_mut(&flight.key) else {
            // It is deleted: MO has nothing to acknowledge.
            drop(self.forget(id));
            return;
        };
        if !std::mem::replace(&mut flight.is_untaken, true) {
            listener.untaken += 1;
        }
        listener.stuck.push(id);
        self.stuck += 1;
        if listener.retry_at.is_none() {
            listener.failures += 1;
            let pause = pauses.pause(listener.failures, &mut self.jitter);
            listener.retry_at = Some(now + pause);
            if listener.unwanted_since.is_none() {
                self.notices.push_back(Notice::Stuck(flight.key.clone(), reason));
            }
        }
    }

    /// The sink has an event for certain.
    fn on_taken(&mut self, id: usize, now: Instant) {
        self.to_acknowledge.push(id);
        self.gathered_at.get_or_insert(now + GATHER);
        let flight = &mut self.flights[id];
        let was_untaken = std::mem::take(&mut flight.is_untaken);
        let listener = self.listeners.get_mut(&flight.key);
        if let Some(listener) = listener.filter(|_| was_untaken) {
            listener.untaken -= 1;
            if listener.untaken == 0 {
                (listener.failures, listener.poll_at) = (0, now);
                self.notices.push_back(Notice::Unstuck(flight.key.clone()));
            }
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
            Err(failure @ Failure::Rejected(_)) => match self.to_acknowledge.split(ids) {
                None => self.acknowledging.ended(),
                Some(id) => self.on_acknowledgement_refused(id, &failure, now),
            },
            Err(failure) => {
                self.acknowledging.failed(&failure, now, &mut self.jitter);
                self.to_acknowledge.put_back(ids);
            }
        }
        self.gathered_at = (!self.to_acknowledge.is_empty()).then_some(now);
        Vec::new()
    }

    fn on_acknowledgement_refused(&mut self, id: usize, failure: &Failure, now: Instant) {
        match self.is_stopping {
            // The others are to be told yet.
            true => self.acknowledging.answered(),
            false => self.acknowledging.failed(failure, now, &mut self.jitter),
        }
        let flight = &mut self.flights[id];
        flight.rejections += 1;
        if flight.rejections < ACKNOWLEDGE_TRIES && !self.is_stopping {
            // Behind the others.
            return self.to_acknowledge.push(id);
        }
        let Flight { key, event, .. } = self.forget(id);
        let reason = failure.to_string();
        self.notices.push_back(Notice::Unacknowledged(key, event.subject, reason));
    }

    pub(super) fn forget(&mut self, id: usize) -> Flight {
        let flight = self.flights.remove(id);
        self.by_token.remove(&flight.event.token);
        flight
    }
}
