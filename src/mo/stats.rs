//! What was asked of MO and what it gave, for metrics and status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::documents::Operation;
use crate::event::Datetime;

/// Counts that only grow. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Mutex<Counts>>);

/// The outcome of a request that was answered.
const OK: &str = "ok";

/// The counts at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Whether this router fetches: of several, one does.
    pub bridging: bool,
    /// When the access token expires; none if there is none, or if another router fetches: then
    /// nobody renews it. None either if it has expired and nobody has needed another one since: one
    /// that is in the past is one that cannot be renewed.
    pub token_expires: Option<Datetime>,
    /// Whether the last request for a token failed.
    #[serde(skip)]
    renewal_failed: bool,
    /// Events that were published and acknowledged, by routing key.
    pub events: BTreeMap<String, u64>,
    /// Requests by operation and outcome.
    #[serde(skip)]
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
}

impl Stats {
    /// A request was answered, or was not.
    pub fn requested(&self, operation: Operation, outcome: &'static str) {
        let mut counts = self.counts();
        if operation == Operation::Token {
            counts.renewal_failed = outcome != OK;
        }
        *counts.requests.entry((operation.as_str(), outcome)).or_default() += 1;
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
        counts.at(Datetime::now())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // No holder leaves anything half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn at(self, now: Datetime) -> Self {
        let is_shown =
            |expires: &Datetime| self.bridging && (self.renewal_failed || *expires > now);
        Self { token_expires: self.token_expires.filter(is_shown), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_has_expired_is_told_of_while_it_cannot_be_renewed() {
        let at = |seconds| Datetime::from_unix(seconds, 0).unwrap();
        let stats = Stats::default();
        let told = |seconds| stats.counts().clone().at(at(seconds)).token_expires;
        stats.requested(Operation::Token, "ok");
        stats.token_expires(at(300));
        assert_eq!(told(100), None, "another router fetches");
        stats.bridging(true);
        assert_eq!(told(100), Some(at(300)));
        assert_eq!(told(1000), None, "nobody has asked for another one");
        stats.requested(Operation::Token, "unavailable");
        stats.requested(Operation::Fetch, "ok");
        assert_eq!(told(1000), Some(at(300)));
        stats.requested(Operation::Token, "ok");
        stats.token_expires(at(1300));
        assert_eq!(told(1000), Some(at(1300)));
    }
}
