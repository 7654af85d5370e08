//! What was asked of MO and what it gave, for metrics and status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::documents::Operation;
use crate::event::Datetime;

/// Counts that only grow. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Mutex<Counts>>);

/// The counts at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Whether this router fetches: of several, one does.
    pub bridging: bool,
    /// When the access token expires; none if there is none, or if another router fetches: then
    /// nobody renews it.
    pub token_expires: Option<Datetime>,
    /// Events that were published and acknowledged, by routing key.
    pub events: BTreeMap<String, u64>,
    /// Requests by operation and outcome.
    #[serde(skip)]
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
}

impl Stats {
    /// A request was answered, or was not.
    pub fn requested(&self, operation: Operation, outcome: &'static str) {
        *self.counts().requests.entry((operation.as_str(), outcome)).or_default() += 1;
    }

    /// An event is where it belongs, and MO has been told.
    pub fn acknowledged(&self, routing_key: &str) {
        let mut counts = self.counts();
        match counts.events.get_mut(routing_key) {
            Some(count) => *count += 1,
            None => drop(counts.events.insert(routing_key.to_owned(), 1)),
        }
    }

    /// There is a new token.
    pub fn token_expires(&self, at: Datetime) {
        self.counts().token_expires = Some(at);
    }

    /// Whether this router fetches from now on.
    pub fn bridging(&self, does: bool) {
        self.counts().bridging = does;
    }

    /// The counts now.
    pub fn read(&self) -> Counts {
        let counts = self.counts().clone();
        let token_expires = counts.token_expires.filter(|_| counts.bridging);
        Counts { token_expires, ..counts }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // No holder leaves anything half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
