//! The file beside the store by which processes that share it know one another.
//!
//! The router holds a lock on it, so that no second one sends the same messages;
//! whoever changes the store writes to it, which the router notices at once.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use notify::{RecursiveMode, Watcher};
use tokio_util::task::AbortOnDropHandle;

use crate::delay::alarm::Alarm;

/// Held by the router that releases the store's messages.
#[derive(Debug)]
pub struct Guard {
    /// Locked until it is closed, by whatever ends the process.
    _file: File,
    _notice: Notice,
}

/// How changes by other processes are noticed.
#[derive(Debug)]
enum Notice {
    Watched {
        _watcher: notify::RecommendedWatcher,
    },
    /// Where the system has no watches left: it is looked at once a second.
    Looked {
        _looking: AbortOnDropHandle<()>,
    },
}

impl Guard {
    pub fn new(store: &Path, alarm: Arc<Alarm>) -> Result<Self> {
        let path = beside(store)?;
        let file =
            File::options().create(true).append(true).open(&path).with_context(|| {
                format!("cannot open {} beside the delay store", path.display())
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
        let notice = match watch(&path, Arc::clone(&alarm)) {
            Ok(watcher) => Notice::Watched { _watcher: watcher },
            Err(error) => {
                tracing::warn!(
                    "cannot watch {}: {error}; the delay store is looked at once a second instead",
                    path.display()
                );
                let looking = tokio::spawn(async move { alarm.ring_each_second().await });
                Notice::Looked { _looking: AbortOnDropHandle::new(looking) }
            }
        };
        Ok(Self { _file: file, _notice: notice })
    }
}

/// Tells the router, if one runs, that the store was changed.
pub fn tell(store: &Path) -> Result<()> {
    let path = beside(store)?;
    fs::write(&path, format!("{}\n", std::process::id())).with_context(|| {
        format!("changed the store, but cannot write to {}, which tells the router", path.display())
    })
}

/// The same for all who use the store, by whichever link they come to it.
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
