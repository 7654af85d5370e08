//! The state of files in the folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::name::{check_name, is_plugin_file};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// A file's metadata: when the file changes, so does this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    Missing,
    Unreadable(String),
    Present { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
}

/// What a file turned out to be when it was read.
pub(super) enum State {
    Gone,
    /// It cannot be loaded, and why.
    Unusable(String),
    Content(Vec<u8>),
    /// It changed while it was being read.
    Changing,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(file) => Stamp::Present {
                device: file.dev(),
                inode: file.ino(),
                size: file.size(),
                modified: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Stamp::Missing,
            Err(error) => Stamp::Unreadable(error.to_string()),
        }
    }

    /// How long ago the file changed, according to its file system.
    pub(super) fn age(&self) -> Duration {
        let Stamp::Present { changed: (seconds, nanoseconds), .. } = self else {
            return Duration::ZERO;
        };
        let since_epoch = u64::try_from(*seconds).ok().zip(u32::try_from(*nanoseconds).ok());
        let changed =
            since_epoch.and_then(|(s, n)| SystemTime::UNIX_EPOCH.checked_add(Duration::new(s, n)));
        changed.and_then(|changed| changed.elapsed().ok()).unwrap_or_default()
    }
}

/// The files in the folder that could be plugins, by name. `x.wasm` takes precedence
/// over `x.wat`.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn candidates(dir: &Path) -> Result<BTreeMap<String, (PathBuf, Stamp)>> {
    let unreadable = || format!("the plugins' folder {} cannot be read", dir.display());
    let mut candidates = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let (Some(stem), Some(extension)) = (path.file_stem(), path.extension()) else { continue };
        if !is_plugin_file(&path) || is_hidden(stem) {
            continue;
        }
        let stamp = Stamp::of(&path);
        let name = stem.to_string_lossy().into_owned();
        // A dangling link is not a file.
        if stamp != Stamp::Missing && (extension == "wasm" || !candidates.contains_key(&name)) {
            candidates.insert(name, (path, stamp));
        }
    }
    Ok(candidates)
}

/// Copying tools write to a hidden file first, and rename it when it is complete.
fn is_hidden(stem: &OsStr) -> bool {
    stem.as_encoded_bytes().starts_with(b".")
}

/// Reads the file that `stamp` was taken of.
pub(super) fn read(name: &str, path: &Path, stamp: &Stamp) -> State {
    match stamp {
        Stamp::Missing => return State::Gone,
        Stamp::Unreadable(error) => return unreadable(error),
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
    match fs::read(path) {
        Ok(_) if Stamp::of(path) != *stamp => State::Changing,
        Ok(bytes) => State::Content(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => State::Changing,
        Err(error) => unreadable(&error.to_string()),
    }
}

fn unreadable(error: &str) -> State {
    State::Unusable(format!("the file cannot be read ({error}): let the router's user read it"))
}
