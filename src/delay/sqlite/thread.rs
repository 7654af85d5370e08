//! Threads with a connection each, because SQLite blocks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::anchor::Anchor;
use super::schema;
use crate::delay::blame::{Unstorable, sqlite_blames_data};

/// Something to do with the connection. Returns whether the connection is still good.
type Task = Box<dyn FnOnce(Result<&mut Connection>) -> bool + Send>;

/// How many tasks may wait for a thread.
const QUEUE: usize = 64;

/// A thread with a connection. It ends when this is closed, or dropped, and its tasks are
/// done.
#[derive(Debug)]
pub struct ConnectionThread {
    /// None tells the thread to close the connection and to end.
    tasks: mpsc::Sender<Option<Task>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl ConnectionThread {
    /// Starts a thread that opens `file` for its first task. It opens the file again after
    /// every error, because the cause of a bad or read-only connection may have been fixed.
    /// It holds `anchor` for as long as it may have a connection.
    pub fn start(name: &str, file: PathBuf, anchor: Arc<Anchor>) -> Result<Self> {
        let (tasks, mut queue) = mpsc::channel::<Option<Task>>(QUEUE);
        let serve = move || {
            let mut connection = None;
            while let Some(Some(task)) = queue.blocking_recv() {
                // A fault of the router's own fails one task, not those after it. Where it
                // happened has been reported there; who waits for the task is told below.
                let attempt = AssertUnwindSafe(|| match opened(&mut connection, &file, &anchor) {
                    Ok(connection) => task(Ok(connection)),
                    Err(error) => task(Err(error)),
                });
                let healthy = catch_unwind(attempt).unwrap_or(false);
                if !healthy {
                    close(&mut connection, &anchor);
                }
            }
            close(&mut connection, &anchor);
            drop(anchor);
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(serve)
            .context("cannot start a thread for the delay store")?;
        Ok(Self { tasks, thread: Mutex::new(Some(thread)) })
    }

    /// Closes the connection after earlier tasks, and waits for the end of the thread.
    pub async fn close(&self) {
        // If the thread has ended, there is nobody to tell.
        let _ = self.tasks.send(None).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Runs `task` on the thread, after earlier tasks. Dropping the future does not stop it.
    pub async fn call<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.try_call(|connection| task(connection).map_err(blamed)).await
    }

    /// As [`call`](Self::call), for tasks that can fail in other ways too.
    pub async fn try_call<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(task, false).await
    }

    /// As [`call`](Self::call), but a task that has not begun is left out when the future was
    /// dropped. Not for what has to be done.
    pub async fn call_while_wanted<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(|connection| task(connection).map_err(blamed), true).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
        only_while_wanted: bool,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let task: Task = Box::new(move |connection| {
            if only_while_wanted && reply.is_closed() {
                return true;
            }
            let outcome = connection.and_then(task);
            let healthy = outcome.is_ok();
            let _ = reply.send(outcome);
            healthy
        });
        self.tasks.send(Some(task)).await.ok().context("the delay store's thread has ended")?;
        answer.await.context("a fault of the router's own in the delay store's thread")?
    }

    /// Has `task` run after earlier ones, unless too many wait already or it fails. Nobody is
    /// told.
    pub fn start_if_possible(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        let task: Task =
            Box::new(|connection| connection.is_ok_and(|connection| task(connection).is_ok()));
        let _ = self.tasks.try_send(Some(task));
    }
}

/// The error in words, as [`Unstorable`] if it is the data's fault.
fn blamed(error: rusqlite::Error) -> anyhow::Error {
    match error.sqlite_error_code() {
        Some(code) if sqlite_blames_data(code) => Unstorable(error.to_string()).into(),
        // SQLite's errors repeat the text of their cause.
        _ => anyhow!("{error}"),
    }
}

fn opened<'a>(
    connection: &'a mut Option<Connection>,
    file: &Path,
    anchor: &Anchor,
) -> Result<&'a mut Connection> {
    if connection.is_none() {
        // A file that is gone must not become a new, empty one.
        anchor.check()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let new = Connection::open_with_flags(file, flags)?;
        schema::set_up(&new)?;
        anchor.connected();
        *connection = Some(new);
    }
    connection.as_mut().context("just opened")
}

fn close(connection: &mut Option<Connection>, anchor: &Anchor) {
    if let Some(connection) = connection.take() {
        anchor.disconnect(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(folder: &tempfile::TempDir) -> ConnectionThread {
        let file = folder.path().join("test.db");
        let anchor = Arc::new(Anchor::open(&file).unwrap());
        ConnectionThread::start("test", file, anchor).unwrap()
    }

    #[tokio::test]
    async fn a_panic_fails_one_task() {
        let folder = tempfile::tempdir().unwrap();
        let thread = started(&folder);
        let count = |connection: &mut Connection| {
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
        };
        thread.call(|connection| connection.execute_batch("CREATE TABLE t (x)")).await.unwrap();
        let panicked = thread.call(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute("INSERT INTO t VALUES (1)", [])?;
            if true { panic!("of the test") } else { Ok(()) }
        });
        let error = panicked.await.unwrap_err();
        assert!(error.to_string().contains("a fault of the router's own"), "{error:#}");
        assert_eq!(thread.call(count).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let thread = started(&folder);
        let (go_on, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let (ran, runs) = std::sync::mpsc::sync_channel(1);
        let slow = thread.call_while_wanted(move |_| {
            let _ = wait.recv();
            Ok(())
        });
        let abandoned = async {
            let call = thread.call_while_wanted(move |_| {
                let _ = ran.send(());
                Ok(())
            });
            tokio::select! {
                biased;
                _ = call => {}
                () = std::future::ready(()) => {}
            }
            drop(go_on);
        };
        let (slow, ()) = tokio::join!(biased; slow, abandoned);
        slow.unwrap();
        thread.call(|_| Ok(())).await.unwrap();
        assert!(runs.recv().is_err());
    }

    /// The log is only another one after all connections were closed.
    #[tokio::test]
    async fn an_error_of_one_connection_does_not_hide_that_the_log_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        let anchor = Arc::new(Anchor::open(&file).unwrap());
        let start = || ConnectionThread::start("test", file.clone(), Arc::clone(&anchor)).unwrap();
        let (good, bad) = (start(), start());
        let fail = |connection: &mut Connection| connection.execute_batch("NONSENSE");
        good.call(|connection| connection.execute_batch("CREATE TABLE t (x)")).await.unwrap();
        anchor.check().unwrap();
        bad.call(fail).await.unwrap_err();
        std::fs::remove_file(folder.path().join("test.db-wal")).unwrap();
        let error = anchor.check().unwrap_err();
        assert!(error.to_string().contains("write-ahead log"), "{error:#}");
        good.call(fail).await.unwrap_err();
        bad.close().await;
        good.call(|connection| connection.execute_batch("SELECT 1")).await.unwrap();
        anchor.check().unwrap();
    }
}
