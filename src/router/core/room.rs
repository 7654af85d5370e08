//! How many deliveries may be in flight.
//!
//! Events wait behind those of their uuid that are being retried, and hold their places
//! meanwhile. One person with a thousand failing events would leave no place for anybody
//! else: where most of what is in flight waits so, more may be.

use super::{Core, Effect};

/// How many times the limit may be in flight beyond it, while most of it waits.
const WIDER: usize = 3;

impl<R> Core<R> {
    /// Whether there is room for another delivery.
    pub fn has_room(&self) -> bool {
        self.is_routing() && !self.exhausted && self.in_flight.is_below(self.limit, self.beyond)
    }

    /// Makes room for others if all places are taken and most of what takes them waits.
    pub(super) fn make_room(&mut self) {
        let limit = self.limit.deliveries;
        let is_full = self.in_flight.deliveries >= limit + self.beyond;
        let most_wait = self.turns.waiting() * 2 > self.in_flight.deliveries;
        if is_full && most_wait && self.beyond < WIDER * limit {
            self.beyond += limit;
            self.effects.push_back(Effect::Widen);
        }
    }

    /// A place is free.
    pub(super) fn left_room(&mut self) {
        if self.in_flight.deliveries <= self.limit.deliveries {
            self.beyond = 0;
        }
    }
}
