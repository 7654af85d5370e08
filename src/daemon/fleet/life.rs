//! The life of a plugin in this router, from the first file with its name until
//! nothing is left of it.
//!
//! ```text
//!              launch              remove             forget
//!   Refused ───────────▶ Running ───────────▶ Removed ───────▶ (nothing)
//!      ▲                    ▲    ◀───────────    │
//!      │                    └─ launch  launch    │
//!      └──────────── forget: a new file was refused
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::event::{Datetime, shortened};
use crate::jsonl::InputEvent;
use crate::plugins::FoundFile;
use crate::router::Version;
use crate::settings::PluginSettings;

/// Where a plugin is in its life.
pub(super) enum Life {
    /// Its file was refused, and no version of it has a queue that this router looks
    /// after.
    Refused(Refusal),
    /// A version runs.
    Running(Running),
    /// Its file is gone. Its queue is kept for a while.
    Removed(Removed),
}

/// A file that the host tried to load, with the settings that it tried: not its content, which may
/// be large.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) file: FoundFile,
    pub(super) settings: Arc<PluginSettings>,
}

/// How much is kept of the reason why a file does not run, in bytes: it may quote names from
/// the file.
const REASON: usize = 4096;

/// Why a file does not run.
#[derive(Clone)]
pub(super) struct Refusal {
    reason: String,
    path: PathBuf,
    attempt: Tried,
}

/// Whether the host has tried a file that is refused.
#[derive(Clone)]
enum Tried {
    /// The file could not even be read.
    Not,
    /// In vain, for a reason that may pass, so often in a row: it is tried again.
    InVain(Attempt, u32),
    /// It would refuse it again.
    So(Attempt),
}

/// A version that runs.
pub(super) struct Running {
    handle: Handle,
    file: File,
    /// How often in a row new settings were tried in vain, for reasons that may pass.
    settings_in_vain: u32,
    bound: BTreeSet<String>,
    ended: CancellationToken,
}

/// The file of a plugin that runs.
#[derive(Clone)]
pub(super) enum File {
    /// It is what runs.
    Loaded(Attempt),
    /// An earlier one runs.
    Refused(Refusal),
}

/// What the sessions of a running plugin are controlled with.
pub(super) struct Handle {
    /// The version that the sessions use.
    pub(super) version: watch::Sender<Version>,
    /// Stops the sessions.
    pub(super) stop: CancellationToken,
    /// Where to put its events; none if the sessions fetch them.
    pub(super) lines: Option<mpsc::Sender<InputEvent>>,
}

/// A plugin whose file is gone.
pub(super) struct Removed {
    at: Datetime,
    bound: BTreeSet<String>,
    returned: CancellationToken,
    at_once: CancellationToken,
    ended: CancellationToken,
    /// Why a file that has appeared since does not run.
    refusal: Option<Refusal>,
}

/// The work that a removed plugin leaves behind: to undo its bindings, and to delete
/// its queue later.
pub(super) struct Retirement {
    /// The topic patterns that its queue may be bound with.
    pub(super) bound: Vec<String>,
    /// Cancelled when its sessions have ended and returned their unsettled deliveries.
    pub(super) sessions_ended: CancellationToken,
    /// Cancelled when a file is launched again, or the router stops.
    pub(super) returned: CancellationToken,
    /// Cancelled when the bindings need not be kept.
    pub(super) at_once: CancellationToken,
    /// Dropped with this value, which lets a file that has returned start.
    _done: DropGuard,
}

/// A plugin that has just been launched.
pub(super) struct Launched {
    /// It runs.
    pub(super) life: Life,
    /// Cancelled when it may start: what ran before has ended, and nothing of it is
    /// being removed any more. None if there was nothing before.
    pub(super) predecessor_ended: Option<CancellationToken>,
    /// To be cancelled when its sessions have ended.
    pub(super) ended: CancellationToken,
}

impl Life {
    /// Launches a version, in place of what was there `before`: what runs is stopped,
    /// and what is being removed is kept.
    pub(super) fn launch(before: Option<Life>, handle: Handle, file: File) -> Launched {
        let (mut bound, predecessor_ended) = match before {
            None | Some(Self::Refused(_)) => (BTreeSet::new(), None),
            Some(Self::Running(running)) => {
                running.handle.stop.cancel();
                (running.bound, Some(running.ended))
            }
            Some(Self::Removed(removed)) => {
                removed.returned.cancel();
                (removed.bound, Some(removed.ended))
            }
        };
        bound.extend(handle.version.borrow().subscriptions().iter().cloned());
        let ended = CancellationToken::new();
        let settings_in_vain = 0;
        let running = Running { handle, file, settings_in_vain, bound, ended: ended.clone() };
        let life = Self::Running(running);
        Launched { life, predecessor_ended, ended }
    }

