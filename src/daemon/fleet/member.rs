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
    /// Its counts and state.
    #[serde(flatten)]
    pub stats: StatsSnapshot,
}

impl Member {
    /// A member at this point of its life, without counts.
    pub(super) fn new(life: Life) -> Self {
        Self { life, stats: Arc::default() }
    }

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
            stats,
        }
    }
}
