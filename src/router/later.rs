//! What is to be tried again, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

/// What is to be tried again, soonest first.
pub struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    added: u64,
}

struct Entry<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), added: 0 }
    }
}

impl<T> Agenda<T> {
    /// Adds what is up after `pause`.
    pub fn put(&mut self, pause: Duration, what: T) {
        self.added += 1;
        let entry = Entry { at: Instant::now() + pause, number: self.added, what };
        self.entries.push(Reverse(entry));
    }

    /// Waits for the next entry; for ever if there is none. Nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> T {
        match self.entries.peek() {
            Some(Reverse(entry)) => tokio::time::sleep_until(entry.at).await,
            None => std::future::pending().await,
        }
        match self.entries.pop() {
            Some(Reverse(entry)) => entry.what,
            None => std::future::pending().await,
        }
    }

    /// Takes everything off the agenda, soonest first.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        let mut entries = std::mem::take(&mut self.entries);
        std::iter::from_fn(move || entries.pop().map(|Reverse(entry)| entry.what))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
