//! How a file becomes the version that runs, or is refused.

use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::life::{Attempt, File, Life, Refusal, Running};
use super::member::Member;
use super::{Fleet, Happened, Started};
use crate::backoff::{Jitter, Policy};
use crate::plugins::{FoundFile, MachineFault, NotAsFound, Temporary};
use crate::router::{LoadOutcome, Version};

/// The pauses before a file, or new settings, are tried again that were refused for a reason that may
/// pass.
const TRY_AGAIN: Policy = Policy::new(Duration::from_secs(5), Duration::from_mins(10));

/// How long to wait before a file that is no longer what was found is looked at again.
const CHANGING: Duration = Duration::from_millis(100);

impl Fleet {
    /// Notes that the folder refused a file, before anything could be loaded.
    pub(super) fn refuse_unread(&self, name: &str, path: &Path, reason: String) {
        let is_known = |member: &Member| member.life.refusal_reason() == Some(&reason);
        // The folder is read before it is watched, and reports such a file twice.
        if !self.members().get(name).is_some_and(is_known) {
            error!(plugin = name, path = %path.display(), "plugin refused: {reason}");
            self.refuse(name, Refusal::by_folder(reason, path.to_owned()));
        }
    }

    /// Notes that a file is refused. Tells whether an earlier one runs.
    pub(super) fn refuse(&self, name: &str, refusal: Refusal) -> bool {
        self.stats_of(name).measures().loads.add(LoadOutcome::Refused);
        self.note(name, Happened::Refused, None, Some(refusal.reason()));
        match self.members().entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                let stats = self.stats_of(name);
                entry.insert(Member { life: Life::Refused(refusal), stats });
                false
            }
            Entry::Occupied(mut entry) => {
                let life = &mut entry.get_mut().life;
                life.refuse(refusal);
                life.running().is_some()
            }
        }
    }

    /// Loads a file, unless that was tried before. For a plugin that is new, gives what
    /// tells when it takes events.
    /// When `newer` is cancelled, loading is given up.
    pub(super) async fn load(
        self: &Arc<Self>,
        file: FoundFile,
        newer: &CancellationToken,
    ) -> Option<Started> {
        let name = file.name.clone();
        let settings = Arc::new(self.settings().of_plugin(&name));
        let attempt = Attempt { file: file.without_content(), settings };
        if self.members().get(&name).is_some_and(|member| member.life.has_tried_so(&attempt)) {
            return None;
        }
        let loading = async {
            let loaded = match file.read().await {
                Ok(source) => self.host.load(source, &attempt.settings).await,
                Err(error) => Err(error),
            };
            match loaded {
                // It is changing: the folder tells what becomes of it.
                Err(error) if error.is::<NotAsFound>() => {
                    debug!(plugin = name, "{error:#}");
                    tokio::time::sleep(CHANGING).await;
                    self.report_again(&name);
                    None
                }
                loaded => Some(loaded),
            }
        };
        let Some(loaded) = newer.run_until_cancelled(loading).await else {
            debug!(plugin = name, "loading is given up, there is something newer");
            return None;
        };
        let loaded = loaded?;
        let plugin = match loaded {
            Ok(plugin) => plugin,
            Err(error) => {
                let passes =
                    may_pass(&error).map(|why| (why, self.try_again(&name, Life::in_vain)));
                let refusal = Refusal::by_host(&error, &attempt, passes);
                let reason = refusal.reason().to_owned();
                match self.refuse(&name, refusal) {
                    true => error!(
                        plugin = name,
                        "new file refused, the old version keeps running: {reason}"
                    ),
                    false => error!(plugin = name, "plugin refused: {reason}"),
                }
                return None;
            }
        };
        let stats = self.stats_of(&name);
        let measures = stats.measures();
        measures.loads.add(LoadOutcome::Loaded);
        let took = if plugin.cached { &measures.cached } else { &measures.compiled };
        took.add(plugin.compile_time);
        let version = Version { plugin, settings: Arc::clone(&attempt.settings) };
        match self.running(&name, |running| running.version()) {
            Some(old) => {
                self.note(&name, Happened::Replaced, Some(&version.plugin.version), None);
                self.replace(&name, &old, version, File::Loaded(attempt)).await;
                None
            }
            None => {
                self.note(&name, Happened::Loaded, Some(&version.plugin.version), None);
                Some(self.launch(&name, version, File::Loaded(attempt)))
            }
        }
    }

    /// Tries a plugin's file or new settings again after a pause, unless something else comes of it
    /// meanwhile: why they were refused may pass. `in_vain` says how often in a row that was before;
    /// gives how often it was now.
    pub(super) fn try_again(self: &Arc<Self>, name: &str, in_vain: fn(&Life) -> u32) -> u32 {
        let in_vain = move |fleet: &Self, name: &str| {
            fleet.members().get(name).map_or(0, |member| in_vain(&member.life))
        };
        let failures = in_vain(self, name).saturating_add(1);
        let pause = tokio::time::sleep(TRY_AGAIN.pause(failures, &mut Jitter::random()));
        let (fleet, stop, name) = (Arc::downgrade(self), self.stop.clone(), name.to_owned());
        tokio::spawn(async move {
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
            let Some(fleet) = fleet.upgrade() else { return };
            if in_vain(&fleet, &name) == failures {
                fleet.reload(&name);
            }
        });
        failures
    }

    /// Replaces the version that runs. New bindings are made before, so that the new
    /// version misses nothing, and old ones are undone after.
    pub(super) async fn replace(&self, name: &str, old: &Version, new: Version, file: File) {
        let without = |patterns: &[String], others: &[String]| -> Vec<String> {
            patterns.iter().filter(|pattern| !others.contains(pattern)).cloned().collect()
        };
        let added = without(new.subscriptions(), old.subscriptions());
        let dropped = without(old.subscriptions(), new.subscriptions());
        self.bind(name, &added).await;
        let is_old = |running: &mut Running| Arc::ptr_eq(&running.version().plugin, &old.plugin);
        if self.running(name, is_old) != Some(true) {
            // It was removed by name meanwhile, and what was bound with it.
            return;
        }
        if old.settings.lanes == new.settings.lanes {
            self.running(name, |running| running.replace(new, file));
        } else {
            // More or fewer threads: the old ones finish what they have first. When the
            // new ones take events is of interest only at the start.
            drop(self.launch(name, new, file));
        }
        self.unbind(name, &dropped).await;
    }

    async fn bind(&self, name: &str, patterns: &[String]) {
        // Noted first: a plugin that is removed meanwhile is unbound from them too.
        self.running(name, |running| running.bound(patterns));
        let _topology = self.topology.lock().await;
        log_failed_binding(self.endpoints.bind(name, patterns).await);
    }

    async fn unbind(&self, name: &str, patterns: &[String]) {
        let _topology = self.topology.lock().await;
        let unbound = self.endpoints.unbind(name, patterns).await;
        if unbound.is_ok() {
            self.running(name, |running| running.unbound(patterns));
        }
        log_failed_binding(unbound);
    }
}

/// Why the same file, with the same settings, may load if it is tried again; none if it would be
/// refused again.
pub(super) fn may_pass(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<MachineFault>() {
        return Some("the file is not at fault");
    }
    error.is::<Temporary>().then_some("it may be due to a busy machine")
}

/// A binding that could not be changed does no harm: the next session makes what is
/// missing, and skips the events of bindings that are no longer wanted.
fn log_failed_binding(result: Result<()>) {
    if let Err(error) = result.context("changing bindings") {
        debug!("{error:#}");
    }
}
