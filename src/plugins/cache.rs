//! Compiled code on disk, by the content that it was compiled from.
//!
//! Compiled code is run as it is found, so the folder must be the router's own:
//! one that another user can write to is refused.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tracing::debug;
use wasmtime::Engine;
use wasmtime::component::Component;
use xxhash_rust::xxh3::Xxh3;

/// Code that nothing has used for so long is removed.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A folder of compiled code.
pub(super) struct Cache {
    dir: PathBuf,
    /// Tells the code of this engine, with these settings, from others'.
    engine: u64,
}

impl Cache {
    /// Opens the folder, which is made if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made, or others can write to it.
    pub(super) fn open(dir: &Path, engine: &Engine) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cache folder {} cannot be made", dir.display()))?;
        check_private(dir)?;
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // How a module is made a component is the router's own doing.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        let cache = Self { dir: dir.to_owned(), engine: hasher.finish() };
        cache.prune();
        Ok(cache)
    }

    /// The code compiled from the content with this hash, if there is any that loads.
    pub(super) fn get(&self, engine: &Engine, content: u128) -> Option<Component> {
        let path = self.path(content);
        let file = fs::File::options().write(true).open(&path).ok()?;
        #[expect(unsafe_code, reason = "wasmtime must trust the code that it loads")]
        // SAFETY: the file lies in a folder that only this user can write to, under a
        // name that only `put` gives, whole, to what this engine compiled.
        let loaded = unsafe { Component::deserialize_file(engine, &path) };
        match loaded {
            Ok(component) => {
                // Only keeps it from being pruned.
                #[expect(clippy::disallowed_methods, reason = "the file system's own time")]
                let _ = file.set_modified(SystemTime::now());
                Some(component)
            }
            // It may be good for another runtime, and what is not is soon overwritten.
            Err(error) => {
                debug!(path = %path.display(), "cached code does not load: {error:#}");
                None
            }
        }
    }

    /// Keeps what was compiled from the content with this hash.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn put(&self, content: u128, code: &[u8]) -> Result<()> {
        let path = self.path(content);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(code)?;
            // Renamed before its bytes are on disk, it could be found hollow after a crash.
            file.as_file().sync_data()?;
            file.persist(&path)?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("compiled code cannot be kept as {}", path.display()))
    }

    fn path(&self, content: u128) -> PathBuf {
        self.dir.join(format!("{content:032x}-{:016x}.cwasm", self.engine))
    }

    /// Removes what has not been used for long. What cannot be removed stays.
    fn prune(&self) {
        let old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|data| data.modified()).ok();
            modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > KEPT)
        };
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "cwasm") && old(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Whether the folder is ours, and no one else's to write to.
fn check_private(dir: &Path) -> Result<()> {
    let folder = fs::metadata(dir).with_context(|| format!("cache folder {}", dir.display()))?;
    let mode = folder.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        bail!(
            "cache folder {} can be written to by others (mode {mode:03o}), and what is in it is \
             run: chmod 700 it, or set another with [plugins] cache_dir",
            dir.display()
        );
    }
    let probe = tempfile::NamedTempFile::new_in(dir)
        .with_context(|| format!("cache folder {} cannot be written to", dir.display()))?;
    if probe.as_file().metadata()?.uid() != folder.uid() {
        bail!(
            "cache folder {} belongs to another user, and what is in it is run: set another with \
             [plugins] cache_dir",
            dir.display()
        );
    }
    Ok(())
}