    /// The file that is there now was refused. What runs keeps running.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        match self {
            Self::Refused(old) => *old = refusal,
            Self::Running(running) => running.file = File::Refused(refusal),
            Self::Removed(removed) => removed.refusal = Some(refusal),
        }
    }

    /// The file is gone. What runs is stopped and has to be retired; what never ran
    /// leaves nothing. `stop` is cancelled when the router stops.
    pub(super) fn remove(
        self,
        now: Datetime,
        stop: &CancellationToken,
    ) -> (Option<Self>, Option<Retirement>) {
        match self {
            Self::Refused(_) => (None, None),
            Self::Removed(removed) => {
                (Some(Self::Removed(Removed { refusal: None, ..removed })), None)
            }
            Self::Running(Running { handle, bound, ended: sessions_ended, .. }) => {
                handle.stop.cancel();
                let (returned, ended) = (stop.child_token(), CancellationToken::new());
                let at_once = CancellationToken::new();
                let retirement = Retirement {
                    bound: bound.iter().cloned().collect(),
                    sessions_ended,
                    returned: returned.clone(),
                    at_once: at_once.clone(),
                    _done: ended.clone().drop_guard(),
                };
                let removed = Removed { at: now, bound, returned, at_once, ended, refusal: None };
                (Some(Self::Removed(removed)), Some(retirement))
            }
        }
    }

    /// The queue of a removed plugin is deleted, or left to another router: nothing is left of it,
    /// unless there is a new file that was refused. If a file has returned meanwhile, nothing changes.
    pub(super) fn forget(self, retirement: &Retirement) -> Option<Self> {
        match self {
            Self::Removed(removed) if !retirement.returned.is_cancelled() => {
                removed.refusal.map(Self::Refused)
            }
            other => Some(other),
        }
    }

    /// What runs, if anything does.
    pub(super) fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(running) => Some(running),
            Self::Refused(_) | Self::Removed(_) => None,
        }
    }

    /// What runs, if anything does.
    pub(super) fn running_mut(&mut self) -> Option<&mut Running> {
        match self {
            Self::Running(running) => Some(running),
            Self::Refused(_) | Self::Removed(_) => None,
        }
    }

    /// A removed plugin's bindings need not be kept any longer.
    pub(super) fn unbind_at_once(&self) {
        if let Self::Removed(removed) = self {
            removed.at_once.cancel();
        }
    }

    /// Whether it is removed and its bindings need not be kept.
    pub(super) fn is_unbound_at_once(&self) -> bool {
        matches!(self, Self::Removed(removed) if removed.at_once.is_cancelled())
    }

    /// Since when its file has been gone.
    pub(super) fn removed_at(&self) -> Option<Datetime> {
        match self {
            Self::Removed(removed) => Some(removed.at),
            Self::Refused(_) | Self::Running(_) => None,
        }
    }

    /// Why the file that is there now does not run.
    pub(super) fn refusal_reason(&self) -> Option<&str> {
        self.refusal().map(Refusal::reason)
    }

    /// Whether other settings concern it: a version runs, or the host has tried the file that is
    /// there now, and may do something else with them.
    pub(super) fn depends_on_settings(&self) -> bool {
        self.running().is_some()
            || self.refusal().is_some_and(|refusal| !matches!(refusal.attempt, Tried::Not))
    }

    /// Whether that was what the host tried last, and it would do the same again.
    pub(super) fn has_tried_so(&self, attempt: &Attempt) -> bool {
        let is_refused =
            |refusal: &Refusal| refusal.attempt().is_some_and(|failed| failed.is_same(attempt));
        self.loaded().is_some_and(|loaded| loaded.is_same(attempt))
            || self.refusal().is_some_and(is_refused)
    }

    /// The file that is there now, if it is what runs.
    pub(super) fn loaded(&self) -> Option<&Attempt> {
        match self {
            Self::Running(Running { file: File::Loaded(attempt), .. }) => Some(attempt),
            _ => None,
        }
    }

    /// How often in a row the host tried the file that is there now in vain, for reasons that may pass.
    pub(super) fn in_vain(&self) -> u32 {
        match self.refusal() {
            Some(Refusal { attempt: Tried::InVain(_, failures), .. }) => *failures,
            _ => 0,
        }
    }

    /// How often in a row the version that runs was tried with new settings in vain, for reasons that
    /// may pass.
    pub(super) fn settings_in_vain(&self) -> u32 {
        self.running().map_or(0, |running| running.settings_in_vain)
    }

    /// Where its file was when it was last there; none if that is known to be gone.
    pub(super) fn path(&self) -> Option<&Path> {
        let refused = self.refusal().map(|refusal| refusal.path.as_path());
        refused.or_else(|| Some(self.loaded()?.file.path.as_path()))
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal)
            | Self::Running(Running { file: File::Refused(refusal), .. }) => Some(refusal),
            Self::Running(_) => None,
            Self::Removed(removed) => removed.refusal.as_ref(),
        }
    }
}

