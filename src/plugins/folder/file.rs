//! The state of files in the folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use super::name::{check_name, is_plugin_file};
use crate::plugins::file::{self, Content, LARGEST};

/// A file's metadata: when the file changes, so does this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    Missing,
    /// A link, to where nothing is.
    Dangling(PathBuf),
    Unreadable(String, ErrorKind),
    Present {
        device: u64,
        inode: u64,
        size: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

/// What a file turned out to be when it was read.
pub(super) enum State {
    Gone,
    /// It cannot be loaded, and why.
    Unusable(String),
    /// It could not be read, and why. That may pass without a change of the file.
    Unread(String),
    Content(Content),
    /// It changed while it was being read.
    Changing,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(file) => Stamp::Present {
                device: file.dev(),
                inode: file.ino(),
                size: file.size(),
                modified: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::read_link(path).map_or(Stamp::Missing, Stamp::Dangling)
            }
            Err(error) => Stamp::Unreadable(error.to_string(), error.kind()),
        }
    }

    /// Whether it is a link to where nothing is.
    pub(super) fn is_dangling(&self) -> bool {
        matches!(self, Stamp::Dangling(_))
    }

    /// Whether it is perhaps of a file system that tells whole seconds only.
    pub(super) fn is_coarse(&self) -> bool {
        matches!(self, Stamp::Present { modified: (_, 0), changed: (_, 0), .. })
    }

    /// Whether there is a file in another one's place.
    pub(super) fn is_another_file_than(&self, before: &Self) -> bool {
        match (self, before) {
            (
                Stamp::Present { device, inode, .. },
                Stamp::Present { device: old_device, inode: old_inode, .. },
            ) => (device, inode) != (old_device, old_inode),
            _ => false,
        }
    }
}

/// What is in the folder.
pub(super) struct Listing {
    /// Which folder it is: another one may have been put in its place.
    pub(super) identity: Identity,
    /// The files that could be plugins, by name. `x.wasm` takes precedence over `x.wat`.
    pub(super) candidates: BTreeMap<String, (PathBuf, Stamp)>,
    /// Each `x.wat` that is beside an `x.wasm`.
    pub(super) passed_over: Vec<(PathBuf, Stamp)>,
    /// Files that are no plugins by their names, and were perhaps meant to be.
    pub(super) near_misses: Vec<(PathBuf, NearMiss)>,
    /// Whether nothing can be read: there is no file, or there are links that lead nowhere.
    pub(super) is_empty: bool,
}

/// Which folder it is: device, inode, and when it was made, since inodes are used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64, Option<SystemTime>);

impl Identity {
    pub(super) fn of(folder: &fs::Metadata) -> Self {
        Self(folder.dev(), folder.ino(), folder.created().ok())
    }
}

/// Why a file may have been meant to be a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NearMiss {
    /// `x.WASM`
    Case,
    /// `x.wasm.part`, which a copying tool renames when it is done.
    Unfinished,
    /// `x.wat` beside `x.wasm`.
    Beside,
    /// That `x.wat`, when `x.wasm` is gone.
    LeftBehind,
}

/// Lists the folder. Tells `answered` of each entry: many of them on a slow disk take their time.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn list(dir: &Path, answered: &mut dyn FnMut()) -> Result<Listing> {
    let unreadable = || format!("the plugins' folder {} cannot be read", dir.display());
    let folder = fs::metadata(dir).with_context(unreadable)?;
    let mut listing = Listing {
        identity: Identity::of(&folder),
        candidates: BTreeMap::new(),
        passed_over: Vec::new(),
        near_misses: Vec::new(),
        is_empty: true,
    };
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        answered();
        listing.add(entry.with_context(unreadable)?.path());
    }
    // What is read next has as much time.
    answered();
    Ok(listing)
}

impl Listing {
    fn add(&mut self, path: PathBuf) {
        let Some(stem) = path.file_stem().filter(|stem| !is_hidden(stem)) else { return };
        if !is_plugin_file(&path) {
            self.is_empty = false;
            let near_miss = near_miss(&path);
            self.near_misses.extend(near_miss.map(|near_miss| (path, near_miss)));
            return;
        }
        let stamp = Stamp::of(&path);
        // It was removed since the folder was listed.
        if stamp == Stamp::Missing {
            return;
        }
        self.is_empty &= stamp.is_dangling();
        let name = stem.to_string_lossy().into_owned();
        let is_first_choice = path.extension().is_some_and(|extension| extension == "wasm");
        let passed_over = match is_first_choice || !self.candidates.contains_key(&name) {
            true => self.candidates.insert(name, (path, stamp)),
            false => Some((path, stamp)),
        };
        self.passed_over.extend(passed_over);
    }
}

/// What tools call a file until all of it is there.
const UNFINISHED: [&str; 7] =
    ["part", "partial", "filepart", "tmp", "temp", "crdownload", "download"];

fn near_miss(path: &Path) -> Option<NearMiss> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    if extension == "wasm" || extension == "wat" {
        return Some(NearMiss::Case);
    }
    let inner = Path::new(path.file_stem()?);
    (UNFINISHED.contains(&extension.as_str()) && is_plugin_file(inner))
        .then_some(NearMiss::Unfinished)
}

/// Copying tools write to a hidden file first, and rename it when it is complete.
fn is_hidden(stem: &OsStr) -> bool {
    stem.as_encoded_bytes().starts_with(b".")
}

/// Reads the file that `stamp` was taken of. Tells `answered` of each part.
pub(super) fn read(name: &str, path: &Path, stamp: &Stamp, answered: &mut dyn FnMut()) -> State {
    match stamp {
        Stamp::Missing => return State::Gone,
        Stamp::Dangling(target) => return dangling(path, target),
        Stamp::Unreadable(error, kind) => return unreadable(error, *kind),
        Stamp::Present { .. } => {}
    }
    if let Err(reason) = check_name(name) {
        return State::Unusable(reason.to_string());
    }
    match fs::metadata(path) {
        Ok(file) if file.is_dir() => {
            return State::Unusable("it is a directory: put the plugin's file itself here".into());
        }
        // Reading a pipe could block for ever.
        Ok(file) if !file.is_file() => {
            return State::Unusable("it is not a regular file".into());
        }
        Ok(file) if file.len() > LARGEST => {
            return State::Unusable(format!("it has {} bytes; the limit is {LARGEST}", file.len()));
        }
        _ => {}
    }
    match file::read(path, answered) {
        Ok(_) if Stamp::of(path) != *stamp => State::Changing,
        Ok(content) => State::Content(content),
        // Something else may be in its place by now, which is looked at anew.
        Err(_) if Stamp::of(path) != *stamp => State::Changing,
        Err(error) => unreadable(&error.to_string(), error.kind()),
    }
}

fn dangling(link: &Path, target: &Path) -> State {
    let at = link.parent().unwrap_or(Path::new("")).join(target);
    State::Unread(format!(
        "it is a link to {}, and there is nothing at {}: let it lead to the plugin's file, or remove \
         it; the router keeps trying",
        target.display(),
        at.display()
    ))
}

fn unreadable(error: &str, kind: ErrorKind) -> State {
    let advice = match kind {
        ErrorKind::PermissionDenied => "let the router's user read it",
        _ => "the router keeps trying",
    };
    State::Unread(format!("the file cannot be read ({error}): {advice}"))
}
