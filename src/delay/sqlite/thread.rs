//! Threads with a connection each, because SQLite blocks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::schema;

/// Something to do with the connection. Returns whether the connection is still good.
type Task = Box<dyn FnOnce(Result<&mut Connection>) -> bool + Send>;

/// How many tasks may wait for a thread.
const QUEUE: usize = 64;

/// A thread with a connection. It ends when this is dropped and its tasks are done.
#[derive(Debug)]
pub struct ConnectionThread {
    tasks: mpsc::Sender<Task>,
}

impl ConnectionThread {
    /// Starts a thread that opens `file` for its first task. It opens the file again after
    /// every error, because the cause of a bad or read-only connection may have been fixed.
    pub fn start(name: &str, file: PathBuf) -> Result<Self> {
        let (tasks, mut queue) = mpsc::channel::<Task>(QUEUE);
        let serve = move || {
            let mut connection = None;
            while let Some(task) = queue.blocking_recv() {
                // A fault of the router's own fails one task, not those after it. Where it
                // happened has been reported there; who waits for the task is told below.
                let attempt = AssertUnwindSafe(|| match opened(&mut connection, &file) {
                    Ok(connection) => task(Ok(connection)),
                    Err(error) => task(Err(error)),
                });
                let healthy = catch_unwind(attempt).unwrap_or(false);
                if !healthy {
                    connection = None;
                }
            }
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(serve)
            .context("cannot start a thread for the delay store")?;
        Ok(Self { tasks })
    }

    /// Runs `task` on the thread, after earlier tasks. Dropping the future does not stop it.
    pub async fn call<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        // SQLite's errors repeat the text of their cause.
        self.try_call(|connection| task(connection).map_err(|error| anyhow!("{error}"))).await
    }

    /// As [`call`](Self::call), for tasks that can fail in other ways too.
    pub async fn try_call<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let task: Task = Box::new(move |connection| {
            let outcome = connection.and_then(task);
            let healthy = outcome.is_ok();
            let _ = reply.send(outcome);
            healthy
        });
        self.tasks.send(task).await.ok().context("the delay store's thread has ended")?;
        answer.await.context("a fault of the router's own in the delay store's thread")?
    }
}

fn opened<'a>(
    connection: &'a mut Option<Connection>,
    file: &PathBuf,
) -> Result<&'a mut Connection> {
    if connection.is_none() {
        let new = Connection::open(file)?;
        schema::set_up(&new)?;
        *connection = Some(new);
    }
    connection.as_mut().context("just opened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_fails_one_task() {
        let folder = tempfile::tempdir().unwrap();
        let thread = ConnectionThread::start("test", folder.path().join("test.db")).unwrap();
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
}
