//! Changes of the settings file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::event::Datetime;
use crate::plugins::SLOW;
use crate::settings::{self, DEFAULT_FILE, Settings};

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

    pub(super) fn note(&self, successful: bool) {
        let now = (successful, Datetime::now());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// How long the file must hold the same text: a file that is being written is empty
/// at first, which would be valid.
const UNCHANGED: Duration = Duration::from_millis(50);

/// How often the file is looked at without word of a change: some file systems tell of
/// none (NFS, folders shared with a container), and inotify may be at its limits.
const LOOK: Duration = Duration::from_secs(2);

/// How long a file may be gone before that is told: until then it is being replaced.
const GONE: Duration = Duration::from_secs(30);

/// A settings file that is followed.
pub struct Config {
    /// The newest valid settings; none before the file was first read.
    newest: watch::Receiver<Option<Settings>>,
    ask: mpsc::Sender<Request>,
    /// None if the folder cannot be watched: the file is looked at all the same.
    #[cfg_attr(not(test), expect(dead_code, reason = "watches for as long as it is kept"))]
    watcher: Option<notify::RecommendedWatcher>,
    _following: AbortOnDropHandle<()>,
}

/// Why the file is to be read: somebody waits for that, or it may have changed.
type Request = Option<oneshot::Sender<()>>;

/// What the file holds, or why it cannot be read; none if it is not there.
type Content = Option<std::result::Result<String, String>>;

/// Follows a file. The first settings are those that it holds now, since it may have
/// changed after the router read it. Without one, [`DEFAULT_FILE`] was not there, and is followed
/// from when it is.
///
/// # Errors
/// A relative path, and the working directory is gone.
pub fn follow(file: Option<&Path>, reloads: Arc<Reloads>) -> Result<Config> {
    let default = Path::new(DEFAULT_FILE);
    match file {
        Some(file) => Ok(begin(std::path::absolute(file)?, false, reloads)),
        // In a working directory that is gone there never will be one.
        None => {
            let file = std::path::absolute(default).unwrap_or_else(|_| default.to_owned());
            Ok(begin(file, true, reloads))
        }
    }
}

fn begin(file: PathBuf, is_awaited: bool, reloads: Arc<Reloads>) -> Config {
    let (tell, changes) = mpsc::channel(1);
    let watcher = watch(&file, tell.clone())
        .inspect_err(|error| {
            // Most who have no file want none.
            if !is_awaited {
                warn!(
                    "the settings file is looked at every {LOOK:?} instead of watched: {error:#}"
                );
            }
        })
        .ok();
    let (sender, newest) = watch::channel(None);
    let following = tokio::spawn(read(file, is_awaited, changes, sender, reloads));
    Config { newest, ask: tell, watcher, _following: AbortOnDropHandle::new(following) }
}

/// Watches the folder that the file is in, since editors replace files.
fn watch(file: &Path, tell: mpsc::Sender<Request>) -> Result<notify::RecommendedWatcher> {
    let watched = file.to_owned();
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
    Ok(watcher)
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
/// to find that a file has changed, and none of them may be dropped. That a file is not there
/// is no fault while it `is_awaited`.
async fn read(
    file: PathBuf,
    mut is_awaited: bool,
    mut changes: mpsc::Receiver<Request>,
    newest: watch::Sender<Option<Settings>>,
    reloads: Arc<Reloads>,
) {
    let (mut last, mut asked) = (None, None::<oneshot::Sender<()>>);
    let mut gone_since = None;
    // Nothing is there either where nobody may look.
    let hidden = if is_awaited { content(&file).await.filter(Result::is_err) } else { None };
    loop {
        let content = content(&file).await;
        let is_not_there_yet = is_awaited && (content.is_none() || content == hidden);
        if is_not_there_yet && let Some(asked) = asked.take() {
            info!(
                "there is no settings file to read again: --config names none, and there is no {}; \
                 variables take a restart",
                file.display()
            );
            reloads.note(true);
            let _ = asked.send(());
        }
        // A file that is gone is being replaced, unless somebody asks for it now, or for long.
        let is_being_replaced = match content {
            Some(_) => {
                gone_since = None;
                false
            }
            None => gone_since.get_or_insert_with(Instant::now).elapsed() < GONE,
        };
        let is_as_before = is_not_there_yet || last.as_ref() == Some(&content);
        if asked.is_none() && (is_being_replaced || is_as_before) {
            match tokio::time::timeout(LOOK, changes.recv()).await {
                Ok(Some(request)) => asked = request,
                Ok(None) => return,
                Err(_no_word) => {}
            }
            continue;
        }
        tokio::time::sleep(UNCHANGED).await;
        if self::content(&file).await != content {
            continue;
        }
        if std::mem::take(&mut is_awaited) {
            info!("there is a settings file now, reading it: {}", file.display());
        } else if asked.is_some() {
            info!("reading the settings again");
        }
        match settings_in(&file, content.as_ref()) {
            Ok(settings) => {
                reloads.note(true);
                newest.send_replace(Some(settings));
            }
            Err(error) => {
                reloads.note(false);
                error!("the new settings are invalid, the old ones stay in effect: {error:#}");
            }
        }
        last = Some(content);
        if let Some(asked) = asked.take() {
            // Whoever waited may have ended.
            let _ = asked.send(());
        }
    }
}

/// Waits for its file system however long that takes: there is nothing else to do.
async fn content(file: &Path) -> Content {
    let file = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || std::fs::read_to_string(file));
    match reading.await.unwrap_or_else(|fault| Err(fault.into())) {
        Ok(text) => Some(Ok(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

fn settings_in(
    file: &Path,
    content: Option<&std::result::Result<String, String>>,
) -> Result<Settings> {
    let cannot_read = |reason: &str| anyhow!("cannot read {}: {reason}", file.display());
    let text = match content {
        Some(Ok(text)) => text,
        Some(Err(reason)) => return Err(cannot_read(reason)),
        None => return Err(cannot_read("it is gone")),
    };
    Settings::read(file, text, settings::variables())
}

impl Config {
    /// Reads the file again, and waits until that is done, whether it holds good settings or
    /// not; or until its file system has not answered for [`SLOW`].
    pub async fn reload(&self) {
        self.reload_within(SLOW).await;
    }

    async fn reload_within(&self, limit: Duration) {
        let (done, read) = oneshot::channel();
        let reading = async {
            // If what reads has ended, that was a fault of our own, reported where it happened.
            if self.ask.send(Some(done)).await.is_ok() {
                let _ = read.await;
            }
        };
        if tokio::time::timeout(limit, reading).await.is_err() {
            warn!(
                "the settings file has not answered for {limit:?}, the old settings stay in effect"
            );
        }
    }
}

/// Waits for settings that may differ and are valid. Nothing is lost when the future is dropped:
/// settings count as seen only when they are returned.
pub async fn changed(config: &mut Config) -> Settings {
    loop {
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

    /// A settings file in a folder of its own.
    struct File {
        folder: tempfile::TempDir,
        path: PathBuf,
        reloads: Arc<Reloads>,
    }

    impl File {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("mo-router.toml");
            Self { folder, path, reloads: Arc::default() }
        }

        /// Puts a file with this many attempts in its place.
        fn write(&self, attempts: u32) {
            let part = self.folder.path().join("part");
            std::fs::write(&part, format!("limits.attempts = {attempts}\n")).unwrap();
            std::fs::rename(part, &self.path).unwrap();
        }

        fn follow(&self) -> Config {
            follow(Some(&self.path), Arc::clone(&self.reloads)).unwrap()
        }

        /// As the default file is followed that was not there at the start.
        fn wait(&self) -> Config {
            begin(self.path.clone(), true, Arc::clone(&self.reloads))
        }

        /// Waits for these attempts. Other news come every few milliseconds, and drop the
        /// wait for the settings each time.
        async fn wait_for(&self, attempts: u32, config: &mut Config) {
            let mut others = tokio::time::interval(Duration::from_millis(3));
            let mut seen = Vec::new();
            let taken = async {
                while seen.last() != Some(&attempts) {
                    tokio::select! {
                        _ = others.tick() => {}
                        settings = changed(config) => seen.push(settings.limits.attempts),
                    }
                }
            };
            if tokio::time::timeout(Duration::from_secs(60), taken).await.is_err() {
                panic!(
                    "{attempts} attempts are not seen, but {seen:?}; read last: {:?}; the file: {:?}; what it says: {:?}",
                    self.reloads.read(),
                    content(&self.path).await,
                    settings_in(&self.path, content(&self.path).await.as_ref())
                        .map(|settings| settings.limits.attempts),
                );
            }
        }
    }

    #[tokio::test]
    async fn every_change_is_taken_however_often_the_wait_is_dropped() {
        let file = File::new();
        file.write(1);
        let mut config = file.follow();
        for attempts in 1..=8 {
            file.write(attempts);
            file.wait_for(attempts, &mut config).await;
        }
    }

    #[tokio::test]
    async fn changes_are_seen_where_nothing_tells_of_them() {
        let file = File::new();
        file.write(1);
        let mut config = file.follow();
        file.wait_for(1, &mut config).await;
        config.watcher = None;
        file.write(2);
        file.wait_for(2, &mut config).await;
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_keeps_nobody_else_waiting() {
        let file = File::new();
        // It gives nothing until somebody writes.
        let made = std::process::Command::new("mkfifo").arg(&file.path).status().unwrap();
        assert!(made.success());
        let config = file.follow();
        let (done, hung) = std::sync::mpsc::sync_channel(0);
        let path = file.path.clone();
        let writing = std::thread::spawn(move || {
            // Should the test hang, this ends it.
            let was_answered = hung.recv_timeout(Duration::from_secs(10)).is_ok();
            let end = std::fs::File::options().write(true).open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            drop(end);
            was_answered
        });
        config.reload_within(Duration::from_millis(100)).await;
        done.send(()).expect("nobody else waited");
        assert!(writing.join().unwrap());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_told_and_read_once_it_can() {
        let file = File::new();
        std::fs::create_dir(&file.path).unwrap();
        let mut config = file.follow();
        config.reload().await;
        assert!(!file.reloads.read().0, "a folder is no settings file");
        std::fs::remove_dir(&file.path).unwrap();
        file.write(3);
        file.wait_for(3, &mut config).await;
        assert!(file.reloads.read().0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_was_not_there_is_no_fault_and_is_taken_once_it_is() {
        let file = File::new();
        let mut config = file.wait();
        config.reload().await;
        tokio::time::sleep(GONE * 3).await;
        config.reload().await;
        assert!(file.reloads.read().0, "nobody misses it");
        file.write(4);
        file.wait_for(4, &mut config).await;
        // It is a file as any other from then on.
        file.write(5);
        file.wait_for(5, &mut config).await;
        std::fs::remove_file(&file.path).unwrap();
        config.reload().await;
        assert!(!file.reloads.read().0, "it is gone");
    }

    #[tokio::test]
    async fn a_file_that_comes_is_taken_when_somebody_asks_and_told_if_it_is_wrong() {
        let file = File::new();
        let mut config = file.wait();
        config.watcher = None;
        std::fs::write(&file.path, "limits.attempts = 'many'").unwrap();
        config.reload().await;
        assert!(!file.reloads.read().0, "it has been read");
        file.write(6);
        config.reload().await;
        assert!(file.reloads.read().0);
        file.wait_for(6, &mut config).await;
    }

    #[tokio::test]
    async fn where_nobody_may_look_there_is_no_file_until_there_is() {
        let file = File::new();
        // What cannot be read, to whoever runs this.
        std::fs::create_dir(&file.path).unwrap();
        let mut config = file.wait();
        config.reload().await;
        assert!(file.reloads.read().0, "it was so at the start");
        std::fs::remove_dir(&file.path).unwrap();
        config.reload().await;
        assert!(file.reloads.read().0, "nothing is there");
        file.write(7);
        file.wait_for(7, &mut config).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_gone_for_good_is_told_once_and_read_when_it_is_back() {
        let file = File::new();
        file.write(1);
        let mut config = file.follow();
        file.wait_for(1, &mut config).await;
        let is_well = async |expected| {
            let waited = Instant::now();
            while file.reloads.read().0 != expected {
                assert!(waited.elapsed() < Duration::from_mins(10), "it is not {expected}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            waited.elapsed()
        };
        std::fs::remove_file(&file.path).unwrap();
        assert!(is_well(false).await >= GONE, "it may be being replaced");
        let told = file.reloads.read().1;
        tokio::time::sleep(GONE * 3).await;
        assert_eq!(file.reloads.read().1, told);
        // As it was before.
        file.write(1);
        is_well(true).await;
    }
}
