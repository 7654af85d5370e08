//! The plugins that messages were stored by, as the scheduler sees them.

use crate::transport::Fate;

/// Asked and told about the plugins whose messages leave: by name, whether they are there or not.
pub trait Senders: Sync {
    /// How many messages an exchange may refuse in a row until the others wait.
    fn suspend_after(&self, plugin: &str) -> usize;

    /// The broker has said this of a message of the plugin's, or of a dead letter.
    fn published(&self, plugin: &str, fate: &Fate);

    /// A message of the plugin's becomes a dead letter, since this was its fate.
    fn dead(&self, plugin: &str, fate: &Fate, reason: &str);
}

/// Nobody counts.
impl Senders for () {
    fn suspend_after(&self, _: &str) -> usize {
        20
    }

    fn published(&self, _: &str, _: &Fate) {}

    fn dead(&self, _: &str, _: &Fate, _: &str) {}
}
