//! The order of the events of each person or unit.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

/// Lets the events of one uuid through one after the other, in the order in which
/// they came. Only those are known here that hold others up or wait.
pub struct Turns<T> {
    waiting: HashMap<Uuid, VecDeque<T>>,
    /// How many wait.
    count: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), count: 0 }
    }
}

impl<T> Turns<T> {
    /// Gives the event back if none of its uuid is before it; otherwise it waits.
    pub fn take(&mut self, uuid: Uuid, event: T) -> Option<T> {
        match self.waiting.get_mut(&uuid) {
            Some(behind) => {
                behind.push_back(event);
                self.count += 1;
                None
            }
            None => Some(event),
        }
    }

    /// The event whose turn it is takes time: those of its uuid wait from now on.
    pub fn hold(&mut self, uuid: Uuid) {
        self.waiting.entry(uuid).or_default();
    }

    /// The event whose turn it was is done. Gives the one that waited behind it,
    /// whose turn it is now.
    pub fn pass(&mut self, uuid: Uuid) -> Option<T> {
        let next = self.waiting.get_mut(&uuid)?.pop_front();
        match next {
            Some(_) => self.count -= 1,
            None => drop(self.waiting.remove(&uuid)),
        }
        next
    }

    /// The events that wait behind others, in any order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.waiting.values_mut().flatten()
    }

    /// How many events wait behind others.
    pub fn waiting(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_in_order() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut turns = Turns::default();
        assert_eq!(turns.take(one, "a"), Some("a"));
        turns.hold(one);
        assert_eq!(turns.take(one, "b"), None);
        assert_eq!(turns.take(one, "c"), None);
        assert_eq!(turns.waiting(), 2);
        assert_eq!(turns.take(other, "x"), Some("x"), "others are not held up");
        assert_eq!(turns.pass(one), Some("b"));
        assert_eq!(turns.take(one, "d"), None, "it is the turn of b");
        assert_eq!((turns.pass(one), turns.pass(one)), (Some("c"), Some("d")));
        assert_eq!((turns.pass(one), turns.waiting()), (None, 0));
        assert_eq!(turns.take(one, "e"), Some("e"));
    }
}
