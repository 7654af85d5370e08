//! The file next to the store that coordinates the processes that use it.
//!
//! The router holds a lock on it, so that no second router sends the same messages. A command
//! that changes the store writes to it, which the router notices at once.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use notify::{RecursiveMode, Watcher};
use tokio_util::task::AbortOnDropHandle;

use crate::delay::alarm::Alarm;

/// The lock of the one router that uses the store, which also notices changes by others.
#[derive(Debug)]
pub struct RouterLock {
    /// Locked until it is closed, which the end of the process does as well.
    _file: File,
    _changes: Changes,
}

/// How changes by other processes are noticed.
#[derive(Debug)]
enum Changes {
    Watched {
        _watcher: notify::RecommendedWatcher,
    },
    /// Once a second, where the system has no watches left.
    Polled {
        _polling: AbortOnDropHandle<()>,
    },
}

impl RouterLock {
    /// Locks the store for this router. Changes by other processes ring `alarm`.
    pub fn new(store: &Path, alarm: Arc<Alarm>) -> Result<Self> {
        let path = beside(store)?;
        let file =
            File::options().create(true).append(true).open(&path).with_context(|| {
                format!("cannot open {} next to the delay store", path.display())
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "the delay store sqlite:{} is in use by another mo-router: stop it, or let them share \
                 a PostgreSQL store",
                store.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let changes = match watch(&path, Arc::clone(&alarm)) {
            Ok(watcher) => Changes::Watched { _watcher: watcher },
            Err(error) => {
                tracing::warn!(
                    "cannot watch {}: {error}; the delay store is polled once a second instead",
                    path.display()
                );
                let polling = tokio::spawn(async move { alarm.ring_each_second().await });
                Changes::Polled { _polling: AbortOnDropHandle::new(polling) }
            }
        };
        Ok(Self { _file: file, _changes: changes })
    }
}

/// Tells the router, if one is running, that the store has changed.
pub fn notify_router(store: &Path) -> Result<()> {
    let path = beside(store)?;
    fs::write(&path, format!("{}\n", std::process::id())).with_context(|| {
        format!("changed the store, but cannot notify the router by writing to {}", path.display())
    })
}

/// The file's path, which is the same through whichever link a process opens the store.
fn beside(store: &Path) -> Result<PathBuf> {
    let file = store.canonicalize();
    let mut name =
        file.with_context(|| format!("cannot find {}", store.display()))?.into_os_string();
    name.push("-changed");
    Ok(name.into())
}

fn watch(path: &Path, alarm: Arc<Alarm>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| event.kind.is_modify()) {
            alarm.ring_now();
        }
    })?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
