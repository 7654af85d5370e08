//! What people see of one plugin.

use std::sync::Arc;

use serde::Serialize;

use super::life::Life;
use crate::plugins::{LogLines, Metadata};
use crate::router::{State, Stats, StatsSnapshot};
use crate::settings::{Plugins, Settings};

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
    /// What its file says of itself: version, commit, languages and tools.
    pub metadata: Option<Metadata>,
    /// The version of `os2mo:router` that it was built against.
    pub interface: Option<String>,
    /// The file.
    pub path: Option<String>,
    /// Why the file that is there now does not run.
    pub stale: Option<String>,
    /// The topic patterns of its events.
    pub subscriptions: Vec<String>,
    /// Messages that wait in its queue; none if that is unknown.
    pub backlog: Option<u32>,
    /// How many lines it has logged.
    pub log_lines: LogLines,
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
    /// What people see of it, without its backlog and its log. The bindings of a removed plugin
    /// are kept for `keep_bindings`, its queue for `keep_queue`.
    pub(super) fn status(&self, name: &str, settings: &Settings) -> PluginStatus {
        let Plugins { keep_bindings, keep_queue, .. } = &settings.plugins;
        let running = self.life.running();
        let version = running.map(super::life::Running::version);
        let plugin = version.as_ref().map(|version| &version.plugin);
        let stale = self.life.refusal_reason().map(|reason| match &version {
            Some(version) if *version.settings != settings.of_plugin(name) => {
                // Of the file that runs, the reason is why it does not take them.
                let is_why = running.is_some_and(|running| running.file().own(version).is_some());
                let why = if is_why { "" } else { "; the log says why" };
                format!("{reason}; what runs keeps its settings from before{why}")
            }
            _ => reason.to_owned(),
        });
        let mut stats = self.stats.read();
        if let Some(removed_at) = self.life.removed_at() {
            let [collects, stays] =
                [keep_bindings, keep_queue].map(|time| removed_at.saturating_add(*time));
            stats.state = State::Removed;
            stats.reason = Some(match self.life.refusal_reason() {
                _ if self.life.is_unbound_at_once() => format!(
                    "it was removed by name; unless another router runs it, its queue collects no \
                     more events, and its queue is kept until {stays}"
                ),
                Some(_) => "its file was gone, and the new one does not run; its queue collects \
                            events meanwhile"
                    .to_owned(),
                None => format!(
                    "its file is gone; its queue collects events until {collects}, and its queue is \
                     kept until {stays}"
                ),
            });
        }
        PluginStatus {
            name: name.to_owned(),
            version: plugin.map(|plugin| plugin.version.clone()),
            metadata: plugin.map(|plugin| plugin.metadata.clone()),
            interface: plugin.map(|plugin| plugin.interface_version.to_string()),
            path: plugin.map(|plugin| plugin.path.display().to_string()),
            stale,
            subscriptions: version.as_ref().map(|v| v.subscriptions().to_vec()).unwrap_or_default(),
            backlog: None,
            log_lines: LogLines::default(),
            memory: plugin.map(|plugin| plugin.memory_in_use()),
            counted: Arc::clone(&self.stats),
            stats,
        }
    }
}
