//! Which events a plugin has failed on, and how often: it outlives sessions, so that an
//! event's attempts do not begin anew when a connection is lost.

use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::Xxh3;

use crate::event::Incoming;

/// How many events are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 10_000;

/// The failed attempts of events that are not done.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    events: HashMap<u64, Failed>,
    /// The events and their numbers, in the order in which they were first noted; some of them are
    /// forgotten since.
    noted: VecDeque<(u64, u64)>,
    next: u64,
}

/// An event that failed.
#[derive(Clone, Debug)]
struct Failed {
    attempts: u32,
    /// Counts up with each event that is noted.
    number: u64,
}

/// By which an event is known when it is redelivered.
pub fn identity(message: &Incoming) -> u64 {
    let mut hasher = Xxh3::new();
    for part in [
        message.properties.message_id.as_deref().unwrap_or_default().as_bytes(),
        message.routing_key.as_bytes(),
        &message.body,
    ] {
        hasher.update(&part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.digest()
}

impl Failures {
    /// The event has failed so many times.
    pub fn note(&mut self, event: u64, attempts: u32) {
        if let Some(known) = self.events.get_mut(&event) {
            known.attempts = attempts;
            return;
        }
        while self.events.len() >= REMEMBERED
            && let Some(oldest) = self.noted.pop_front()
        {
            if self.is_noted(oldest) {
                self.events.remove(&oldest.0);
            }
        }
        self.events.insert(event, Failed { attempts, number: self.next });
        self.noted.push_back((event, self.next));
        self.next += 1;
        if self.noted.len() > 2 * REMEMBERED {
            let noted = std::mem::take(&mut self.noted);
            self.noted = noted.into_iter().filter(|&noted| self.is_noted(noted)).collect();
        }
    }

    /// Whether it is still known by this number.
    fn is_noted(&self, (event, number): (u64, u64)) -> bool {
        self.events.get(&event).is_some_and(|failed| failed.number == number)
    }

    /// How many times it has failed, as far as is known.
    pub fn attempts(&self, event: u64) -> Option<u32> {
        self.events.get(&event).map(|failed| failed.attempts)
    }

    /// The plugin is another one: it may fail as often again on what its predecessor failed on,
    /// which stays known.
    pub fn start_anew(&mut self) {
        self.events.values_mut().for_each(|failed| failed.attempts = 0);
    }

    /// The event is done.
    pub fn forget(&mut self, event: u64) {
        self.events.remove(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut failures = Failures::default();
        for event in 0..=REMEMBERED as u64 {
            failures.note(event, 1);
        }
        assert_eq!((failures.attempts(0), failures.attempts(1)), (None, Some(1)));
        failures.note(1, 2);
        assert_eq!(failures.attempts(1), Some(2));
        failures.start_anew();
        assert_eq!(failures.attempts(1), Some(0));
        failures.forget(1);
        assert_eq!(failures.attempts(1), None);
    }

    #[test]
    fn one_that_was_forgotten_and_noted_again_is_as_new_as_that() {
        let mut failures = Failures::default();
        failures.note(0, 1);
        for event in 1..REMEMBERED as u64 {
            failures.note(event, 1);
        }
        failures.forget(0);
        failures.note(0, 2);
        // Of the others, the oldest goes.
        failures.note(u64::MAX, 1);
        assert_eq!((failures.attempts(0), failures.attempts(1)), (Some(2), None));
        for attempts in 0..5 * REMEMBERED as u32 {
            failures.forget(0);
            failures.note(0, attempts);
            assert!(failures.events.len() <= REMEMBERED);
            assert!(failures.noted.len() <= 2 * REMEMBERED);
        }
        assert_eq!(failures.attempts(2), Some(1), "a retry makes nobody else forgotten");
    }
}
