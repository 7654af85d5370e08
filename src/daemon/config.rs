//! Changes of the settings file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::error;

use crate::settings::{self, Settings};

/// How long the file must hold the same text: a file that is being written is empty
/// at first, which would be valid.
const UNCHANGED: Duration = Duration::from_millis(50);

/// A settings file that is watched.
pub struct Config {
    file: PathBuf,
    /// What it held when it was last read.
    text: String,
    changes: mpsc::Receiver<()>,
    _watcher: notify::RecommendedWatcher,
}

/// Watches the folder that the file is in, since editors replace files.
pub fn watch(file: PathBuf) -> Result<Config> {
    let file = std::path::absolute(&file)?;
    let (tell, changes) = mpsc::channel(1);
    let watched = file.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // One pending notification is enough.
        if event.is_ok_and(|event| concerns(&event, &watched)) {
            let _ = tell.try_send(());
        }
    })?;
    if let Some(dir) = file.parent() {
        watcher
            .watch(dir, RecursiveMode::NonRecursive)
            .with_context(|| format!("watching {}", dir.display()))?;
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    Ok(Config { file, text, changes, _watcher: watcher })
}

/// Whether an event may be about the file: the file, or a link that leads to it, has
/// changed. Our own reading is no change, nor is what is written to a delay store in
/// the same folder.
fn concerns(event: &Event, file: &Path) -> bool {
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_)) => event.paths.iter().any(|path| path == file),
        _ => true,
    }
}

/// Waits for settings that differ and are valid; forever without a file.
pub async fn changed(config: &mut Option<Config>) -> Option<Settings> {
    let Some(config) = config else { return std::future::pending().await };
    loop {
        config.changes.recv().await?;
        let Ok(text) = std::fs::read_to_string(&config.file) else { continue };
        if text == config.text {
            continue;
        }
        tokio::time::sleep(UNCHANGED).await;
        if std::fs::read_to_string(&config.file).ok().as_ref() != Some(&text) {
            // Another notification follows.
            continue;
        }
        config.text = text;
        match Settings::load(Some(&config.file), settings::variables()) {
            Ok(settings) => return Some(settings),
            Err(error) => {
                error!("the new settings are invalid, the old ones stay in effect: {error:#}")
            }
        }
    }
}
