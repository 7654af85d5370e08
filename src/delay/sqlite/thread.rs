//! Threads with a connection each, because SQLite blocks.

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
                let healthy = match opened(&mut connection, &file) {
                    Ok(connection) => task(Ok(connection)),
                    Err(error) => task(Err(error)),
                };
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
        let gone = "the delay store's thread has ended";
        self.tasks.send(task).await.ok().context(gone)?;
        answer.await.context(gone)?
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
