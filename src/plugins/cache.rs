//! A cache of compiled code on disk, keyed by the content that it was compiled from and by
//! all else that the code depends on.
//!
//! Whatever code is in the cache is run, so a folder that another user can write to
//! is not used.

use std::fs;
use std::hash::Hash;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::fs::{StatVfsMountFlags, statvfs};
use tempfile::{NamedTempFile, PersistError};
use tracing::{debug, warn};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::digest::{Digest, DigestHasher};

/// Code that has not been used for this long is removed.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How much code is kept: what has not been used for longest goes first. More than any router's
/// plugins need, with all that they were in the last weeks.
const ROOM: Room = Room { bytes: 4 << 30, files: 1000 };

/// What the router was writing when it was killed is removed after this.
const MAX_UNFINISHED: Duration = Duration::from_secs(24 * 3600);

/// What [`Cache::file`]'s names begin with.
const UNFINISHED: &str = ".tmp";

/// Code could not be written to a file of the cache. It can be compiled without one.
#[derive(Debug)]
pub(super) struct NotWritten;

impl std::fmt::Display for NotWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the cache folder does not take compiled code")
    }
}

/// How much there may be of something.
struct Room {
    bytes: u64,
    files: usize,
}

/// A folder with compiled code.
pub(super) struct Cache {
    dir: PathBuf,
    /// Of wasmtime's version, the engine's settings, what the processor can do, and the
    /// router's version: code is only valid for the same.
    engine: Digest,
    room: Room,
    /// Used when code cannot be stored: the folder stays as it is until people do something.
    told: Once,
}

