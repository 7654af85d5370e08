//! The plugins' folder: what is in it, and what changes.

mod change;
mod file;
mod name;
mod scan;
mod sight;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch::{Receiver, Sender as Watched};

pub use self::change::Change;
pub use self::name::{LONGEST_NAME, check_name, is_plugin_file};
use self::scan::Scanner;
pub use self::sight::{SLOW, Scanning, Sight, Sights};
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
    dir: PathBuf,
    changes: tokio::sync::mpsc::Receiver<Change>,
    sight: Receiver<Sight>,
    scanning: Scanning,
    wake: Sender<Wake>,
}

impl Folder {
    /// What is in the folder now, including files that are still being written: for
    /// commands that run once. Blocks while it reads.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn read(dir: &Path) -> Result<Vec<Change>> {
        Ok(Scanner::first(dir, Scanning::default())?.1)
    }

    /// Does what [`Folder::read`] does, and reports what changes from then on. `scanning`, which has
    /// begun, is told whenever the file system answers.
    ///
    /// # Errors
    /// The folder cannot be read, or the system cannot start a thread.
    pub fn open(dir: PathBuf, scanning: Scanning) -> Result<(Vec<Change>, Self)> {
        let (scanner, present) = Scanner::first(&dir, scanning.clone())?;
        Ok((present, Self::start(&dir, scanner, scanning)?))
    }

    /// Watches the folder. Its first changes are the files that are there now.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn watch(dir: PathBuf) -> Result<Self> {
        let scanning = Scanning::default();
        Self::start(&dir, Scanner::new(&dir, scanning.clone()), scanning)
    }

    fn start(dir: &Path, scanner: Scanner, scanning: Scanning) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "all wakes that wait are taken at once")]
        let (wake, woken) = mpsc::channel();
        let (send, changes) = tokio::sync::mpsc::channel(BACKLOG);
        let watcher = Watcher::new(dir, wake.clone());
        let (tell, sight) = tokio::sync::watch::channel(Sight::default());
        let dir = dir.to_owned();
        let mut watch = Watch { scanner, watcher, woken, changes: send, sight: tell };
        let in_thread = scanning.clone();
        thread::Builder::new()
            .name("plugin-folder".into())
            .spawn(move || watch.until_stopped(&in_thread))
            .context("cannot start the thread that watches the plugins' folder")?;
        Ok(Self { dir, changes, sight, scanning, wake })
    }

    /// How well the folder can be seen.
    pub fn sights(&self) -> Sights {
        Sights {
            dir: self.dir.clone(),
            told: self.sight.clone(),
            scanning: self.scanning.clone(),
            was_slow: false,
        }
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

    /// The plugin's file, if it is there, is read and told again though it has not changed.
    pub fn report_again(&self, plugin: &str) {
        let _ = self.0.send(Wake::ReportAgain(plugin.to_owned()));
    }
}

/// The thread ends by itself, when it can: nobody waits for a file system that does not answer.
impl Drop for Folder {
    fn drop(&mut self) {
        self.changes.close();
        // The thread may have ended already.
        let _ = self.wake.send(Wake::Stop);
    }
}

/// What the watching thread has.
struct Watch {
    scanner: Scanner,
    watcher: Watcher,
    woken: mpsc::Receiver<Wake>,
    changes: tokio::sync::mpsc::Sender<Change>,
    sight: Watched<Sight>,
}

impl Watch {
    /// Scans, reports and waits, until it is told to stop.
    #[expect(clippy::disallowed_methods, reason = "files change in real time")]
    fn until_stopped(&mut self, scanning: &Scanning) {
        loop {
            scanning.begin();
            self.watcher.follow_links();
            // Nobody takes the changes while the folder is being dropped.
            let changes = &self.changes;
            let report = |change| {
                // Whoever takes them may take their time.
                scanning.set(None);
                drop(changes.blocking_send(change));
                scanning.begin();
            };
            let scanned = self.scanner.scan(Instant::now(), report);
            scanning.set(None);
            let pause = match &scanned {
                Ok(pause) => pause.map_or(RESCAN, |pause| pause.min(RESCAN)),
                Err(_) => RESCAN,
            };
            let seen = Sight {
                unreadable: scanned.err().map(|error| format!("{error:#}")),
                polling: self.watcher.problem(),
            };
            self.sight.send_if_modified(|sight| std::mem::replace(sight, seen) != *sight);
            if self.changes.is_closed() || self.stopped(pause) {
                return;
            }
        }
    }

    /// Waits for something to wake the thread, and says whether the watch is over.
    fn stopped(&mut self, pause: Duration) -> bool {
        let first = match self.woken.recv_timeout(pause) {
            Ok(wake) => wake,
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        };
        let scanner = &mut self.scanner;
        [first].into_iter().chain(self.woken.try_iter()).any(|wake| match wake {
            Wake::Changed => false,
            Wake::Forget(plugin) => {
                scanner.forget(&plugin);
                false
            }
            Wake::ReportAgain(plugin) => {
                scanner.report_again(&plugin);
                false
            }
            Wake::Stop => true,
        })
    }
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
        let (dir, scanning) = (PathBuf::new(), Scanning::default());
        let folder = Folder { dir, changes, sight, scanning, wake };
        folder.look();
        assert_eq!(woken.try_recv(), Ok(Wake::Changed));
    }
}
