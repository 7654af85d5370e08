//! Deliveries from their arrival to their settlement.

use std::time::{Duration, Instant};

use slab::Slab;
use uuid::Uuid;

use crate::router::stats::Outcome;

/// The deliveries that a core knows of, by key.
#[derive(Debug)]
pub struct Deliveries<R> {
    entries: Slab<Entry<R>>,
    /// Those that caused messages whose fate is not known of all.
    answered: usize,
}

#[derive(Debug)]
struct Entry<R> {
    /// None once it is not to be settled any more.
    receipt: Option<R>,
    /// The person or unit that its event is about; none of what is no event.
    about: Option<Uuid>,
    /// Messages that it caused and whose fate is unknown.
    missing: usize,
    /// Of the delivery and of all that it caused.
    bytes: usize,
    since: Instant,
    /// When its messages were handed on.
    answered_at: Instant,
    outcome: Outcome,
    on_trial: bool,
}

/// A delivery that nothing is missing of.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished<R> {
    /// What settles it, if it is still to be settled.
    pub receipt: Option<R>,
    /// Of the delivery and of all that it caused.
    pub bytes: usize,
    /// How it ended, if it is settled.
    pub outcome: Outcome,
    /// When it was delivered.
    pub since: Instant,
    /// Whether it was on trial.
    pub on_trial: bool,
}

impl<R> Default for Deliveries<R> {
    fn default() -> Self {
        Self { entries: Slab::new(), answered: 0 }
    }
}

impl<R> Deliveries<R> {
    /// Adds a delivery; gives its key.
    pub fn insert(&mut self, receipt: R, bytes: usize, since: Instant) -> usize {
        self.entries.insert(Entry {
            receipt: Some(receipt),
            about: None,
            missing: 0,
            bytes,
            since,
            answered_at: since,
            outcome: Outcome::Dropped,
            on_trial: false,
        })
    }

    /// The delivery's event is about this person or unit.
    pub fn set_about(&mut self, key: usize, uuid: Uuid) {
        self.entries[key].about = Some(uuid);
    }

    /// The person or unit that the delivery's event is about, if it is one.
    pub fn about(&self, key: usize) -> Option<Uuid> {
        self.entries.get(key)?.about
    }

    /// The delivery caused so many messages, at least one, which take so many bytes.
    pub fn answered(&mut self, key: usize, messages: usize, bytes: usize, now: Instant) {
        debug_assert!(messages > 0, "a delivery that caused nothing is finished");
        let entry = &mut self.entries[key];
        entry.answered_at = now;
        entry.outcome = Outcome::Published;
        entry.missing = messages;
        entry.bytes += bytes;
        self.answered += 1;
    }

    /// How the delivery ends, unless something worse becomes of it.
    pub fn ends(&mut self, key: usize, outcome: Outcome) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.outcome != Outcome::Dead
        {
            entry.outcome = outcome;
        }
    }

    /// How long ago the messages of the delivery were handed on.
    pub fn since_answered(&self, key: usize, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.entries.get(key)?.answered_at))
    }

    /// One of the messages is confirmed, or committed to the store. The last one finishes
    /// the delivery.
    pub fn message_done(&mut self, key: usize) -> Option<Finished<R>> {
        let entry = self.entries.get_mut(key)?;
        entry.missing -= 1;
        if entry.missing > 0 {
            return None;
        }
        self.answered -= 1;
        Some(self.finish(key))
    }

    /// The delivery caused nothing, or nobody waits for what it caused.
    pub fn finish(&mut self, key: usize) -> Finished<R> {
        let Entry { receipt, bytes, on_trial, outcome, since, .. } = self.entries.remove(key);
        Finished { receipt, bytes, outcome, since, on_trial }
    }

    /// Takes what settles the delivery, which is not to be settled any more.
    pub fn take_receipt(&mut self, key: usize) -> Option<R> {
        self.entries.get_mut(key)?.receipt.take()
    }

    /// Whether the delivery is still to be settled.
    pub fn is_held(&self, key: usize) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.receipt.is_some())
    }

    /// The delivery that has been held for longest: since when, and whether it waits for the
    /// fate of what it caused, rather than for its plugin.
    pub fn oldest(&self) -> Option<(Instant, bool)> {
        let held = self.entries.iter().filter(|(_, entry)| entry.receipt.is_some());
        let oldest = held.min_by_key(|(_, entry)| entry.since);
        oldest.map(|(_, entry)| (entry.since, entry.missing > 0))
    }

    /// Puts a delivery on trial; whether it was not before.
    pub fn put_on_trial(&mut self, key: usize) -> bool {
        !std::mem::replace(&mut self.entries[key].on_trial, true)
    }

    /// Whether the delivery is on trial.
    pub fn is_on_trial(&self, key: usize) -> bool {
        self.entries[key].on_trial
    }

    /// Whether the fate of all messages that deliveries caused is known.
    pub fn all_done(&self) -> bool {
        self.answered == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn finished_by_the_last_message() {
        let mut deliveries = Deliveries::default();
        let (one, two) = (deliveries.insert("one", 10, now()), deliveries.insert("two", 20, now()));
        deliveries.answered(one, 1, 1, now());
        deliveries.answered(two, 2, 2, now());
        deliveries.ends(two, Outcome::Dead);
        deliveries.ends(two, Outcome::Delayed);
        assert_eq!(deliveries.message_done(two), None);
        let finished = deliveries.message_done(one).unwrap();
        assert_eq!((finished.receipt, finished.bytes), (Some("one"), 11));
        assert_eq!(finished.outcome, Outcome::Published);
        assert!(!deliveries.all_done());
        let finished = deliveries.message_done(two).unwrap();
        assert_eq!((finished.receipt, finished.bytes), (Some("two"), 22));
        assert_eq!(finished.outcome, Outcome::Dead);
        assert!(deliveries.all_done());
    }

    #[test]
    fn the_oldest_is_told_with_what_it_waits_for() {
        let (mut deliveries, start) = (Deliveries::default(), now());
        let later = start + Duration::from_secs(1);
        let first = deliveries.insert("first", 0, start);
        let second = deliveries.insert("second", 0, later);
        deliveries.answered(second, 1, 0, later);
        assert_eq!(deliveries.oldest(), Some((start, false)));
        deliveries.finish(first);
        assert_eq!(deliveries.oldest(), Some((later, true)));
    }

    #[test]
    fn what_is_not_settled_keeps_its_key_until_nothing_is_missing() {
        let mut deliveries = Deliveries::default();
        let key = deliveries.insert("event", 0, now());
        deliveries.answered(key, 2, 0, now());
        assert_eq!(deliveries.take_receipt(key), Some("event"));
        assert!(!deliveries.is_held(key) && deliveries.oldest().is_none());
        assert_eq!(deliveries.message_done(key), None);
        assert_ne!(deliveries.insert("next", 1, now()), key, "the key is still taken");
        assert_eq!(deliveries.message_done(key).unwrap().receipt, None);
    }
}
