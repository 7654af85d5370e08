//! The plugins' folder: what is in it, and what changes.

mod look;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tracing::warn;

use self::look::Looks;
use self::watch::{Wake, Watcher};
use super::Source;

/// How often the folder is looked at when nothing calls for it: changes on
/// network file systems are not announced.
const RESCAN: Duration = Duration::from_secs(2);

/// How many changes may wait for the router.
const BACKLOG: usize = 16;

/// What happened to one plugin's file.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is there and whole, and its content is new.
    Present(Source),
    /// It is there, but nothing that could be loaded.
    Refused {
        /// The plugin that it would be.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the mend.
        reason: String,
    },
    /// It is gone.
    Gone {
        /// The plugin that it was.
        name: String,
    },
}

/// Whether a plugin can have this name.
///
/// # Errors
/// Says why not, and the mend.
pub fn check_name(name: &str) -> Result<()> {
    look::check_name(name).map_err(anyhow::Error::msg)
}

/// A watched folder. Dropping it ends the watch.
///
/// It is looked at when the system announces a change in it, or in a folder that
/// leads to it by symbolic links, and every 2 s besides. A folder that cannot be
/// read changes nothing: the plugins stay as they are.
pub struct Folder {
    changes: tokio::sync::mpsc::Receiver<Change>,
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Folder {
    /// What is in the folder now, also of files that are still being written: for
    /// commands that run once. Blocks while it reads.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn read(dir: &Path) -> Result<Vec<Change>> {
        Ok(Looks::first(dir)?.1)
    }

    /// What [`Folder::read`] gives, and a watch that tells what changes from then on.
    ///
    /// # Errors
    /// The folder cannot be read, or the system has no thread to watch it.
    pub fn open(dir: PathBuf) -> Result<(Vec<Change>, Self)> {
        let (looks, present) = Looks::first(&dir)?;
        Ok((present, Self::follow(dir, looks)?))
    }

    /// Watches the folder. Its first changes are the files that are there.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn watch(dir: PathBuf) -> Result<Self> {
        let looks = Looks::new(&dir);
        Self::follow(dir, looks)
    }

    fn follow(dir: PathBuf, looks: Looks) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "wakes are rare, and all that wait are taken at once"
        )]
        let (wake, woken) = mpsc::channel();
        let (send, changes) = tokio::sync::mpsc::channel(BACKLOG);
        let watcher = Watcher::new(&dir, wake.clone());
        let watch = move || follow(looks, watcher, &woken, &send);
        let thread = thread::Builder::new().name("plugin-folder".into()).spawn(watch);
        let thread = thread.context("no thread to watch the plugins' folder")?;
        Ok(Self { changes, wake, thread: Some(thread) })
    }

    /// Waits for the next change. Nothing is lost when the future is dropped.
    /// None if the watch has ended, which it does not by itself.
    pub async fn changed(&mut self) -> Option<Change> {
        self.changes.recv().await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.changes.close();
        // The thread may be over already.
        let _ = self.wake.send(Wake::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Looks, tells, waits, until it is told to stop.
#[expect(clippy::disallowed_methods, reason = "files change in real time")]
fn follow(
    mut looks: Looks,
    mut watcher: Watcher,
    woken: &mpsc::Receiver<Wake>,
    changes: &tokio::sync::mpsc::Sender<Change>,
) {
    let mut readable = true;
    loop {
        watcher.follow_links();
        // Nobody takes the changes when the folder is being dropped.
        let tell = |change| drop(changes.blocking_send(change));
        let pause = match looks.look(Instant::now(), tell) {
            Ok(pause) => {
                readable = true;
                pause.map_or(RESCAN, |pause| pause.min(RESCAN))
            }
            Err(error) => {
                if std::mem::take(&mut readable) {
                    warn!("{error:#}: plugins stay as they are until it can");
                }
                RESCAN
            }
        };
        if changes.is_closed() || stopped(woken, pause) {
            return;
        }
    }
}

/// Waits for an announcement, takes all that have come, and says whether one
/// asks to stop.
fn stopped(woken: &mpsc::Receiver<Wake>, pause: Duration) -> bool {
    match woken.recv_timeout(pause) {
        Ok(wake) => [wake].into_iter().chain(woken.try_iter()).any(|wake| wake == Wake::Stop),
        Err(RecvTimeoutError::Timeout) => false,
        Err(RecvTimeoutError::Disconnected) => true,
    }
}
