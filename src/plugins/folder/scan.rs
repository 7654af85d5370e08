//! Scanning the folder for changes.
//!
//! What counts is the state of a file, not how long ago someone announced a change. A
//! file is reported once it has not changed for a moment and its content is complete, and
//! reported again only when its content differs. One that another file has taken the place of
//! is reported at once, if it is complete, and looked at once more after that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tracing::warn;

use super::change::Change;
use super::file::{Identity, Listing, NearMiss, Stamp, State, list, read};
use super::sight::Scanning;
use crate::plugins::FoundFile;
use crate::plugins::component::{is_whole, is_whole_binary};
use crate::plugins::digest::Digest;
use crate::settings::canonical;

/// How long a file must stay unchanged before it is known, or missing before it is gone:
/// longer than the resolution of most file systems' timestamps.
const STABLE: Duration = Duration::from_millis(30);

/// How long a file whose timestamps are whole seconds may change without a sign of it: vfat's are
/// those of two seconds.
const COARSE: Duration = Duration::from_millis(2500);

/// How long incomplete content may take to become complete before it is reported anyway.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a file may be unfinished before people are told.
const UNFINISHED: Duration = Duration::from_mins(2);

/// Finds out what has changed in a folder since the last scan.
pub(super) struct Scanner {
    dir: PathBuf,
    /// The folder that was scanned last.
    identity: Option<Identity>,
    /// Whether several plugins were gone all at once, and no file has come since.
    emptied: bool,
    files: BTreeMap<String, File>,
    /// Files that are no plugins by their names and were perhaps meant to be: since when they
    /// are there, and whether people have been told.
    near_misses: BTreeMap<(PathBuf, NearMiss), (Instant, bool)>,
    /// Each `x.wat` that is not taken, because there is an `x.wasm` or was one.
    passed_over: BTreeMap<PathBuf, Stamp>,
    /// Who is told whenever the file system answers.
    scanning: Scanning,
}

/// What is known of one plugin's file.
struct File {
    path: PathBuf,
    stamp: Stamp,
    /// Another plugin that would have the same settings, and was there before.
    rival: Option<String>,
    /// When it was seen to change last. Its file system's clock may tell another time than
    /// ours.
    since: Instant,
    /// Whether it is another file than before, as after a rename: who writes a file in place
    /// does not make another one.
    is_another: bool,
    /// Whether it has been dealt with, until it changes again.
    checked: bool,
    looks: Looks,
    reported: Reported,
}

/// How often a file that is whole is read until it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    One,
    /// Its timestamps do not show each change: once more after [`COARSE`].
    Two,
    /// The first of the two was.
    OneOfTwo,
}

/// What was last reported of a file.
#[derive(PartialEq, Eq)]
enum Reported {
    /// Nothing, or that it is gone.
    Nothing,
    Unusable,
    /// That it could not be read, and why.
    Unread(String),
    /// What its content is known by.
    Content(Digest),
}

impl Scanner {
    /// A scanner that knows of no file yet. `scanning` is told whenever the file system answers.
    pub(super) fn new(dir: &Path, scanning: Scanning) -> Self {
        Self {
            dir: dir.to_owned(),
            identity: None,
            emptied: false,
            files: BTreeMap::new(),
            near_misses: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            scanning,
        }
    }

    /// A scanner, and all files of the folder as they are now. A file that is still
    /// being written is reported again when it is complete.
    ///
    /// # Errors
    /// The folder cannot be read.
    #[expect(clippy::disallowed_methods, reason = "files change in real time")]
    pub(super) fn first(dir: &Path, scanning: Scanning) -> Result<(Self, Vec<Change>)> {
        let mut scanner = Self::new(dir, scanning);
        let (now, mut changes) = (Instant::now(), Vec::new());
        scanner.refresh(now)?;
        for (name, file) in &mut scanner.files {
            let state = file.read(name, &scanner.scanning);
            scanner.scanning.answered();
            changes.extend(file.change_to(state, name));
        }
        Ok((scanner, changes))
    }

