//! Lines of the input that no plugin asked for. At a broker such events reach no queue; whoever
//! writes lines would wait for an answer in vain.

use std::sync::{Mutex, PoisonError};

use tracing::warn;

/// Counts them.
#[derive(Default)]
pub struct Unasked(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    events: u64,
    unasked: u64,
    first: String,
}

impl Unasked {
    /// An event was handed to so many plugins.
    pub fn note(&self, routing_key: &str, plugins: usize) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.events += 1;
        if plugins == 0 {
            if counts.unasked == 0 {
                counts.first = routing_key.to_owned();
            }
            counts.unasked += 1;
        }
    }

    /// Says how many there were, if there were any.
    pub fn tell(&self) {
        let Counts { events, unasked, first } =
            &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *unasked > 0 {
            warn!(
                "{unasked} of {events} events went to no plugin, because none subscribes to them; \
                 the first had the routing key {first:?}"
            );
        }
    }
}
