//! What has been told, so that it is told once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<BTreeSet<String>>);

impl Notices {
    /// Whether this is the first time that it is asked about.
    pub(super) fn is_first(&self, what: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned())
    }
}
