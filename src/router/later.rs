//! What is to be tried again, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Outgoing;

/// Something to try again.
pub enum Again<J> {
    /// An event: to be routed.
    Route(J),
    /// A message that the broker refused: to be sent.
    Send {
        /// Whose it is.
        token: u64,
        /// The message.
        outgoing: Box<Outgoing>,
    },
}

/// What is to be tried again, soonest first.
pub struct Agenda<J> {
    entries: BinaryHeap<Reverse<Entry<J>>>,
    added: u64,
}

struct Entry<J> {
    at: Instant,
    number: u64,
    again: Again<J>,
}

impl<J> Default for Agenda<J> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), added: 0 }
    }
}

impl<J> Agenda<J> {
    /// Adds an entry that is up after `pause`.
    pub fn put(&mut self, pause: Duration, again: Again<J>) {
        self.added += 1;
        let entry = Entry { at: Instant::now() + pause, number: self.added, again };
        self.entries.push(Reverse(entry));
    }

    /// Waits for the next entry; for ever if there is none. Nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> Again<J> {
        match self.entries.peek() {
            Some(Reverse(entry)) => tokio::time::sleep_until(entry.at).await,
            None => std::future::pending().await,
        }
        match self.entries.pop() {
            Some(Reverse(entry)) => entry.again,
            None => std::future::pending().await,
        }
    }

    /// Takes all events off the agenda, soonest first.
    pub fn take_routes(&mut self) -> Vec<J> {
        let mut jobs = Vec::new();
        let mut rest = BinaryHeap::new();
        while let Some(Reverse(entry)) = self.entries.pop() {
            match entry.again {
                Again::Route(job) => jobs.push(job),
                again @ Again::Send { .. } => rest.push(Reverse(Entry { again, ..entry })),
            }
        }
        self.entries = rest;
        jobs
    }
}

impl<J> PartialEq for Entry<J> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<J> Eq for Entry<J> {}

impl<J> PartialOrd for Entry<J> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for Entry<J> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
