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
    attempts: HashMap<u64, u32>,
    /// In the order in which they were noted, some of them forgotten.
    noted: VecDeque<u64>,
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
        if self.attempts.insert(event, attempts).is_none() {
            self.noted.push_back(event);
        }
        if self.attempts.len() > REMEMBERED
            && let Some(oldest) = self.noted.pop_front()
        {
            self.attempts.remove(&oldest);
        }
        if self.noted.len() > 2 * REMEMBERED {
            self.noted.retain(|event| self.attempts.contains_key(event));
        }
    }

    /// How many times it has failed, as far as is known.
    pub fn attempts(&self, event: u64) -> Option<u32> {
        self.attempts.get(&event).copied()
    }

    /// The plugin is another one: it may fail as often again on what its predecessor failed on,
    /// which stays known.
    pub fn start_anew(&mut self) {
        self.attempts.values_mut().for_each(|attempts| *attempts = 0);
    }

    /// The event is done.
    pub fn forget(&mut self, event: u64) {
        self.attempts.remove(&event);
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
}
