//! What metrics are made of: counts by their labels, and how long things take.

use std::sync::Arc;
use std::time::Duration;

use super::labels::{DeadCause, LoadOutcome, Outcome, PublicationOutcome, RetryCause};
use crate::measure::{Counts, Distribution, Durations, LONG, SHORT};
use crate::router::destinations::Destinations;

/// What metrics are made of, beside [`StatsSnapshot`](super::StatsSnapshot).
#[derive(Debug)]
pub struct Measures {
    /// Events that are done.
    pub settled: Counts<Outcome>,
    /// Events that are tried again.
    pub retries: Counts<RetryCause>,
    /// Messages that were sent.
    pub publications: Counts<PublicationOutcome>,
    /// Messages that were answered and are due, by exchange.
    pub destinations: Destinations,
    /// Dead letters.
    pub dead: Counts<DeadCause>,
    /// Files of the plugin that were loaded, or not.
    pub loads: Counts<LoadOutcome>,
    /// How long it took to compile them.
    pub compiled: Durations,
    /// How long it took to find them in the cache.
    pub cached: Durations,
    /// Calls of the plugin.
    pub calls: Durations,
    /// Events, from delivery to settlement.
    pub events: Durations,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            settled: Counts::default(),
            retries: Counts::default(),
            publications: Counts::default(),
            destinations: Destinations::default(),
            dead: Counts::default(),
            loads: Counts::default(),
            compiled: Durations::new(LONG),
            cached: Durations::new(LONG),
            calls: Durations::new(SHORT),
            events: Durations::new(LONG),
        }
    }
}

/// How long the broker takes to confirm. All plugins together share one.
#[derive(Clone, Debug)]
pub struct Confirms(Arc<Durations>);

impl Default for Confirms {
    fn default() -> Self {
        Self(Arc::new(Durations::new(LONG)))
    }
}

impl Confirms {
    /// The broker took so long.
    pub(super) fn add(&self, took: Duration) {
        self.0.add(took);
    }

    /// All of it now.
    pub fn read(&self) -> Distribution {
        self.0.read()
    }
}
