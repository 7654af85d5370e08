//! Looking at the folder: which files are plugins, and which of them have changed.
//!
//! What decides is the state that a file is in, not how long ago someone
//! announced a change: a file is told once it has stood still for a moment and
//! its content is whole, and told again only when its content is another.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::Change;
use crate::plugins::Source;
use crate::plugins::component::is_whole;

/// How long a file must have stood still to be read, or be missing to be gone:
/// longer than file systems' clocks are coarse.
const STILL: Duration = Duration::from_millis(30);

/// How long content that is not whole may become so before it is told as it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// The longest name of a plugin, in characters.
const LONGEST_NAME: usize = 64;

/// The name whose queue would be that of the dead letters. With another queue prefix
/// it would not be; but what a file is should not hang on that.
const RESERVED: &str = "dead";

/// What is known of a folder.
pub(super) struct Looks {
    dir: PathBuf,
    files: BTreeMap<String, File>,
}

/// What is known of one plugin's file.
struct File {
    path: PathBuf,
    stamp: Stamp,
    /// Since when it has stood still.
    since: Instant,
    /// Whether there is nothing to tell before it changes.
    settled: bool,
    told: Told,
}

/// What was told last.
#[derive(PartialEq, Eq)]
enum Told {
    Nothing,
    Refused,
    /// The hash of what was in it.
    Content(u128),
}

/// What changes whenever a file does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    Unreadable(String),
    There { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
}

/// What there is to say of a file that stands still.
enum State {
    Gone,
    Refused(String),
    Content(Vec<u8>),
    /// It changed while it was read.
    Moving,
}

impl Looks {
    /// What is in the folder now, told as it stands. What was still being written is
    /// told again when it is whole.
    ///
    /// # Errors
    /// The folder cannot be read.
    #[expect(clippy::disallowed_methods, reason = "files change in real time")]
    pub(super) fn first(dir: &Path) -> Result<(Self, Vec<Change>)> {
        let (now, mut looks, mut changes) = (Instant::now(), Self::new(dir), Vec::new());
        for (name, (path, stamp)) in candidates(dir)? {
            let state = state(&name, &path, &stamp);
            let mut file = File::new(path, stamp, now);
            changes.extend(file.news(name.clone(), state));
            looks.files.insert(name, file);
        }
        Ok((looks, changes))
    }

    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), files: BTreeMap::new() }
    }

    /// Looks at the folder as it is at `now`, and tells what has changed.
    /// Returns how soon to look again, if something is still moving.
    ///
    /// # Errors
    /// The folder cannot be read. Nothing has changed then.
    pub(super) fn look(
        &mut self,
        now: Instant,
        mut tell: impl FnMut(Change),
    ) -> Result<Option<Duration>> {
        self.take_stock(now)?;
        let mut soonest: Option<Duration> = None;
        for (name, file) in &mut self.files {
            match file.settle(name, now) {
                Ok(change) => change.into_iter().for_each(&mut tell),
                Err(Unsettled { wait }) => {
                    soonest = Some(soonest.map_or(wait, |soonest| soonest.min(wait)));
                }
            }
        }
        self.files.retain(|_, file| !(file.settled && file.stamp == Stamp::Missing));
        Ok(soonest)
    }

    /// Notes which files are there, and which of them have changed since the last look.
    fn take_stock(&mut self, now: Instant) -> Result<()> {
        let mut present = candidates(&self.dir)?;
        for (name, file) in &mut self.files {
            let (path, stamp) =
                present.remove(name).unwrap_or_else(|| (file.path.clone(), Stamp::Missing));
            file.note(path, stamp, now);
        }
        for (name, (path, stamp)) in present {
            self.files.insert(name, File::new(path, stamp, now));
        }
        Ok(())
    }
}

/// A file that is to be looked at again, so soon.
struct Unsettled {
    wait: Duration,
}

impl File {
    fn new(path: PathBuf, stamp: Stamp, now: Instant) -> Self {
        let since = now.checked_sub(stamp.age()).unwrap_or(now);
        Self { path, stamp, since, settled: false, told: Told::Nothing }
    }

    fn note(&mut self, path: PathBuf, stamp: Stamp, now: Instant) {
        if stamp != self.stamp || path != self.path {
            let told = std::mem::replace(&mut self.told, Told::Nothing);
            *self = Self { told, ..Self::new(path, stamp, now) };
        }
    }

