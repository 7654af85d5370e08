//! File systems that may not answer at all, such as one whose server is gone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinError;

/// How long somebody who waits for an answer of the router's lets it wait for a file system: well
/// below what a command waits.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How long whoever connects to a server lets it wait for files with passwords and certificates. Well
/// below what the connection may take beside it.
pub const CONNECTING: Duration = Duration::from_secs(10);

/// Asks a file system, and waits so long for its answer. None if there is none by then: the thread
/// that asks goes on waiting, and nobody else does.
///
/// # Panics
/// As whoever asks does.
pub async fn answer_within<T: Send + 'static>(
    limit: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let answered = tokio::time::timeout(limit, tokio::task::spawn_blocking(ask)).await.ok()?;
    match answered.map_err(JoinError::try_into_panic) {
        Ok(answer) => Some(answer),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The router ends.
        Err(Err(_)) => None,
    }
}

/// The same for those who ask one after the other: the thread that asks has the turn, and gives it back
/// with the answer. So a file system that hangs takes one thread, however often it is asked: there
/// are so many of them for all that the router asks of file systems and names.
pub async fn answer_in_turn<T: Send + 'static>(
    limit: Duration,
    turn: OwnedMutexGuard<()>,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<(T, OwnedMutexGuard<()>)> {
    answer_within(limit, move || (ask(), turn)).await
}

/// The turns of those who ask for the same files again and again: a file system that hangs has one
/// thread of theirs at most. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<()>>);

impl Turns {
    /// As [`answer_within`], once it is one's turn.
    pub async fn answer_within<T: Send + 'static>(
        &self,
        limit: Duration,
        ask: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let asking = async {
            let turn = Arc::clone(&self.0).lock_owned().await;
            answer_in_turn(limit, turn, ask).await.map(|(answer, _turn)| answer)
        };
        tokio::time::timeout(limit, asking).await.ok()?
    }
}

/// Files that are needed to connect, which those who connect read in turn.
#[derive(Clone, Debug)]
pub struct Files {
    settings: &'static str,
    turns: Turns,
}

impl Files {
    /// Those that these settings name.
    pub fn of(settings: &'static str) -> Self {
        Self { settings, turns: Turns::default() }
    }

    /// Reads them.
    ///
    /// # Errors
    /// That of `read`; or the file system does not answer within [`CONNECTING`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let settings = self.settings;
        match self.turns.answer_within(CONNECTING, read).await {
            Some(read) => read,
            None => bail!(
                "the file system of {settings} has not answered for {CONNECTING:?}: is its server there?"
            ),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::File;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::Barrier;
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::thread::JoinHandle;

    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_what_does_not_answer() {
        assert_eq!(answer_within(Duration::from_secs(60), || 7).await, Some(7));
        let barrier = Arc::new(Barrier::new(2));
        let hung = Arc::clone(&barrier);
        let asked = answer_within(Duration::from_millis(50), move || hung.wait().is_leader());
        assert_eq!(asked.await, None);
        barrier.wait();
    }

    #[tokio::test]
    #[should_panic(expected = "of the test")]
    async fn a_panic_is_no_file_system_that_hangs() {
        answer_within(Duration::from_secs(60), || panic!("of the test")).await.unwrap()
    }

    #[tokio::test]
    async fn what_does_not_answer_keeps_the_turn() {
        let (turns, (answers, hung)) = (Arc::new(Mutex::new(())), sync_channel::<()>(0));
        let (turn, wait) = (Arc::clone(&turns).lock_owned().await, move || hung.recv());
        assert!(answer_in_turn(Duration::from_millis(50), turn, wait).await.is_none());
        assert!(turns.try_lock().is_err(), "another one may ask");
        drop(answers);
        let turn = Arc::clone(&turns).lock_owned().await;
        let answered = answer_in_turn(Duration::from_secs(60), turn, || 7).await;
        assert!(answered.is_some_and(|(answer, _turn)| answer == 7 && turns.try_lock().is_err()));
        assert!(turns.try_lock().is_ok());
    }

    /// A file whose file system does not answer, until this is dropped.
    pub struct Hung {
        dir: TempDir,
        /// Ends the waiting of whoever reads it.
        end: Option<(SyncSender<()>, JoinHandle<()>)>,
    }

    impl Hung {
        pub fn new() -> Self {
            let dir = TempDir::new().unwrap();
            let file = dir.path().join("file");
            // It gives nothing until somebody writes.
            assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
            let (end, ended) = sync_channel(0);
            let ending = std::thread::spawn(move || {
                // Should the test hang, this ends it.
                let _ = ended.recv_timeout(6 * CONNECTING);
                drop(File::options().read(true).write(true).open(file));
            });
            Self { dir, end: Some((end, ending)) }
        }

        pub fn file(&self) -> PathBuf {
            self.dir.path().join("file")
        }
    }

    impl Drop for Hung {
        fn drop(&mut self) {
            if let Some((end, ending)) = self.end.take() {
                drop(end);
                ending.join().unwrap();
            }
        }
    }

    /// Waits for `asked`, which reads a hung file, on a runtime with a single thread; gives its error.
    /// The thread does something else meanwhile.
    pub async fn error_of<T: Send + 'static>(
        asked: impl Future<Output = Result<T>> + Send + 'static,
    ) -> String {
        let ticking = tokio::spawn(async {
            for _ in 0..50 {
                tokio::time::sleep(CONNECTING / 100).await;
            }
        });
        let asked = tokio::spawn(asked);
        ticking.await.unwrap();
        assert!(!asked.is_finished(), "it is not hung");
        let answer = tokio::time::timeout(3 * CONNECTING, asked).await;
        let error = answer.expect("it waits for ever").unwrap().err().expect("the file is hung");
        format!("{error:#}")
    }

    #[tokio::test]
    async fn those_who_ask_the_same_have_one_thread() {
        let (turns, hung) = (Turns::default(), Hung::new());
        let read = |file: &Path| {
            let file = file.to_owned();
            move || std::fs::read(file).is_ok()
        };
        let limit = Duration::from_millis(50);
        assert_eq!(turns.answer_within(limit, read(&hung.file())).await, None);
        assert_eq!(
            turns.answer_within(limit, || unreachable!("it is not its turn")).await,
            None::<()>
        );
        drop(hung);
        assert_eq!(turns.answer_within(CONNECTING, || 7).await, Some(7));
    }
}
