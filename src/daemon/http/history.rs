//! The last hour in numbers, and what the plugins' calls took of late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::daemon::PluginStatus;
use crate::delay::{Store, StoreStats};
use crate::event::Datetime;
use crate::measure::Distribution;

/// How often the numbers are taken, and how many are kept: an hour's.
pub const PERIOD: Duration = Duration::from_secs(10);
const KEPT: usize = 361;
/// Over how many of those periods calls are measured: five minutes.
const CALLS: usize = 31;
/// Of how many plugins.
const PLUGINS: usize = 500;

/// Counts since the start, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// When.
    pub at: i64,
    /// Events received.
    pub received: u64,
    /// Messages that the broker confirmed, delayed ones that fell due included.
    pub sent: u64,
    /// Tries that failed, and dead letters.
    pub failed: u64,
    /// How late the latest of the delayed messages was that were sent since the sample before,
    /// in milliseconds.
    pub late: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct History(Mutex<Past>);

#[derive(Debug, Default)]
struct Past {
    samples: VecDeque<Sample>,
    calls: BTreeMap<String, VecDeque<Distribution>>,
}

impl History {
    /// Takes the numbers of now.
    pub fn take(&self, plugins: &[PluginStatus], store: Option<&Store>) {
        let stats = store.map(Store::stats);
        let mut sample = Sample {
            at: Datetime::now().seconds(),
            sent: stats.map_or(0, StoreStats::count_sent),
            late: stats.map_or(0, StoreStats::take_latest),
            ..Sample::default()
        };
        for plugin in plugins {
            sample.received += plugin.stats.received;
            sample.sent += confirmed(plugin);
            sample.failed += plugin.stats.failures + plugin.stats.dead;
        }
        let mut past = self.past();
        push(&mut past.samples, sample, KEPT);
        past.calls.retain(|name, _| plugins.iter().any(|plugin| plugin.name == *name));
        for plugin in plugins {
            if past.calls.len() < PLUGINS || past.calls.contains_key(&plugin.name) {
                let calls = past.calls.entry(plugin.name.clone()).or_default();
                push(calls, plugin.counted.measures().calls.read(), CALLS);
            }
        }
    }

    /// The last hour, the newest last.
    pub fn samples(&self) -> Vec<Sample> {
        self.past().samples.iter().copied().collect()
    }

    /// What half of a plugin's calls of the last minutes took at most, and 99 of 100, in seconds;
    /// none if there were no calls.
    pub fn call_times(&self, plugin: &PluginStatus) -> Option<(f64, f64)> {
        let now = plugin.counted.measures().calls.read();
        let past = self.past();
        let before = past.calls.get(&plugin.name).and_then(|calls| calls.front());
        let lately = before.map_or_else(|| now.clone(), |before| now.since(before));
        Some((lately.quantile(0.5)?, lately.quantile(0.99)?))
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of a plugin's messages the broker has confirmed.
pub fn confirmed(plugin: &PluginStatus) -> u64 {
    let publications = &plugin.counted.measures().publications;
    publications.read().find(|(outcome, _)| *outcome == "confirmed").map_or(0, |(_, count)| count)
}

fn push<T>(kept: &mut VecDeque<T>, new: T, most: usize) {
    if kept.len() == most {
        kept.pop_front();
    }
    kept.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept() {
        let history = History::default();
        (0..2 * KEPT).for_each(|_| history.take(&[], None));
        assert_eq!(history.samples().len(), KEPT);
    }
}