    /// Knows nothing of a plugin any more, as if its file had never been there.
    pub(super) fn forget(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// Reports a plugin's file at the next scan, whether it has changed or not.
    pub(super) fn report_again(&mut self, name: &str) {
        if let Some(file) = self.files.get_mut(name) {
            file.checked = false;
            // Not `Nothing`: should it be gone by then, that is to be reported too.
            file.reported = Reported::Unusable;
        }
    }

    /// Reports to `report` what has changed until `now`. Returns how soon to scan again,
    /// if a file is still changing.
    ///
    /// # Errors
    /// The folder cannot be read, or is empty as a whole. Nothing is reported then.
    pub(super) fn scan(
        &mut self,
        now: Instant,
        mut report: impl FnMut(Change),
    ) -> Result<Option<Duration>> {
        self.refresh(now)?;
        let mut soonest: Option<Duration> = None;
        for (name, file) in &mut self.files {
            let Checked { change, again } = file.check(name, now, &self.scanning);
            self.scanning.answered();
            change.into_iter().for_each(&mut report);
            soonest = soonest.into_iter().chain(again).min();
        }
        self.files.retain(|_, file| !(file.checked && file.stamp == Stamp::Missing));
        Ok(soonest)
    }

    /// Notes which files there are and which of them have changed since the last scan.
    fn refresh(&mut self, now: Instant) -> Result<()> {
        let mut listing = list(&self.dir, &mut || self.scanning.answered())?;
        self.pass_over(&mut listing);
        self.check_not_emptied(&listing)?;
        let Listing { identity, candidates: mut present, near_misses, .. } = listing;
        self.identity = Some(identity);
        self.tell_near_misses(near_misses, now);
        let rivals = self.rivals(present.keys());
        for (name, file) in &mut self.files {
            let (path, stamp) =
                present.remove(name).unwrap_or_else(|| (file.path.clone(), Stamp::Missing));
            file.update(path, stamp, rivals.get(name).cloned(), now);
        }
        for (name, (path, stamp)) in present {
            let rival = rivals.get(&name).cloned();
            self.files.insert(name, File::new(path, stamp, rival, now));
        }
        Ok(())
    }

    /// Leaves out each `x.wat` that was beside an `x.wasm`, for as long as it is what it was then: who
    /// removes `x.wasm`, or puts another one in its place, has not asked for what lay there all along.
    fn pass_over(&mut self, listing: &mut Listing) {
        let before = mem::take(&mut self.passed_over);
        let mut left = Vec::new();
        listing.candidates.retain(|_, (path, stamp)| {
            let is_left = before.get(path) == Some(stamp);
            if is_left {
                left.push((path.clone(), stamp.clone()));
            }
            !is_left
        });
        let beside = mem::take(&mut listing.passed_over);
        for (files, near_miss) in [(beside, NearMiss::Beside), (left, NearMiss::LeftBehind)] {
            listing.near_misses.extend(files.iter().map(|(path, _)| (path.clone(), near_miss)));
            self.passed_over.extend(files);
        }
    }

    /// Checks that the plugins have not gone all together, with the folder's file system or
    /// with what its links lead to. One file that is removed by itself is no such case, nor are
    /// plugins that leave other files behind. What is in the place of a folder whose file system
    /// is gone may have plugins too, of long ago: without any that is known, it is not taken for
    /// the same folder.
    fn check_not_emptied(&mut self, listing: &Listing) -> Result<()> {
        let dir = self.dir.display();
        let names = || self.files.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let is_another = self.identity.as_ref().is_some_and(|old| *old != listing.identity);
        // A link that led nowhere before leads no further than it did.
        let is_known = |(name, file): (&String, &File)| {
            let found = listing.candidates.get(name);
            found.is_some_and(|(_, stamp)| !stamp.is_dangling() || file.stamp.is_dangling())
        };
        let has_known = self.files.iter().any(is_known);
        if is_another && !self.files.is_empty() && !has_known {
            bail!(
                "the plugins' folder {dir} is another one and has none of the plugins {}",
                names()
            );
        }
        let has_any = listing.candidates.values().any(|(_, stamp)| !stamp.is_dangling());
        if self.files.is_empty() || has_any {
            self.emptied = false;
            return Ok(());
        }
        let names = names();
        let is_lost = |(name, file): (&String, &File)| {
            listing.candidates.contains_key(name) && !file.stamp.is_dangling()
        };
        if self.files.iter().any(is_lost) {
            bail!(
                "the links in the plugins' folder {dir} lead nowhere, and so the plugins {names}"
            );
        }
        let gone = self.files.keys().filter(|name| !listing.candidates.contains_key(*name)).count();
        // The last of them stays too, when people have removed the others by name.
        self.emptied = gone > 0 && (self.emptied || listing.is_empty && gone > 1);
        if self.emptied {
            bail!("the plugins' folder {dir} is empty: the plugins {names} are all gone at once");
        }
        Ok(())
    }

    /// The plugins that would have the settings of another one, with that one's name. A plugin
    /// that runs stays; of new ones, the one that is called as the settings are, or the first.
    fn rivals<'n>(&self, names: impl Iterator<Item = &'n String>) -> BTreeMap<String, String> {
        let mut alike: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        for name in names {
            alike.entry(canonical(name)).or_default().push(name);
        }
        let mut rivals = BTreeMap::new();
        for names in alike.into_values().filter(|names| names.len() > 1) {
            let runs = |name: &&&String| {
                let file = self.files.get(**name);
                file.is_some_and(|file| matches!(file.reported, Reported::Content(_)))
            };
            let is_called_so = |name: &&&String| canonical(name) == ***name;
            let stays = names.iter().find(runs).or_else(|| names.iter().find(is_called_so));
            let Some(stays) = stays.or(names.first()) else { continue };
            let others = names.iter().filter(|name| *name != stays);
            rivals.extend(others.map(|name| ((*name).clone(), (*stays).clone())));
        }
        rivals
    }