impl Cache {
    /// Opens the folder, creating it if it is missing.
    ///
    /// # Errors
    /// The folder cannot be created or written to, other users can write to it, or code in it
    /// cannot be run.
    pub(super) fn open(dir: &Path, engine: &Engine) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot create the cache folder {}", dir.display()))?;
        check_private(dir)?;
        check_executable(dir)?;
        let mut hasher = DigestHasher::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // Components made of modules depend on the router's version too.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        let (dir, engine) = (dir.to_owned(), hasher.digest());
        Ok(Self { dir, engine, room: ROOM, told: Once::new() })
    }

    /// The code compiled from the content with this hash.
    pub(super) fn get(&self, engine: &Engine, content: Digest) -> Option<Component> {
        let path = self.path(content);
        let file = fs::File::options().write(true).open(&path).ok()?;
        #[expect(unsafe_code, reason = "wasmtime cannot know whose code it is; we do")]
        // SAFETY: only this user can write to the folder, and only `put` gives a file such
        // a name, once it holds all of what an engine with this hash compiled.
        let loaded = unsafe { Component::deserialize_file(engine, &path) };
        match loaded {
            Ok(component) => {
                // This only delays its pruning, so a failure does not matter.
                #[expect(clippy::disallowed_methods, reason = "the file system's own time")]
                let _ = file.set_modified(SystemTime::now());
                Some(component)
            }
            // It may be valid for the other runtime; otherwise it is overwritten soon.
            Err(error) => {
                debug!(path = %path.display(), "cached code does not load: {error:#}");
                None
            }
        }
    }

    /// Stores the code compiled from the content with this hash. If the folder cannot be
    /// written to, that is said once.
    pub(super) fn put(&self, content: Digest, code: &[u8]) {
        if let Err(error) = self.try_put(content, code) {
            self.not_stored(&error);
        }
    }

    /// Says once that code cannot be stored.
    pub(super) fn not_stored(&self, error: &anyhow::Error) {
        self.told.call_once(|| {
            warn!("compiled code cannot be cached, and each load compiles it again: {error:#}");
        });
    }

    /// A file in the folder to write code into, for [`Cache::keep`]; none if that is impossible.
    pub(super) fn file(&self) -> Option<NamedTempFile> {
        NamedTempFile::with_prefix_in(UNFINISHED, &self.dir).ok()
    }

    /// Stores the code in a file of [`Cache::file`], compiled from the content with this hash.
    /// Gives the code if the file cannot get its name, which is said once.
    ///
    /// # Errors
    /// The code could not be written to the disk, or cannot be read back ([`NotWritten`]).
    pub(super) fn keep(&self, content: Digest, file: NamedTempFile) -> Result<Option<Vec<u8>>> {
        // Otherwise the renamed file could be empty after a crash. Where this fails, nobody knows
        // what is read back, and it would be run.
        file.as_file().sync_data().context(NotWritten)?;
        let path = self.path(content);
        match file.persist(&path) {
            Ok(_) => {
                self.make_room(&path);
                Ok(None)
            }
            Err(PersistError { error, file }) => {
                self.not_stored(&error.into());
                Ok(Some(fs::read(file.path()).context(NotWritten)?))
            }
        }
    }

    fn try_put(&self, content: Digest, code: &[u8]) -> Result<()> {
        let path = self.path(content);
        let write = || {
            let mut file = NamedTempFile::with_prefix_in(UNFINISHED, &self.dir)?;
            file.write_all(code)?;
            // Otherwise the renamed file could be empty after a crash.
            file.as_file().sync_data()?;
            file.persist(&path)?;
            self.make_room(&path);
            anyhow::Ok(())
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    fn path(&self, content: Digest) -> PathBuf {
        self.dir.join(format!("{}.cwasm", content.with(self.engine)))
    }

    /// Removes what has not been used for longest, as far as it can, until there is no more than
    /// there is room for. What was put there just now stays.
    fn make_room(&self, new: &Path) {
        let code = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let code = code.map(|entry| entry.path()).filter(|path| is_code(path));
        let mut code: Vec<(SystemTime, u64, PathBuf)> = code
            .filter_map(|path| {
                let data = fs::metadata(&path).ok()?;
                Some((data.modified().ok()?, data.len(), path))
            })
            .collect();
        code.sort_unstable();
        let (mut bytes, mut files) =
            (code.iter().map(|(_, size, _)| size).sum::<u64>(), code.len());
        for (_, size, path) in code.iter().filter(|(.., path)| path != new) {
            if bytes <= self.room.bytes && files <= self.room.files {
                return;
            }
            if fs::remove_file(path).is_ok() {
                (bytes, files) = (bytes - size, files - 1);
            }
        }
    }

    /// Removes what has not been used for long, as far as it can. What runs now has been used when
    /// it was loaded: only after that is it known what has not been.
    pub(super) fn prune(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let max_age = if is_code(&path) {
                MAX_AGE
            } else if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                MAX_UNFINISHED
            } else {
                continue;
            };
            let modified = fs::metadata(&path).and_then(|data| data.modified()).ok();
            if modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > max_age) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Whether a file of the folder is named as code is.
fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cwasm")
}

/// Checks that what is in the folder can be run: code is mapped into memory from there.
fn check_executable(dir: &Path) -> Result<()> {
    // Where the system does not say, loading shows it.
    if statvfs(dir).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        bail!(
            "the cache folder {} is on a file system that is mounted noexec: set another one with \
             [plugins] cache_dir",
            dir.display()
        );
    }
    Ok(())
}

/// Checks that the folder is ours and that nobody else can write to it.
fn check_private(dir: &Path) -> Result<()> {
    let folder = fs::metadata(dir).with_context(|| format!("cache folder {}", dir.display()))?;
    let mode = folder.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        bail!(
            "other users can write to the cache folder {} (mode {mode:03o}), and its content is \
             executed: chmod 700 it, or set another one with [plugins] cache_dir",
            dir.display()
        );
    }
    let probe = NamedTempFile::new_in(dir)
        .with_context(|| format!("cannot write to the cache folder {}", dir.display()))?;
    if probe.as_file().metadata()?.uid() != folder.uid() {
        bail!(
            "the cache folder {} belongs to another user, and its content is executed: set another \
             one with [plugins] cache_dir",
            dir.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
