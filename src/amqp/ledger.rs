//! Which deliveries of a channel are settled, and how to acknowledge them in few frames.

use std::collections::VecDeque;

/// The delivery tags of one channel, from the oldest that is not acknowledged. Tags count
/// from 1 without gaps (AMQP 0-9-1, channel-local).
#[derive(Debug)]
pub struct Ledger {
    oldest: u64,
    states: VecDeque<DeliveryState>,
    settled: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeliveryState {
    /// In flight.
    Unsettled,
    /// To be acknowledged.
    Settled,
    /// Acknowledged, while an older one is not.
    Acknowledged,
}

/// An acknowledgement to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Ack {
    /// The delivery tag.
    pub tag: u64,
    /// Whether it includes all earlier ones.
    pub multiple: bool,
}

impl Ledger {
    /// The ledger of a channel that has delivered nothing yet.
    pub fn new() -> Self {
        Self { oldest: 1, states: VecDeque::new(), settled: 0 }
    }

    /// `tag` has been delivered.
    pub fn delivered(&mut self, tag: u64) {
        debug_assert_eq!(tag, self.oldest + self.states.len() as u64, "tags have no gaps");
        self.states.push_back(DeliveryState::Unsettled);
    }

    /// `tag` may be acknowledged.
    pub fn settle(&mut self, tag: u64) {
        let state = tag.checked_sub(self.oldest).and_then(|at| self.states.get_mut(at as usize));
        debug_assert_eq!(state.as_deref(), Some(&DeliveryState::Unsettled), "settled once");
        if let Some(state) = state {
            *state = DeliveryState::Settled;
            self.settled += 1;
        }
    }

    /// The tag of the next delivery.
    pub fn next(&self) -> u64 {
        self.oldest + self.states.len() as u64
    }

    /// How many deliveries from this tag on are not acknowledged.
    pub fn unacknowledged(&self, from: u64) -> usize {
        let before = from.saturating_sub(self.oldest) as usize;
        let rest = self.states.iter().skip(before);
        rest.filter(|state| **state != DeliveryState::Acknowledged).count()
    }

    /// How many settled deliveries have not been acknowledged.
    pub fn unsent(&self) -> usize {
        self.settled
    }

    /// The acknowledgements of all settled deliveries: one for those before the oldest
    /// unsettled one, and one each for those after it.
    pub fn take(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        if self.settled == 0 {
            return acks;
        }
        let done =
            self.states.iter().take_while(|state| **state != DeliveryState::Unsettled).count();
        // The broker rejects a tag that was acknowledged before, so the frame names the last
        // one that was not.
        let last = self.states.range(..done).rposition(|state| *state == DeliveryState::Settled);
        if let Some(last) = last {
            acks.push(Ack { tag: self.oldest + last as u64, multiple: true });
        }
        self.settled -=
            self.states.drain(..done).filter(|state| *state == DeliveryState::Settled).count();
        self.oldest += done as u64;
        if self.settled > 0 {
            let behind = self.states.iter_mut().enumerate();
            for (at, state) in behind.filter(|(_, state)| **state == DeliveryState::Settled) {
                *state = DeliveryState::Acknowledged;
                acks.push(Ack { tag: self.oldest + at as u64, multiple: false });
            }
            self.settled = 0;
        }
        acks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(deliveries: u64) -> Ledger {
        let mut ledger = Ledger::new();
        (1..=deliveries).for_each(|tag| ledger.delivered(tag));
        ledger
    }

    #[test]
    fn a_run_takes_one_frame() {
        let mut ledger = ledger(5);
        for tag in [2, 1, 3] {
            ledger.settle(tag);
        }
        assert_eq!(ledger.take(), [Ack { tag: 3, multiple: true }]);
        assert_eq!(ledger.take(), []);
    }

    #[test]
    fn what_is_not_acknowledged_is_counted_from_a_tag_on() {
        let mut ledger = ledger(6);
        assert_eq!((ledger.next(), ledger.unacknowledged(1), ledger.unacknowledged(4)), (7, 6, 3));
        for tag in [1, 2, 5] {
            ledger.settle(tag);
        }
        assert_eq!(ledger.unacknowledged(1), 6);
        ledger.take();
        assert_eq!((ledger.unacknowledged(1), ledger.unacknowledged(4)), (3, 2));
        assert_eq!((ledger.next(), ledger.unacknowledged(7)), (7, 0));
    }

    #[test]
    fn after_an_unsettled_one_each_has_its_own_frame() {
        let mut ledger = ledger(4);
        ledger.settle(2);
        ledger.settle(4);
        let alone = |tag| Ack { tag, multiple: false };
        assert_eq!(ledger.take(), [alone(2), alone(4)]);
        ledger.settle(1);
        ledger.settle(3);
        assert_eq!(ledger.take(), [Ack { tag: 3, multiple: true }]);
        ledger.delivered(5);
        ledger.settle(5);
        assert_eq!(ledger.take(), [Ack { tag: 5, multiple: true }]);
    }
}