    /// What to tell of the file, if anything.
    fn settle(&mut self, name: &str, now: Instant) -> Result<Option<Change>, Unsettled> {
        if self.settled {
            return Ok(None);
        }
        let still = now.saturating_duration_since(self.since);
        if still < STILL {
            return Err(Unsettled { wait: STILL - still });
        }
        let state = state(name, &self.path, &self.stamp);
        match &state {
            State::Moving => return Err(Unsettled { wait: STILL }),
            // Looked at less and less often.
            State::Content(bytes) if still < PATIENCE && !is_whole(bytes) => {
                return Err(Unsettled { wait: still.min(PATIENCE - still).max(STILL) });
            }
            _ => self.settled = true,
        }
        Ok(self.news(name.to_owned(), state))
    }

    /// The change that leads from what was told last to `state`.
    fn news(&mut self, name: String, state: State) -> Option<Change> {
        let (now, change) = match state {
            State::Moving => return None,
            State::Gone => (Told::Nothing, Change::Gone { name }),
            State::Refused(reason) => {
                (Told::Refused, Change::Refused { name, path: self.path.clone(), reason })
            }
            State::Content(bytes) => {
                let content = Told::Content(xxh3_128(&bytes));
                let path = self.path.clone();
                (content, Change::Present(Source { name, path, bytes: bytes.into() }))
            }
        };
        let before = std::mem::replace(&mut self.told, now);
        // A file that stays refused may be so for another reason.
        (before != self.told || before == Told::Refused).then_some(change)
    }
}

impl Stamp {
    /// How long ago the file was changed, as far as its file system says.
    fn age(&self) -> Duration {
        let Stamp::There { changed: (seconds, nanoseconds), .. } = self else {
            return Duration::ZERO;
        };
        let since_epoch = u64::try_from(*seconds).ok().zip(u32::try_from(*nanoseconds).ok());
        let changed =
            since_epoch.and_then(|(s, n)| SystemTime::UNIX_EPOCH.checked_add(Duration::new(s, n)));
        changed.and_then(|changed| changed.elapsed().ok()).unwrap_or_default()
    }
}

fn stamp(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(file) => Stamp::There {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Stamp::Missing,
        Err(error) => Stamp::Unreadable(error.to_string()),
    }
}

/// The files that would be plugins, by their names. Of `x.wasm` and `x.wat` it is
/// the first.
fn candidates(dir: &Path) -> Result<BTreeMap<String, (PathBuf, Stamp)>> {
    let unreadable = || format!("the plugins' folder {} cannot be read", dir.display());
    let mut candidates = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let (Some(stem), Some(ending)) = (path.file_stem(), path.extension()) else { continue };
        let is_plugin = ending == "wasm" || ending == "wat";
        if !is_plugin || is_hidden(stem) {
            continue;
        }
        let stamp = stamp(&path);
        let name = stem.to_string_lossy().into_owned();
        // A link to nowhere is no file.
        if stamp != Stamp::Missing && (ending == "wasm" || !candidates.contains_key(&name)) {
            candidates.insert(name, (path, stamp));
        }
    }
    Ok(candidates)
}

/// Tools that copy write to hidden files before they rename them.
fn is_hidden(stem: &OsStr) -> bool {
    stem.as_encoded_bytes().starts_with(b".")
}

fn state(name: &str, path: &Path, stamp: &Stamp) -> State {
    match stamp {
        Stamp::Missing => return State::Gone,
        Stamp::Unreadable(error) => return unreadable(error),
        Stamp::There { .. } => {}
    }
    if let Err(reason) = check_name(name) {
        return State::Refused(reason);
    }
    match fs::metadata(path) {
        Ok(file) if file.is_dir() => {
            return State::Refused("it is a directory: put the plugin's file itself here".into());
        }
        // Reading a pipe could wait for ever.
        Ok(file) if !file.is_file() => return State::Refused("it is not a file".into()),
        Ok(file) if file.len() > LARGEST => {
            return State::Refused(format!(
                "it has {} bytes, where {LARGEST} are the most",
                file.len()
            ));
        }
        _ => {}
    }
    match fs::read(path) {
        Ok(_) if self::stamp(path) != *stamp => State::Moving,
        Ok(bytes) => State::Content(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::Moving,
        Err(error) => unreadable(&error.to_string()),
    }
}

fn unreadable(error: &str) -> State {
    State::Refused(format!("the file cannot be read ({error}): let the router's user read it"))
}

/// Names become parts of queues' and settings' names.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name == RESERVED {
        return Err(format!(
            "{name:?} cannot be a plugin's name, since mo-router.{name} is the queue of the dead \
             letters: rename the file"
        ));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(fits) && (1..=LONGEST_NAME).contains(&name.len()) {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot be a plugin's name, which is 1 to {LONGEST_NAME} letters, digits, hyphens \
         and underscores: rename the file"
    ))
}
