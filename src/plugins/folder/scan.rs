//! Scanning the folder for changes.
//!
//! What counts is the state of a file, not how long ago someone announced a change. A
//! file is reported once it has not changed for a moment and its content is complete, and
//! reported again only when its content differs.

use std::collections::BTreeMap;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use xxhash_rust::xxh3::xxh3_128;

use super::change::Change;
use super::file::{Stamp, State, candidates, read};
use crate::plugins::PluginFile;
use crate::plugins::component::is_whole;

/// How long a file must stay unchanged before it is read, or missing before it is gone:
/// longer than the resolution of file systems' timestamps.
const STABLE: Duration = Duration::from_millis(30);

/// How long incomplete content may take to become complete before it is reported anyway.
const PATIENCE: Duration = Duration::from_secs(2);

/// Finds out what has changed in a folder since the last scan.
pub(super) struct Scanner {
    dir: PathBuf,
    files: BTreeMap<String, File>,
}

/// What is known of one plugin's file.
struct File {
    path: PathBuf,
    stamp: Stamp,
    /// When it last changed.
    since: Instant,
    /// Whether it has been dealt with, until it changes again.
    checked: bool,
    reported: Reported,
}

/// What was last reported of a file.
#[derive(PartialEq, Eq)]
enum Reported {
    /// Nothing, or that it is gone.
    Nothing,
    Unusable,
    /// The hash of its content.
    Content(u128),
}

impl Scanner {
    /// A scanner that knows of no file yet.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), files: BTreeMap::new() }
    }

    /// A scanner, and all files of the folder as they are now. A file that is still
    /// being written is reported again when it is complete.
    ///
    /// # Errors
    /// The folder cannot be read.
    #[expect(clippy::disallowed_methods, reason = "files change in real time")]
    pub(super) fn first(dir: &Path) -> Result<(Self, Vec<Change>)> {
        let (now, mut scanner, mut changes) = (Instant::now(), Self::new(dir), Vec::new());
        for (name, (path, stamp)) in candidates(dir)? {
            let state = read(&name, &path, &stamp);
            let mut file = File::new(path, stamp, now);
            changes.extend(file.change_to(state, &name));
            scanner.files.insert(name, file);
        }
        Ok((scanner, changes))
    }

    /// Reports to `report` what has changed until `now`. Returns how soon to scan again,
    /// if a file is still changing.
    ///
    /// # Errors
    /// The folder cannot be read. Nothing is reported then.
    pub(super) fn scan(
        &mut self,
        now: Instant,
        mut report: impl FnMut(Change),
    ) -> Result<Option<Duration>> {
        self.refresh(now)?;
        let mut soonest: Option<Duration> = None;
        for (name, file) in &mut self.files {
            match file.check(name, now) {
                Ok(change) => change.into_iter().for_each(&mut report),
                Err(Unstable { wait }) => {
                    soonest = Some(soonest.map_or(wait, |soonest| soonest.min(wait)));
                }
            }
        }
        self.files.retain(|_, file| !(file.checked && file.stamp == Stamp::Missing));
        Ok(soonest)
    }

    /// Notes which files there are and which of them have changed since the last scan.
    fn refresh(&mut self, now: Instant) -> Result<()> {
        let mut present = candidates(&self.dir)?;
        for (name, file) in &mut self.files {
            let (path, stamp) =
                present.remove(name).unwrap_or_else(|| (file.path.clone(), Stamp::Missing));
            file.update(path, stamp, now);
        }
        for (name, (path, stamp)) in present {
            self.files.insert(name, File::new(path, stamp, now));
        }
        Ok(())
    }
}

/// A file that is still changing: it is to be checked again after `wait`.
struct Unstable {
    wait: Duration,
}

impl File {
    fn new(path: PathBuf, stamp: Stamp, now: Instant) -> Self {
        let since = now.checked_sub(stamp.age()).unwrap_or(now);
        Self { path, stamp, since, checked: false, reported: Reported::Nothing }
    }

    fn update(&mut self, path: PathBuf, stamp: Stamp, now: Instant) {
        if stamp != self.stamp || path != self.path {
            let reported = mem::replace(&mut self.reported, Reported::Nothing);
            *self = Self { reported, ..Self::new(path, stamp, now) };
        }
    }

    /// Reads the file if it has changed and is stable. Returns the change to report.
    fn check(&mut self, name: &str, now: Instant) -> Result<Option<Change>, Unstable> {
        if self.checked {
            return Ok(None);
        }
        let unchanged = now.saturating_duration_since(self.since);
        if unchanged < STABLE {
            return Err(Unstable { wait: STABLE - unchanged });
        }
        let state = read(name, &self.path, &self.stamp);
        match &state {
            State::Changing => return Err(Unstable { wait: STABLE }),
            // Read again at growing intervals.
            State::Content(bytes) if unchanged < PATIENCE && !is_whole(bytes) => {
                return Err(Unstable { wait: unchanged.min(PATIENCE - unchanged).max(STABLE) });
            }
            _ => self.checked = true,
        }
        Ok(self.change_to(state, name))
    }

    /// The change from what was last reported to `state`.
    fn change_to(&mut self, state: State, name: &str) -> Option<Change> {
        let (name, path) = (name.to_owned(), self.path.clone());
        let (now, change) = match state {
            State::Changing => return None,
            State::Gone => (Reported::Nothing, Change::Gone { name }),
            State::Unusable(reason) => {
                (Reported::Unusable, Change::Unusable { name, path, reason })
            }
            State::Content(bytes) => {
                let content = Reported::Content(xxh3_128(&bytes));
                (content, Change::Present(PluginFile { name, path, bytes: bytes.into() }))
            }
        };
        let before = mem::replace(&mut self.reported, now);
        // A file may be unusable again for another reason.
        (before != self.reported || before == Reported::Unusable).then_some(change)
    }
}
