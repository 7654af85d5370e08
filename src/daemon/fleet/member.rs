//! What people see of one plugin.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::life::Life;
use crate::router::{State, Stats, StatsSnapshot};

/// A plugin that runs, ran, or could not be loaded.
pub(super) struct Member {
    pub(super) life: Life,
    /// Counts since this router has known the plugin.
    pub(super) stats: Arc<Stats>,
}

/// What people see of a plugin.
#[derive(Debug, Serialize)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// The version that runs.
    pub version: Option<String>,
    /// The file.
    pub path: Option<String>,
    /// Why the file that is there now does not run.
    pub stale: Option<String>,
    /// The topic patterns of its events.
    pub subscriptions: Vec<String>,
    /// Messages that wait in its queue; none if that is unknown.
    pub backlog: Option<u32>,
    /// The bytes that its instances use.
    #[serde(skip)]
    pub memory: Option<u64>,
    /// What metrics are made of.
    #[serde(skip)]
    pub counted: Arc<Stats>,
    /// Its counts and state.
    #[serde(flatten)]
    pub stats: StatsSnapshot,
}

impl PluginStatus {
    /// Whether its file was refused, and no older version runs.
    pub fn is_refused(&self) -> bool {
        self.version.is_none() && self.stale.is_some()
    }
}

impl Member {
    /// What people see of it, without its backlog. `keep_queue` is how long the queue of
    /// a removed plugin is kept.
    pub(super) fn status(&self, name: &str, keep_queue: Duration) -> PluginStatus {
        let version = self.life.running().map(super::life::Running::version);
        let plugin = version.as_ref().map(|version| &version.plugin);
        let mut stats = self.stats.read();
        if let Some(removed_at) = self.life.removed_at() {
            let until = removed_at.saturating_add(keep_queue);
            stats.state = State::Removed;
            stats.reason = Some(format!("its file is gone; its queue is kept until {until}"));
        }
        PluginStatus {
            name: name.to_owned(),
            version: plugin.map(|plugin| plugin.version.clone()),
            path: plugin.map(|plugin| plugin.path.display().to_string()),
            stale: self.life.refusal_reason().map(str::to_owned),
            subscriptions: version.as_ref().map(|v| v.subscriptions().to_vec()).unwrap_or_default(),
            backlog: None,
            memory: plugin.map(|plugin| plugin.memory_in_use()),
            counted: Arc::clone(&self.stats),
            stats,
        }
    }
}
