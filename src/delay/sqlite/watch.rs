//! The file next to the store by which commands tell the router that they changed something.
//! It only saves time: the router looks once a second anyway.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use notify::{RecursiveMode, Watcher};
use tokio_util::task::AbortOnDropHandle;

use super::anchor::Anchor;
use crate::delay::alarm::Alarm;

/// Notices changes that other processes make.
#[derive(Debug)]
pub struct Changes {
    _watcher: Option<notify::RecommendedWatcher>,
    _polling: AbortOnDropHandle<()>,
}

impl Changes {
    /// Changes by other processes ring `alarm` from now on.
    pub fn of(store: &Path, anchor: &Anchor, alarm: Arc<Alarm>) -> Self {
        let watcher = watch(store, anchor, Arc::clone(&alarm)).inspect_err(|error| {
            tracing::warn!("commands' changes are noticed a second later: {error:#}");
        });
        let polling = tokio::spawn(async move { alarm.ring_each_second().await });
        Self { _watcher: watcher.ok(), _polling: AbortOnDropHandle::new(polling) }
    }
}

/// Tells the router, if one is running, that the store has changed.
pub fn notify_router(store: &Path, anchor: &Anchor) {
    let told = beside(store).and_then(|path| {
        let mut file = anchor.open_beside(&path)?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id()).with_context(|| format!("{}", path.display()))
    });
    if let Err(error) = told {
        tracing::debug!("the router notices this change a second later: {error:#}");
    }
}

/// The file's path, which is the same through whichever link a process opens the store.
fn beside(store: &Path) -> Result<PathBuf> {
    let file = store.canonicalize();
    let mut name =
        file.with_context(|| format!("cannot find {}", store.display()))?.into_os_string();
    name.push("-changed");
    Ok(name.into())
}

fn watch(store: &Path, anchor: &Anchor, alarm: Arc<Alarm>) -> Result<notify::RecommendedWatcher> {
    let path = beside(store)?;
    anchor.open_beside(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| event.kind.is_modify()) {
            alarm.ring_now();
        }
    })?;
    let watched = watcher.watch(&path, RecursiveMode::NonRecursive);
    watched.with_context(|| format!("cannot watch {}", path.display()))?;
    Ok(watcher)
}
