//! A cache of compiled code on disk, keyed by the content that it was compiled from.
//!
//! Whatever code is in the cache is run, so a folder that another user can write to
//! is not used.

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

/// Code that has not been used for this long is removed.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A folder with compiled code.
pub(super) struct Cache {
    dir: PathBuf,
    /// A hash of the engine's version and settings: code is only valid for the same.
    engine: u64,
}

impl Cache {
    /// Opens the folder, creating it if it is missing.
    ///
    /// # Errors
    /// The folder cannot be created, or other users can write to it.
    pub(super) fn open(dir: &Path, engine: &Engine) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot create the cache folder {}", dir.display()))?;
        check_private(dir)?;
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // Components made of modules depend on the router's version too.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        let cache = Self { dir: dir.to_owned(), engine: hasher.finish() };
        cache.prune();
        Ok(cache)
    }

    /// The code compiled from the content with this hash.
    pub(super) fn get(&self, engine: &Engine, content: u128) -> Option<Component> {
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

    /// Stores the code compiled from the content with this hash.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn put(&self, content: u128, code: &[u8]) -> Result<()> {
        let path = self.path(content);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(code)?;
            // Otherwise the renamed file could be empty after a crash.
            file.as_file().sync_data()?;
            file.persist(&path)?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("cannot cache compiled code as {}", path.display()))
    }

    fn path(&self, content: u128) -> PathBuf {
        self.dir.join(format!("{content:032x}-{:016x}.cwasm", self.engine))
    }

    /// Removes what has not been used for long, as far as it can.
    fn prune(&self) {
        let old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|data| data.modified()).ok();
            modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > MAX_AGE)
        };
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "cwasm") && old(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }
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
    let probe = tempfile::NamedTempFile::new_in(dir)
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
