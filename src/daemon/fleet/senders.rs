//! What the scheduler of delayed messages asks of the plugins, and tells them.

use std::sync::{Arc, Weak};

use super::{Fleet, lock};
use crate::delay::Senders;
use crate::router::{DeadCause, PublicationOutcome, Stats};
use crate::transport::Fate;

/// The scheduler may outlive the plugins.
impl Senders for Weak<Fleet> {
    fn suspend_after(&self, plugin: &str) -> usize {
        let fleet = self.upgrade();
        fleet.map_or(usize::MAX, |fleet| {
            fleet.settings().of_plugin(plugin).limits.suspend_after as usize
        })
    }

    fn published(&self, plugin: &str, fate: &Fate) {
        if let Some(stats) = counted(self, plugin) {
            // For how long it was stored is no matter of the broker's.
            stats.published(PublicationOutcome::of(fate), None);
        }
    }

    fn dead(&self, plugin: &str, fate: &Fate, reason: &str) {
        if let Some(stats) = counted(self, plugin) {
            stats.dead(DeadCause::of(fate), reason);
        }
    }
}

/// The counts of a plugin; none if it was never here: its messages were imported, or stored by
/// another router.
fn counted(fleet: &Weak<Fleet>, plugin: &str) -> Option<Arc<Stats>> {
    lock(&fleet.upgrade()?.counted).get(plugin).cloned()
}
