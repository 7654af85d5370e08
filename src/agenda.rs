//! What happens later, and when: retries, resends, a replay's delayed messages.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Entries by time, soonest first; those of one time in the order in which they were
/// added. It holds no clock: what the time is, is an argument.
#[derive(Debug)]
pub struct Agenda<At, T> {
    entries: BinaryHeap<Reverse<Entry<At, T>>>,
    added: u64,
}

#[derive(Debug)]
struct Entry<At, T> {
    at: At,
    number: u64,
    what: T,
}

impl<At: Ord, T> Default for Agenda<At, T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), added: 0 }
    }
}

impl<At: Copy + Ord, T> Agenda<At, T> {
    /// Adds what happens at a time; gives its number, which counts up.
    pub fn put(&mut self, at: At, what: T) -> u64 {
        self.added += 1;
        self.entries.push(Reverse(Entry { at, number: self.added, what }));
        self.added
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// When the next entry is due; none if there is none.
    pub fn next_at(&self) -> Option<At> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next entry off, with its number, if it is due at `now`.
    pub fn take_due(&mut self, now: At) -> Option<(u64, T)> {
        if self.next_at()? > now {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| (entry.number, entry.what))
    }

    /// Takes everything off, soonest first.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> + use<At, T> {
        let mut entries = std::mem::take(&mut self.entries);
        std::iter::from_fn(move || entries.pop().map(|Reverse(entry)| entry.what))
    }
}

impl<At: Ord, T> PartialEq for Entry<At, T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<At: Ord, T> Eq for Entry<At, T> {}

impl<At: Ord, T> PartialOrd for Entry<At, T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<At: Ord, T> Ord for Entry<At, T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.at, self.number).cmp(&(&other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soonest_first_and_in_the_order_added() {
        let mut agenda = Agenda::default();
        for (at, what) in [(2, "c"), (1, "a"), (1, "b"), (3, "d")] {
            agenda.put(at, what);
        }
        assert_eq!((agenda.count(), agenda.next_at()), (4, Some(1)));
        assert_eq!(agenda.take_due(0), None);
        assert_eq!(agenda.take_due(2), Some((2, "a")));
        assert_eq!(agenda.take_due(2), Some((3, "b")));
        assert_eq!(agenda.take_all().collect::<Vec<_>>(), ["c", "d"]);
        assert_eq!(agenda.next_at(), None);
    }
}
