//! What the core has to know of a version of a plugin.

use crate::event::topic;
use crate::router::planned::Author;

/// What the core has to know of a version of a plugin.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Who its answers come from.
    pub author: Author,
    /// The topic patterns of the events that it gets.
    pub subscriptions: Vec<String>,
    /// How many times an event is tried.
    pub attempts: u32,
    /// How many different uuids have to fail in a row until the breaker opens.
    pub suspend_after: usize,
    /// Whether several events are routed at a time, by workers beside each other.
    pub parallel: bool,
}

impl Terms {
    /// Whether the plugin gets the events of a routing key.
    pub fn subscribes_to(&self, routing_key: &str) -> bool {
        topic::any_matches(&self.subscriptions, routing_key)
    }
}