    /// Tells people once of files that are not taken for plugins.
    fn tell_near_misses(&mut self, near_misses: Vec<(PathBuf, NearMiss)>, now: Instant) {
        let present: BTreeSet<&(PathBuf, NearMiss)> = near_misses.iter().collect();
        self.near_misses.retain(|near_miss, _| present.contains(near_miss));
        for (path, near_miss) in near_misses {
            let entry = self.near_misses.entry((path.clone(), near_miss));
            let (since, told) = entry.or_insert((now, false));
            let is_time = near_miss != NearMiss::Unfinished
                || now.saturating_duration_since(*since) >= UNFINISHED;
            if !is_time || mem::replace(told, true) {
                continue;
            }
            let path = path.display();
            match near_miss {
                NearMiss::Case => warn!(
                    "{path} is not loaded: the name of a plugin's file ends in .wasm or .wat, in lower case"
                ),
                NearMiss::Unfinished => warn!(
                    "{path} has been there for minutes and is not loaded: if it was copied, the copy \
                     was never completed"
                ),
                NearMiss::Beside => warn!(
                    "{path} is not loaded: the plugin of this name is the file beside it that ends in \
                     .wasm; remove it, or the other one and put this one there again"
                ),
                NearMiss::LeftBehind => warn!(
                    "{path} is not loaded: it lay beside a file that ends in .wasm, which is gone now; if \
                     it is to be the plugin, put it there again, or remove it"
                ),
            }
        }
    }
}

/// What came of looking at a file.
#[derive(Default)]
struct Checked {
    change: Option<Change>,
    /// How long to wait before it is to be looked at again.
    again: Option<Duration>,
}

impl Checked {
    /// It is still changing.
    fn unstable(wait: Duration) -> Self {
        Self { change: None, again: Some(wait) }
    }
}

impl File {
    fn new(path: PathBuf, stamp: Stamp, rival: Option<String>, now: Instant) -> Self {
        let (is_another, checked, reported) = (false, false, Reported::Nothing);
        let looks = if stamp.is_coarse() { Looks::Two } else { Looks::One };
        Self { path, stamp, rival, since: now, is_another, checked, looks, reported }
    }

    fn update(&mut self, path: PathBuf, stamp: Stamp, rival: Option<String>, now: Instant) {
        if stamp != self.stamp || path != self.path || rival != self.rival {
            let reported = mem::replace(&mut self.reported, Reported::Nothing);
            let is_another = stamp.is_another_file_than(&self.stamp);
            *self = Self { reported, is_another, ..Self::new(path, stamp, rival, now) };
        }
    }

    /// What the file is now.
    fn read(&self, name: &str, scanning: &Scanning) -> State {
        match (&self.rival, &self.stamp) {
            (Some(rival), Stamp::Present { .. }) => State::Unusable(format!(
                "plugins {rival:?} and {name:?} would share the settings [plugin.{}], and {rival:?} was \
                 there first: rename one of the files",
                canonical(name)
            )),
            _ => read(name, &self.path, &self.stamp, &mut || scanning.answered()),
        }
    }

    /// Reads the file if it has changed and is stable, or is a complete one in another's place.
    fn check(&mut self, name: &str, now: Instant, scanning: &Scanning) -> Checked {
        if self.checked {
            return Checked::default();
        }
        let unchanged = now.saturating_duration_since(self.since);
        let left = STABLE.saturating_sub(unchanged);
        if !left.is_zero() && !self.is_another {
            return Checked::unstable(left);
        }
        let coarse = COARSE.saturating_sub(unchanged);
        if self.looks == Looks::OneOfTwo && !coarse.is_zero() {
            return Checked::unstable(coarse);
        }
        let state = self.read(name, scanning);
        match &state {
            State::Changing => return Checked::unstable(STABLE),
            // A change within the resolution of timestamps would not be seen otherwise.
            State::Content(content) if !left.is_zero() && is_whole_binary(&content.bytes) => {
                self.is_another = false;
                return Checked { change: self.change_to(state, name), again: Some(left) };
            }
            _ if !left.is_zero() => return Checked::unstable(left),
            // Read again at growing intervals.
            State::Content(content) if unchanged < PATIENCE && !is_whole(&content.bytes) => {
                return Checked::unstable(unchanged.min(PATIENCE - unchanged).max(STABLE));
            }
            State::Content(_) if self.looks == Looks::Two && !coarse.is_zero() => {
                self.looks = Looks::OneOfTwo;
                return Checked { change: self.change_to(state, name), again: Some(coarse) };
            }
            // Read again at the next scan: the file need not change for that to pass.
            State::Unread(_) => {}
            _ => self.checked = true,
        }
        Checked { change: self.change_to(state, name), again: None }
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
            State::Unread(reason) => {
                (Reported::Unread(reason.clone()), Change::Unusable { name, path, reason })
            }
            State::Content(content) => {
                let found = FoundFile::with(name, path, content);
                (Reported::Content(found.digest), Change::Present(found))
            }
        };
        let before = mem::replace(&mut self.reported, now);
        // A file may be unusable again for another reason.
        (before != self.reported || before == Reported::Unusable).then_some(change)
    }
}

#[cfg(test)]
mod tests;
