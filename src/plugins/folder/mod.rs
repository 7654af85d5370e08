//! The plugins' folder: what is in it, and what changes.

mod change;
mod file;
mod name;
mod scan;
mod sight;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch::{Receiver, Sender as Watched};

pub use self::change::Change;
pub use self::name::{check_name, is_plugin_file};
use self::scan::Scanner;
pub use self::sight::Sight;
use self::watch::{Wake, Watcher};

/// How often the folder is scanned when no change is announced. Network file systems
/// announce none.
const RESCAN: Duration = Duration::from_secs(2);

/// How many changes may wait to be taken.
const BACKLOG: usize = 16;

/// A watched folder. Dropping it ends the watch.
///
/// It is scanned when the system announces a change in it, or in a folder that leads to
/// it through symbolic links, and every 2 s. As long as the folder cannot be read, or is
/// empty as a whole though it had several plugins, no changes are reported.
pub struct Folder {
    changes: tokio::sync::mpsc::Receiver<Change>,
    sight: Receiver<Sight>,
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Folder {
    /// What is in the folder now, including files that are still being written: for
    /// commands that run once. Blocks while it reads.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn read(dir: &Path) -> Result<Vec<Change>> {
        Ok(Scanner::first(dir)?.1)
    }

    /// Does what [`Folder::read`] does, and reports what changes from then on.
    ///
    /// # Errors
    /// The folder cannot be read, or the system cannot start a thread.
    pub fn open(dir: PathBuf) -> Result<(Vec<Change>, Self)> {
        let (scanner, present) = Scanner::first(&dir)?;
        Ok((present, Self::start(&dir, scanner)?))
    }

    /// Watches the folder. Its first changes are the files that are there now.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn watch(dir: PathBuf) -> Result<Self> {
        Self::start(&dir, Scanner::new(&dir))
    }

    fn start(dir: &Path, scanner: Scanner) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "all wakes that wait are taken at once")]
        let (wake, woken) = mpsc::channel();
        let (send, changes) = tokio::sync::mpsc::channel(BACKLOG);
        let watcher = Watcher::new(dir, wake.clone());
        let (tell, sight) = tokio::sync::watch::channel(Sight::default());
        let watch = move || watch(scanner, watcher, &woken, &send, &tell);
        let thread = thread::Builder::new().name("plugin-folder".into()).spawn(watch);
        let thread = thread.context("cannot start the thread that watches the plugins' folder")?;
        Ok(Self { changes, sight, wake, thread: Some(thread) })
    }

    /// How well the folder can be seen at the moment.
    pub fn sight(&self) -> Receiver<Sight> {
        self.sight.clone()
    }

    /// What makes the folder forget a plugin.
    pub fn forgetter(&self) -> Forgetter {
        Forgetter(self.wake.clone())
    }

    /// Looks through the folder at once, whether or not a change is announced.
    pub fn look(&self) {
        // The thread does not end by itself.
        let _ = self.wake.send(Wake::Changed);
    }

    /// Waits for the next change. Nothing is lost when the future is dropped. None if the
    /// watching thread has ended, which it does not do by itself.
    pub async fn changed(&mut self) -> Option<Change> {
        self.changes.recv().await
    }
}

/// Makes a folder forget plugins.
#[derive(Clone)]
pub struct Forgetter(Sender<Wake>);

impl Forgetter {
    /// The plugin is no reason any more to take an empty folder for one that cannot be read.
    /// If its file is there, it is told again.
    pub fn forget(&self, plugin: &str) {
        // Nobody listens when the folder has been dropped.
        let _ = self.0.send(Wake::Forget(plugin.to_owned()));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.changes.close();
        // The thread may have ended already.
        let _ = self.wake.send(Wake::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Scans, reports and waits, until it is told to stop.
#[expect(clippy::disallowed_methods, reason = "files change in real time")]
fn watch(
    mut scanner: Scanner,
    mut watcher: Watcher,
    woken: &mpsc::Receiver<Wake>,
    changes: &tokio::sync::mpsc::Sender<Change>,
    sight: &Watched<Sight>,
) {
    loop {
        watcher.follow_links();
        // Nobody takes the changes while the folder is being dropped.
        let report = |change| drop(changes.blocking_send(change));
        let scanned = scanner.scan(Instant::now(), report);
        let pause = match &scanned {
            Ok(pause) => pause.map_or(RESCAN, |pause| pause.min(RESCAN)),
            Err(_) => RESCAN,
        };
        let seen = Sight {
            unreadable: scanned.err().map(|error| format!("{error:#}")),
            polling: watcher.problem(),
        };
        sight.send_if_modified(|sight| std::mem::replace(sight, seen) != *sight);
        if changes.is_closed() || stopped(woken, pause, &mut scanner) {
            return;
        }
    }
}

/// Waits for something to wake the thread, and says whether the watch is over.
fn stopped(woken: &mpsc::Receiver<Wake>, pause: Duration, scanner: &mut Scanner) -> bool {
    let first = match woken.recv_timeout(pause) {
        Ok(wake) => wake,
        Err(RecvTimeoutError::Timeout) => return false,
        Err(RecvTimeoutError::Disconnected) => return true,
    };
    [first].into_iter().chain(woken.try_iter()).any(|wake| match wake {
        Wake::Changed => false,
        Wake::Forget(plugin) => {
            scanner.forget(&plugin);
            false
        }
        Wake::Stop => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_wants_the_folder_looked_through_need_not_wait_for_an_announcement() {
        #[expect(clippy::disallowed_methods, reason = "as in the folder")]
        let (wake, woken) = mpsc::channel();
        let (_send, changes) = tokio::sync::mpsc::channel(BACKLOG);
        let (_tell, sight) = tokio::sync::watch::channel(Sight::default());
        let folder = Folder { changes, sight, wake, thread: None };
        folder.look();
        assert_eq!(woken.try_recv(), Ok(Wake::Changed));
    }
}
