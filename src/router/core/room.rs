//! How many deliveries may be in flight.
//!
//! Events that failed wait for their next attempt, and others of their uuid wait behind them. All
//! hold their places meanwhile: one person with a thousand failing events would leave no place for
//! anybody else. Where most of what is in flight waits so, more may be.

use super::{Core, Effect};

/// How many times the limit may be in flight beyond it, while most of it waits.
const WIDER: usize = 3;

impl<R> Core<R> {
    /// Whether there is room for another delivery.
    pub fn has_room(&self) -> bool {
        self.is_routing() && !self.exhausted && self.in_flight.is_below(self.limit, self.beyond)
    }

    /// Whether most of what is in flight waits, and more may be: see [`Core::make_room`].
    pub fn is_crowded(&self) -> bool {
        let wait = self.retries.count() + self.turns.waiting();
        let may_be_more = self.in_flight.is_below(self.limit, WIDER * self.limit.deliveries);
        self.is_routing() && may_be_more && wait * 2 > self.in_flight.deliveries
    }

    /// Makes room for others where it is crowded, if all places are taken or the inbox gives no
    /// more as it is.
    pub fn make_room(&mut self, can_widen: bool) {
        let (deliveries, limit) = (self.in_flight.deliveries, self.limit.deliveries);
        let is_full = deliveries >= limit + self.beyond;
        if self.is_crowded() && (is_full || can_widen) {
            self.beyond = deliveries.min(WIDER * limit);
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
