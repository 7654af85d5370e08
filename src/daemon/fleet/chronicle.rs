//! What happened to plugins: files that were loaded, replaced or refused, and states.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use serde::Serialize;

use super::{Fleet, lock};
use crate::event::{Datetime, shortened};
use crate::router::State;

/// How much is kept of one plugin, and of how many of them.
const KEPT: usize = 50;
const PLUGINS: usize = 1000;
/// How many bytes of a reason are kept.
const REASON: usize = 500;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Happened {
    /// A file runs.
    Loaded,
    /// Another file runs in place of the one before.
    Replaced,
    /// A file does not run.
    Refused,
    /// The file is gone.
    Removed,
    /// The plugin takes events.
    Running,
    /// It waits for the broker.
    Waiting,
    /// It failed on event after event.
    Suspended,
}

/// Something that happened to a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Chronicled {
    /// When.
    pub at: Datetime,
    /// What.
    pub happened: Happened,
    /// The version that it happened to, if there was one.
    pub version: Option<String>,
    /// Why, where that is not plain.
    pub reason: Option<String>,
}

/// What happened to each plugin, the newest last.
#[derive(Debug, Default)]
pub(super) struct Chronicle(Mutex<BTreeMap<String, Past>>);

#[derive(Debug, Default)]
struct Past {
    entries: VecDeque<Chronicled>,
    state: Option<State>,
}

impl Chronicle {
    fn note(&self, plugin: &str, entry: Chronicled) {
        let mut all = lock(&self.0);
        if all.len() >= PLUGINS && !all.contains_key(plugin) {
            return;
        }
        let past = all.entry(plugin.to_owned()).or_default();
        if past.entries.len() == KEPT {
            past.entries.pop_front();
        }
        past.entries.push_back(entry);
    }

    /// Whether the plugin was in another state when this was last asked.
    fn is_new(&self, plugin: &str, state: State) -> bool {
        let mut all = lock(&self.0);
        let Some(past) = all.get_mut(plugin) else { return false };
        past.state.replace(state) != Some(state)
    }
}

impl Fleet {
    /// Notes that something happened to a plugin.
    pub(super) fn note(
        &self,
        plugin: &str,
        happened: Happened,
        version: Option<&str>,
        reason: Option<&str>,
    ) {
        let entry = Chronicled {
            at: self.clock.now(),
            happened,
            version: version.map(str::to_owned),
            reason: reason.map(|reason| shortened(reason, REASON)),
        };
        self.chronicle.note(plugin, entry);
    }

    /// Notes the states that have changed.
    pub(super) fn note_states(&self) {
        for status in self.statuses_here() {
            let happened = match status.stats.state {
                State::Running => Happened::Running,
                State::Waiting => Happened::Waiting,
                State::Suspended => Happened::Suspended,
                State::Removed => continue,
            };
            if self.chronicle.is_new(&status.name, status.stats.state) {
                let (version, reason) = (status.version.as_deref(), status.stats.reason.as_deref());
                self.note(&status.name, happened, version, reason);
            }
        }
    }

    /// What happened to a plugin, the newest last.
    pub fn chronicle(&self, plugin: &str) -> Vec<Chronicled> {
        let all = lock(&self.chronicle.0);
        all.get(plugin).map(|past| past.entries.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_is_kept_and_the_newest() {
        let chronicle = Chronicle::default();
        for second in 0..2 * KEPT as i64 {
            let at = Datetime::from_unix(second, 0).unwrap();
            let (version, reason) = (None, None);
            chronicle.note("p", Chronicled { at, happened: Happened::Loaded, version, reason });
        }
        let all = lock(&chronicle.0);
        assert_eq!(all["p"].entries.len(), KEPT);
        assert_eq!(all["p"].entries.back().unwrap().at.seconds(), 2 * KEPT as i64 - 1);
    }

    #[test]
    fn a_state_is_new_once() {
        let chronicle = Chronicle::default();
        let (version, reason) = (None, None);
        let at = Datetime::now();
        chronicle.note("p", Chronicled { at, happened: Happened::Loaded, version, reason });
        assert!(chronicle.is_new("p", State::Running));
        assert!(!chronicle.is_new("p", State::Running));
        assert!(chronicle.is_new("p", State::Suspended));
    }
}
