//! What has been told, so that it is told once.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<BTreeSet<String>>);

impl Notices {
    /// Whether this is the first time that it is told.
    pub(super) fn is_first(&self, what: &str) -> bool {
        self.told().insert(what.to_owned())
    }

    /// Whether it was told.
    pub(super) fn has(&self, what: &str) -> bool {
        self.told().contains(what)
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
