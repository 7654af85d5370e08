//! A plugin's file: as it was found, and as it was read.

use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::digest::{Digest, DigestHasher};

/// The largest file that is read, in bytes.
pub(super) const LARGEST: u64 = 256 << 20;

/// How much is read at a time, in bytes: what a processor still has at hand when it is hashed.
const CHUNK: usize = 256 << 10;

/// How much of what was found is in memory at a time, in KiB: four of the largest files. The contents
/// of a whole folder may be more than the machine has memory.
static ROOM: Semaphore = Semaphore::const_new(4 * kibibytes(LARGEST) as usize);

/// A plugin's file and its content.
#[derive(Clone, Debug)]
pub struct PluginFile {
    /// The plugin's name.
    pub name: String,
    /// Where the file is, for messages.
    pub path: PathBuf,
    pub(super) bytes: Bytes,
    /// Of the bytes: code is kept under it.
    pub(super) digest: Digest,
    /// How many bytes it had when it was found in the folder, if that is where it is from: it
    /// has room for so many.
    found: Option<u64>,
}

/// A plugin's file that was found: what it is known by, and its content if there was room for it.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// The plugin's name.
    pub name: String,
    /// Where the file is.
    pub path: PathBuf,
    /// How many bytes it had.
    pub size: u64,
    /// What its content is known by.
    pub(super) digest: Digest,
    bytes: Option<Bytes>,
}

/// A file in the folder is no longer what was found: the folder tells what becomes of it.
#[derive(Debug)]
pub struct NotAsFound;

impl std::fmt::Display for NotAsFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the file is not as it was found")
    }
}

/// A file's content.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    digest: Digest,
}