impl Running {
    /// The version that runs.
    pub(super) fn version(&self) -> Version {
        self.handle.version.borrow().clone()
    }

    /// Lets the sessions use another version.
    pub(super) fn replace(&mut self, version: Version, file: File) {
        self.handle.version.send_replace(version);
        self.file = file;
        self.settings_in_vain = 0;
    }

    /// New settings were tried in vain, so often in a row for reasons that may pass.
    pub(super) fn note_settings_in_vain(&mut self, in_vain: u32) {
        self.settings_in_vain = in_vain;
    }

    /// Its file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Wakes sessions that wait for a new version, though it is the same one.
    pub(super) fn resume(&self) {
        self.handle.version.send_modify(|_| {});
    }

    /// The queue may be bound with these patterns from now on.
    pub(super) fn bound(&mut self, patterns: &[String]) {
        self.bound.extend(patterns.iter().cloned());
    }

    /// The queue is certainly not bound with these patterns any more.
    pub(super) fn unbound(&mut self, patterns: &[String]) {
        self.bound.retain(|pattern| !patterns.contains(pattern));
    }

    /// Where to put its events; none if its sessions fetch them.
    pub(super) fn lines(&self) -> Option<&mpsc::Sender<InputEvent>> {
        self.handle.lines.as_ref()
    }

    /// There are no more lines: the sessions end when they have routed what they have.
    pub(super) fn end_lines(&mut self) {
        self.handle.lines = None;
    }
}

impl File {
    /// The file that is there now, if it is what runs: it is, too, where it was refused with other
    /// settings.
    pub(super) fn own(&self, running: &Version) -> Option<&FoundFile> {
        let file = match self {
            Self::Loaded(attempt) => Some(&attempt.file),
            Self::Refused(refusal) => refusal.file(),
        };
        file.filter(|file| running.plugin.is_of(file))
    }
}

impl Refusal {
    /// What the host tried, if it would do the same again.
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        match &self.attempt {
            Tried::So(attempt) => Some(attempt),
            Tried::Not | Tried::InVain(..) => None,
        }
    }

    /// The file that the host tried.
    fn file(&self) -> Option<&FoundFile> {
        match &self.attempt {
            Tried::So(attempt) | Tried::InVain(attempt, _) => Some(&attempt.file),
            Tried::Not => None,
        }
    }

    /// Why, for people.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// By the folder, before anything could be loaded.
    pub(super) fn by_folder(reason: String, path: PathBuf) -> Self {
        Self { reason, path, attempt: Tried::Not }
    }

    /// By the host. `passes` says why it may pass, and how often in a row it was so: it is tried again.
    pub(super) fn by_host(
        error: &anyhow::Error,
        attempt: &Attempt,
        passes: Option<(&str, u32)>,
    ) -> Self {
        let reason = told(error, passes.map(|(why, _)| why));
        let (path, attempt) = (attempt.file.path.clone(), attempt.clone());
        let attempt = match passes {
            Some((_, failures)) => Tried::InVain(attempt, failures),
            None => Tried::So(attempt),
        };
        Self { reason, path, attempt }
    }
}

/// Why the host does not run something, for people; `passes` says why it is tried again, if it is.
pub(super) fn told(error: &anyhow::Error, passes: Option<&str>) -> String {
    let reason = shortened(&format!("{error:#}"), REASON);
    match passes {
        Some(why) => format!("{reason}; {why}, and is tried again"),
        None => reason,
    }
}

impl Attempt {
    /// Whether the host would do the same again.
    fn is_same(&self, other: &Self) -> bool {
        self.file.is_same(&other.file) && self.settings == other.settings
    }
}

#[cfg(test)]
pub(super) mod tests;
