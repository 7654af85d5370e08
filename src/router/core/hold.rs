//! How long a delivery is held: that one has been for long is shown, and what cannot be settled
//! goes back to the queue before the broker takes it away, with the channel and all that is on it.
//!
//! A message that the broker never confirms has an end before that, if the broker confirms others:
//! it is a dead letter, since it would be no different when its event comes again. Where nothing is
//! confirmed, it is not for a message to blame.

use std::time::{Duration, Instant};

use super::{Core, Effect, End};

/// How often one looks.
const LOOK: Duration = Duration::from_secs(10);

/// How long it may take until what was given back is delivered again: from then on it is elsewhere.
const AGAIN: Duration = Duration::from_mins(1);

impl<R> Core<R> {
    /// There is something to look after.
    pub(super) fn watch(&mut self, now: Instant) {
        if self.limit.hold < Duration::MAX {
            self.look_at.get_or_insert(now + LOOK);
        }
    }

    /// If it is time to look: gives up what the broker does not confirm, or else ends if a
    /// delivery is held too long. With the session all that it has not settled goes back, in the order
    /// of the queue, and nobody waits any more for what it caused.
    pub(super) fn end_if_overdue(&mut self, now: Instant) {
        if self.look_at.is_none_or(|time| now < time) {
            return;
        }
        self.look_at = (self.in_flight.deliveries > 0).then(|| now + LOOK);
        let oldest = self.deliveries.oldest();
        let held_for = oldest.map(|(since, _)| now.saturating_duration_since(since));
        // What was given back has not begun to flow because it is held anew.
        let stuck_for = self.stuck_since.map(|since| now.saturating_duration_since(since));
        self.stats.set_oldest(
            oldest.zip(held_for.max(stuck_for)).map(|((_, is_answered), age)| (age, is_answered)),
        );
        if self.end.is_some() {
            return;
        }
        let mut any = false;
        while let Some(delivery) = self.deliveries.give_up(now, self.limit.hold) {
            self.effects.push_back(Effect::GiveUp { delivery });
            any = true;
        }
        if !any
            && held_for.is_some_and(|age| age >= self.limit.hold)
            && let Some((_, is_answered)) = oldest
        {
            self.set_end(End::Overdue { is_answered }, now);
        }
    }

    /// Something is settled: what an earlier core held too long is not stuck any more.
    pub(super) fn flows_again(&mut self) {
        if self.stuck_since.take().is_some() {
            self.stats.set_oldest(None);
        }
    }

    /// For the next core: since when nothing has been settled, if this one ends because something
    /// was held too long. People are told of it for as long as that may be so.
    pub(super) fn take_stuck(&mut self) -> Option<Instant> {
        let held_since = self.deliveries.oldest().map(|(since, _)| since);
        let is_overdue = matches!(self.end, Some(End::Overdue { .. }));
        let ended = self.end_by.filter(|_| is_overdue && held_since.is_some());
        let Some(ended) = ended else {
            self.stats.set_oldest(None);
            return None;
        };
        self.stats.given_back(ended + AGAIN);
        self.stuck_since.or(held_since)
    }
}