impl PluginFile {
    /// A file with this content.
    pub fn new(name: String, path: PathBuf, bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), name, path, bytes, found: None }
    }

    /// Its content.
    pub fn content(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads what somebody names: a file, or a pipe to its end. The plugin is named after it.
    ///
    /// # Errors
    /// The file cannot be read, or has more than 256 MiB.
    pub fn read(file: &Path) -> Result<Self> {
        Self::of(file, File::open(file).and_then(|file| read_from(file, &mut || ())))
    }

    /// Reads a file of the plugins' folder. The plugin is named after it.
    ///
    /// # Errors
    /// The file cannot be read, is no regular file, or has more than 256 MiB.
    pub fn read_of_folder(file: &Path) -> Result<Self> {
        Self::of(file, read(file, &mut || ()))
    }

    fn of(file: &Path, content: io::Result<Content>) -> Result<Self> {
        let content = content.with_context(|| format!("reading {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Content { bytes, digest } = content;
        Ok(Self { name, path: file.to_owned(), bytes: bytes.into(), digest, found: None })
    }

    /// Waits for what may take long. The content of what was found is given up meanwhile, since
    /// others need its room, and read again afterwards.
    ///
    /// # Errors
    /// It can no longer be read as it was ([`NotAsFound`]).
    pub(super) async fn put_aside_for<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T> {
        let Some(size) = self.found else { return Ok(waiting.await) };
        self.bytes = Bytes::new();
        let waited = waiting.await;
        let (name, path) = (self.name.clone(), self.path.clone());
        let found = FoundFile { name, path, size, digest: self.digest, bytes: None };
        *self = found.read().await?;
        Ok(waited)
    }
}

impl FoundFile {
    /// What this content is known by.
    pub fn of(name: String, path: PathBuf, content: &[u8]) -> Self {
        Self { name, path, size: content.len() as u64, digest: Digest::of(content), bytes: None }
    }

    /// The same with the content, if there is room.
    pub(super) fn with(name: String, path: PathBuf, content: Content) -> Self {
        let Content { bytes, digest } = content;
        let size = bytes.len() as u64;
        let room = ROOM.try_acquire_many(kibibytes(size)).ok();
        let bytes = room.map(|room| Bytes::from_owner(Roomed { bytes, _room: room }));
        Self { name, path, size, digest, bytes }
    }

    /// The same without the content.
    pub fn without_content(&self) -> Self {
        let (name, path) = (self.name.clone(), self.path.clone());
        Self { name, path, size: self.size, digest: self.digest, bytes: None }
    }

    /// Gives the content, or reads it once more: waits until there is room for it among those that
    /// were found. Together they have no more than 1 GiB, as long as somebody has their content.
    ///
    /// # Errors
    /// The file cannot be read, or it is no longer what was found: [`NotAsFound`], either way.
    pub async fn read(self) -> Result<PluginFile> {
        let Self { name, path, size, digest, bytes } = self;
        if let Some(bytes) = bytes {
            return Ok(PluginFile { name, path, bytes, digest, found: Some(size) });
        }
        let room = ROOM.acquire_many(kibibytes(size)).await?;
        let of_file = path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let Content { bytes, digest: now } = read(&of_file, &mut || ())?;
            ensure!(now == digest, "it has changed since it was found");
            Ok(Bytes::from_owner(Roomed { bytes, _room: room }))
        });
        let bytes = reading.await.context("reading has stopped")?;
        let bytes = bytes.with_context(|| format!("reading {}", path.display()));
        Ok(PluginFile { name, path, bytes: bytes.context(NotAsFound)?, digest, found: Some(size) })
    }

    /// Whether both have the same content.
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// A content, and the room that it takes.
struct Roomed {
    bytes: Vec<u8>,
    _room: SemaphorePermit<'static>,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The content of a regular file of at most [`LARGEST`]. Waits for nobody: what was a file when
/// it was looked at may be a pipe by now, which nobody writes to. Tells `answered` of each part.
///
/// # Errors
/// It cannot be read, is something else, or is larger.
pub(super) fn read(path: &Path, answered: &mut dyn FnMut()) -> io::Result<Content> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    read_from(file, answered)
}

fn read_from(mut file: File, answered: &mut dyn FnMut()) -> io::Result<Content> {
    let size = file.metadata()?.len().min(LARGEST);
    let mut bytes = Vec::with_capacity(size as usize);
    let (mut chunk, mut hasher) = (vec![0; CHUNK], DigestHasher::default());
    loop {
        let chunk = match file.read(&mut chunk) {
            Ok(0) => return Ok(Content { bytes, digest: hasher.digest() }),
            Ok(length) => &chunk[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.len() + chunk.len() > LARGEST as usize {
            let text = format!("it has more than {LARGEST} bytes, the limit");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        answered();
        hasher.write(chunk);
        bytes.extend_from_slice(chunk);
    }
}

const fn kibibytes(bytes: u64) -> u32 {
    bytes.div_ceil(1024) as u32
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::sync::Mutex;

    use super::*;

    /// Held by tests for which it matters how much room there is: they share it.
    pub(in crate::plugins) static ROOMY: Mutex<()> = Mutex::const_new(());

    /// As if it and another one did not fit in at the same time.
    pub(in crate::plugins) const MOST_OF_IT: u64 = 3 * LARGEST;

    pub(in crate::plugins) fn file(content: &[u8]) -> (tempfile::TempDir, FoundFile) {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("test.wasm");
        fs::write(&path, content).unwrap();
        (dir, FoundFile::of("test".to_owned(), path, content))
    }

    #[tokio::test]
    async fn contents_are_read_when_there_is_room_for_them() {
        let _all = ROOMY.lock().await;
        let (_dir, mut found) = file(b"small");
        found.size = MOST_OF_IT;
        let first = found.clone().read().await.unwrap();
        let mut second = Box::pin(found.read());
        assert!(second.as_mut().now_or_never().is_none());
        let copy = first.clone();
        drop(first);
        assert!(second.as_mut().now_or_never().is_none());
        drop(copy);
        assert_eq!(second.await.unwrap().bytes, "small");
    }

    #[tokio::test]
    async fn what_has_changed_since_it_was_found_is_not_taken_for_it() {
        let (_dir, found) = file(b"one");
        fs::write(&found.path, b"two").unwrap();
        let error = format!("{:#}", found.read().await.unwrap_err());
        assert!(error.ends_with("it has changed since it was found"), "{error}");
    }

    #[tokio::test]
    async fn a_content_that_was_found_is_kept_until_it_is_loaded_and_not_read_again() {
        let _all = ROOMY.lock().await;
        let (dir, found) = file(b"small");
        let path = found.path.clone();
        let content = read(&path, &mut || ()).unwrap();
        let found = FoundFile::with(found.name, path, content);
        drop(dir);
        assert!(found.without_content().read().await.is_err(), "the file is gone");
        assert_eq!(found.read().await.unwrap().bytes, "small");
    }

    #[test]
    fn what_is_read_in_parts_is_known_by_the_whole() {
        let content: Vec<u8> = (0..3 * CHUNK + 7).map(|number| number as u8).collect();
        let (_dir, found) = file(&content);
        let read = PluginFile::read(&found.path).unwrap();
        assert_eq!((read.digest, &read.bytes[..]), (Digest::of(&content), &content[..]));
        let mut parts = 0;
        super::read(&found.path, &mut || parts += 1).unwrap();
        assert!(parts >= 4, "each part is an answer of the file system: {parts}");
    }

    #[tokio::test]
    async fn what_is_put_aside_takes_no_room_and_is_read_again() {
        let _all = ROOMY.lock().await;
        let (dir, mut found) = file(b"small");
        found.size = MOST_OF_IT;
        let mut aside = found.clone().read().await.unwrap();
        let other = async { found.clone().read().await.map(|other| other.bytes.len()) };
        assert_eq!(aside.put_aside_for(other).await.unwrap().unwrap(), 5);
        assert_eq!(aside.content(), b"small");
        let of_nowhere = PluginFile::new("test".into(), found.path.clone(), "text".into());
        drop(dir);
        let error = aside.put_aside_for(async {}).await.unwrap_err();
        assert!(error.is::<NotAsFound>(), "{error:#}");
        let mut of_nowhere = of_nowhere;
        of_nowhere.put_aside_for(async {}).await.unwrap();
        assert_eq!(of_nowhere.content(), b"text");
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_holds_up_nobody() {
        let (dir, found) = file(b"small");
        fs::remove_file(&found.path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &found.path, rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        let (tell, told) = mpsc::sync_channel(1);
        let path = found.path;
        std::thread::spawn(move || tell.send(read(&path, &mut || ()).map(|content| content.bytes)));
        let error = told.recv_timeout(Duration::from_mins(1)).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file");
        drop(dir);
    }

    #[test]
    fn a_file_without_end_is_read_up_to_the_limit() {
        let error = PluginFile::read(Path::new("/dev/zero")).unwrap_err();
        assert!(format!("{error:#}").ends_with("more than 268435456 bytes, the limit"));
    }
}
