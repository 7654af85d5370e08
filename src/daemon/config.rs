//! Changes of the settings file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use crate::event::Datetime;
use crate::settings::{self, Settings};

/// When the settings were last read, and whether they were right.
#[derive(Debug)]
pub struct Reloads(Mutex<(bool, Datetime)>);

/// The router has started, with settings that were right.
impl Default for Reloads {
    fn default() -> Self {
        Self(Mutex::new((true, Datetime::now())))
    }
}

impl Reloads {
    /// Whether they were right, and when that was.
    pub fn read(&self) -> (bool, Datetime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, successful: bool) {
        let now = (successful, Datetime::now());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// How long the file must hold the same text: a file that is being written is empty
/// at first, which would be valid.
const UNCHANGED: Duration = Duration::from_millis(50);

/// A settings file that is followed.
pub struct Config {
    /// The newest valid settings; none before the file was first read.
    newest: watch::Receiver<Option<Settings>>,
    ask: mpsc::Sender<Request>,
    _watcher: notify::RecommendedWatcher,
    _following: AbortOnDropHandle<()>,
}

/// Why the file is to be read: somebody waits for that, or it may have changed.
type Request = Option<oneshot::Sender<()>>;

/// Follows a file. The first settings are those that it holds now, since it may have
/// changed after the router read it. Watches the folder that it is in, since editors
/// replace files.
pub fn follow(file: PathBuf, reloads: Arc<Reloads>) -> Result<Config> {
    let file = std::path::absolute(&file)?;
    let (tell, changes) = mpsc::channel(1);
    let (watched, ask) = (file.clone(), tell.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // One pending notification is enough.
        if event.is_ok_and(|event| concerns(&event, &watched)) {
            let _ = tell.try_send(None);
        }
    })?;
    if let Some(dir) = file.parent() {
        watcher
            .watch(dir, RecursiveMode::NonRecursive)
            .with_context(|| format!("watching {}", dir.display()))?;
    }
    let (sender, newest) = watch::channel(None);
    let following = tokio::spawn(read(file, changes, sender, reloads));
    Ok(Config { newest, ask, _watcher: watcher, _following: AbortOnDropHandle::new(following) })
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

/// Reads the file whenever it may have changed. A task of its own: it takes several steps
/// to find that a file has changed, and none of them may be dropped.
async fn read(
    file: PathBuf,
    mut changes: mpsc::Receiver<Request>,
    newest: watch::Sender<Option<Settings>>,
    reloads: Arc<Reloads>,
) {
    let (mut last, mut asked) = (None, None::<oneshot::Sender<()>>);
    loop {
        let text = std::fs::read_to_string(&file).ok();
        // A file that is gone is being replaced, unless somebody asks for it now.
        if asked.is_none() && (text.is_none() || text == last) {
            match changes.recv().await {
                Some(request) => asked = request,
                None => return,
            }
            continue;
        }
        tokio::time::sleep(UNCHANGED).await;
        if std::fs::read_to_string(&file).ok() != text {
            continue;
        }
        last = text;
        match Settings::load(Some(&file), settings::variables()) {
            Ok(settings) => {
                reloads.note(true);
                newest.send_replace(Some(settings));
            }
            Err(error) => {
                reloads.note(false);
                error!("the new settings are invalid, the old ones stay in effect: {error:#}");
            }
        }
        if let Some(asked) = asked.take() {
            // Whoever waited may have ended.
            let _ = asked.send(());
        }
    }
}

impl Config {
    /// Reads the file again, and waits until that is done, whether it holds good settings or
    /// not.
    pub async fn reload(&self) {
        let (done, read) = oneshot::channel();
        // If what reads has ended, that was a fault of our own, reported where it happened.
        if self.ask.send(Some(done)).await.is_ok() {
            let _ = read.await;
        }
    }
}

/// Waits for settings that may differ and are valid; forever without a file. Nothing is lost
/// when the future is dropped: settings count as seen only when they are returned.
pub async fn changed(config: &mut Option<Config>) -> Settings {
    loop {
        let Some(config) = config else { return std::future::pending().await };
        if config.newest.changed().await.is_err() {
            // A fault of our own, reported where it happened.
            return std::future::pending().await;
        }
        if let Some(settings) = &*config.newest.borrow_and_update() {
            return settings.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other news come every few milliseconds, and drop the future each time.
    #[tokio::test]
    async fn every_change_is_taken_however_often_the_wait_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mo-router.toml");
        let write = |attempts: u32| {
            let part = folder.path().join("part");
            std::fs::write(&part, format!("limits.attempts = {attempts}\n")).unwrap();
            std::fs::rename(part, &file).unwrap();
        };
        write(1);
        let mut config = Some(follow(file.clone(), Arc::default()).unwrap());
        let mut others = tokio::time::interval(Duration::from_millis(3));
        for attempts in 1..=8 {
            write(attempts);
            let taken = async {
                loop {
                    tokio::select! {
                        _ = others.tick() => {}
                        settings = changed(&mut config) => {
                            if settings.limits.attempts == attempts {
                                return;
                            }
                        }
                    }
                }
            };
            let taken = tokio::time::timeout(Duration::from_secs(60), taken).await;
            assert!(taken.is_ok(), "the settings with {attempts} attempts are lost");
        }
    }
}
