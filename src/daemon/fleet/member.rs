//! What the fleet knows of one plugin.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::event::{Datetime, Incoming};
use crate::plugins::PluginFile;
use crate::router::{State, Stats, StatsSnapshot, Version};
use crate::settings::PluginSettings;

/// A plugin that runs, ran, or could not be loaded.
#[derive(Default)]
pub(super) struct Member {
    /// None if no version has ever loaded, or the file is gone.
    pub(super) running: Option<Running>,
    pub(super) stats: Arc<Stats>,
    /// Why the file that is there now is not what runs.
    pub(super) stale: Option<String>,
    /// The file that was loaded last, or could not be, and the settings it had.
    pub(super) tried: Option<(PluginFile, Arc<PluginSettings>)>,
    /// The topic patterns that its queue may be bound with: its own, and those of
    /// versions before that the broker could not be told to undo.
    pub(super) bound: BTreeSet<String>,
    /// When its file went, if it is gone.
    pub(super) removed: Option<Datetime>,
    /// To be cancelled when a file that is gone is back.
    pub(super) back: Option<CancellationToken>,
    /// Cancelled when what was launched last has ended, and what it had at the broker
    /// is no longer being taken away.
    pub(super) ended: Option<CancellationToken>,
}

/// What a plugin that runs is reached by.
pub(super) struct Running {
    pub(super) version: watch::Sender<Version>,
    pub(super) stop: CancellationToken,
    /// Where its events are put, if they come as lines.
    pub(super) lines: Option<mpsc::Sender<Incoming>>,
}

/// What people see of a plugin.
#[derive(Debug, Serialize)]
pub struct Report {
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
    /// Messages that wait in its queue; none if that is not known.
    pub backlog: Option<u32>,
    /// Its counts and state.
    #[serde(flatten)]
    pub reading: StatsSnapshot,
}

impl Member {
    /// The version that runs.
    pub(super) fn version(&self) -> Option<Version> {
        self.running.as_ref().map(|running| running.version.borrow().clone())
    }

    /// Whether this file has been loaded, or refused, with these settings.
    pub(super) fn has_tried(&self, source: &PluginFile, settings: &PluginSettings) -> bool {
        let same = |(file, old): &(PluginFile, Arc<PluginSettings>)| {
            file.bytes == source.bytes && **old == *settings
        };
        self.tried.as_ref().is_some_and(same)
    }

    /// What people see of it. `keep` is how long the queue of a plugin is kept whose
    /// file is gone.
    pub(super) fn report(&self, name: &str, keep: Duration) -> Report {
        let version = self.version();
        let plugin = version.as_ref().map(|version| &version.plugin);
        let mut reading = self.stats.read();
        if let Some(removed) = self.removed {
            let until = removed.saturating_add(keep);
            reading.state = State::Removed;
            reading.reason = Some(format!("its file is gone; its queue is kept until {until}"));
        }
        Report {
            name: name.to_owned(),
            version: plugin.map(|plugin| plugin.version.clone()),
            path: plugin.map(|plugin| plugin.path.display().to_string()),
            stale: self.stale.clone(),
            subscriptions: version.as_ref().map(|v| v.subscriptions().to_vec()).unwrap_or_default(),
            backlog: None,
            reading,
        }
    }
}
