//! The exchanges to publish to, as far as people are told of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::health::{Code, Health};

/// The exchanges to publish to that cannot be used. Others report the same of exchanges for reasons
/// of their own, so that each ends only what it has begun.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<BTreeSet<String>>);

impl Outputs {
    /// One cannot be used.
    pub(super) fn wrong(&self, name: &str) {
        self.names().insert(name.to_owned());
    }

    /// One can be used.
    pub(super) fn well(&self, name: &str, health: &Health) {
        if self.names().remove(name) {
            over(name, "the exchange can be published to again", health);
        }
    }

    /// Only these are used.
    pub(super) fn keep(&self, used: &BTreeSet<String>, health: &Health) {
        let mut names = self.names();
        let unused: Vec<String> = names.difference(used).cloned().collect();
        names.retain(|name| used.contains(name));
        for name in unused {
            over(&name, "no plugin publishes to the exchange any more", health);
        }
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // No holder leaves anything half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over(name: &str, why: &str, health: &Health) {
    health.over(Code::ExchangeMissing, name, why);
    health.over(Code::NotPermitted, name, why);
}
