//! The store's file itself, apart from SQLite's connections to it.
//!
//! SQLite goes on with a file that was deleted or replaced as if nothing had happened. So the
//! file is held open here, to be compared with what is at its path, and to be locked.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::Connection;

use crate::delay::record::Unusable;

/// Only for the user whose router it is: the messages are about persons.
const MODE: u32 = 0o600;

/// What SQLite writes about a file at its beginning, in bytes.
const HEADER: usize = 100;

/// The file, as it was when the store was opened.
///
/// It must be opened before SQLite's first connection and closed after the last: closing any
/// handle of a file drops the locks that SQLite has on it in this process.
#[derive(Debug)]
pub struct Anchor {
    path: PathBuf,
    /// The same without links: SQLite's other files are beside it.
    real_path: PathBuf,
    file: File,
    log: Mutex<Log>,
    /// Whether this process has locked it, as a router.
    is_locked: AtomicBool,
}

/// What makes a file that file and no other: device and inode.
type Identity = (u64, u64);

/// The write-ahead log. It is the same one for as long as a connection is open.
#[derive(Debug, Default)]
struct Log {
    /// Which file it is, once there is one.
    known: Option<Identity>,
    /// How many connections of this process are open.
    connections: usize,
}

impl Anchor {
    /// Opens the file, and makes it if there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
            file => file.with_context(|| format!("cannot open {}", path.display()))?,
        };
        Self::of(path, file)
    }

    /// Opens a file that there is.
    pub fn existing(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::of(path, file)
    }

    fn of(path: &Path, file: File) -> Result<Self> {
        let real_path = path.canonicalize();
        let anchor = Self {
            path: path.to_owned(),
            real_path: real_path.with_context(|| format!("cannot find {}", path.display()))?,
            file,
            log: Mutex::default(),
            is_locked: AtomicBool::new(false),
        };
        anchor.check_log()?;
        Ok(anchor)
    }

    /// Fails if there is another file, or none, where this one was; or where its write-ahead
    /// log was.
    pub fn check(&self) -> Result<()> {
        let held = identity(&self.file.metadata()?);
        let found = at(&self.path)?;
        ensure!(
            found == Some(held),
            "the file {} while the router uses it, and what would be stored in it is lost: put the file back, \
             or restart the router to go on with what is there",
            if found.is_none() { "was deleted" } else { "was replaced" }
        );
        let mut log = self.log();
        if log.connections == 0 {
            // A log that there is belongs to another process, which may delete it.
            return Ok(());
        }
        let found = at(&self.log_path())?;
        if log.known.is_none() {
            log.known = found;
        }
        ensure!(
            log.known == found,
            "its write-ahead log {} was deleted or replaced while the router uses it, and what would be \
             stored in it is lost: restart the router",
            self.log_path().display()
        );
        Ok(())
    }

    /// A connection to the file was opened.
    pub fn connected(&self) {
        let mut log = self.log();
        log.connections += 1;
        if log.known.is_none() {
            log.known = at(&self.log_path()).ok().flatten();
        }
    }

    /// Closes a connection, and so the log if it is the last one.
    pub fn disconnect(&self, connection: Connection) {
        let mut log = self.log();
        drop(connection);
        log.connections = log.connections.saturating_sub(1);
        if log.connections == 0 {
            log.known = None;
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the file for the one router that uses it, until this is dropped, whoever has
    /// inherited the open file by then.
    pub fn lock(&self) -> Result<()> {
        match self.file.try_lock() {
            Ok(()) => {
                self.is_locked.store(true, Relaxed);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => bail!(
                "the delay store sqlite:{} is in use by another mo-router: stop it, or let them share \
                 a PostgreSQL store",
                self.path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", self.path.display()))
            }
        }
    }

    /// Whether a router may have messages in flight: this process, or another one. Who cannot
    /// tell must leave them alone.
    pub fn is_claimed(&self) -> bool {
        self.is_locked.load(Relaxed) || self.is_in_use().unwrap_or(true)
    }

    /// Whether a router has locked the file that is not this one.
    pub fn is_in_use(&self) -> Result<bool> {
        if self.is_locked.load(Relaxed) {
            // To try it would replace this lock.
            return Ok(false);
        }
        match self.file.try_lock_shared() {
            Ok(()) => self.file.unlock().map(|()| false).context("cannot unlock the file"),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).context("cannot look at its lock"),
        }
    }

    /// The rights that others than the file's user have to it, as bits of its mode.
    pub fn others_rights(&self) -> io::Result<u32> {
        Ok(self.file.metadata()?.mode() & 0o077)
    }

    /// Takes these rights from others; also to the files that SQLite has made beside it, to which
    /// it gives the same ones.
    pub fn close_to_others(&self) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(MODE))?;
        for suffix in ["-wal", "-shm"] {
            // By their names: to open and close them here would drop SQLite's locks on them.
            match fs::set_permissions(self.beside(suffix), Permissions::from_mode(MODE)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                set => set?,
            }
        }
        Ok(())
    }

    /// Opens a file beside this one to write to it; a new one belongs to whom this one does.
    pub fn open_beside(&self, path: &Path) -> io::Result<File> {
        match File::options().append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = File::options().create(true).append(true).mode(MODE).open(path)?;
                give_to(&file, &self.file.metadata()?)?;
                Ok(file)
            }
            file => file,
        }
    }

    /// Refuses a copy that was put beside the write-ahead log of what was there before:
    /// SQLite would write the log's pages into it. A file with a log of its own says in its
    /// header that it is written through one; a backup does not.
    fn check_log(&self) -> Result<()> {
        const WRITE_VERSION: usize = 18;
        if self.header()?.get(WRITE_VERSION) == Some(&1) && self.has_log() {
            bail!(Unusable::StrayLog { log: self.log_path() });
        }
        Ok(())
    }

    /// The first bytes of the file, as many as it has.
    pub fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = vec![0; HEADER];
        let length = self.file.read_at(&mut header, 0)?;
        header.truncate(length);
        Ok(header)
    }

    /// Whether the write-ahead log holds anything.
    pub fn has_log(&self) -> bool {
        fs::metadata(self.log_path()).is_ok_and(|metadata| metadata.len() > 0)
    }

    fn log_path(&self) -> PathBuf {
        self.beside("-wal")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.real_path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

/// The lock belongs to the open file, which a process shares that was forked a moment ago and has
/// not executed its program yet (flock(2)): closing the file here would leave it locked until then.
impl Drop for Anchor {
    fn drop(&mut self) {
        if self.is_locked.load(Relaxed) {
            // Where it cannot be unlocked, closing does so a moment later.
            let _ = self.file.unlock();
        }
    }
}

/// Makes a file that only its user can read: the user whose folder it is in.
pub fn create(path: &Path) -> Result<File> {
    let cannot = || format!("cannot create {}", path.display());
    let new = File::options().read(true).write(true).create_new(true).mode(MODE).open(path);
    let file = new.with_context(cannot)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    give_to(&file, &fs::metadata(folder).with_context(cannot)?).with_context(cannot)?;
    Ok(file)
}

/// Lets a file that root has just made belong to another's owner: root runs commands, and the
/// router that has to use the file runs as somebody else.
fn give_to(file: &File, owner: &Metadata) -> io::Result<()> {
    match file.metadata()?.uid() {
        0 if owner.uid() != 0 => fchown(file, Some(owner.uid()), Some(owner.gid())),
        _ => Ok(()),
    }
}

fn at(path: &Path) -> Result<Option<Identity>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(identity(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests;
