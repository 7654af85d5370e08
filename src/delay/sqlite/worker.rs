//! A thread with a connection of its own, since SQLite blocks.

use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::sql;

/// What the thread does next; says whether the connection is still good.
type Job = Box<dyn FnOnce(Result<&mut Connection>) -> bool + Send>;

/// Jobs that may wait for the thread.
const QUEUE: usize = 64;

/// Gives the thread work. It ends when this is dropped and the work is done.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts a thread that opens `file` when it is first needed, and again
    /// after every error: what made a connection bad or read-only may be mended.
    pub fn start(name: &str, file: PathBuf) -> Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let serve = move || {
            let mut connection = None;
            while let Some(job) = queue.blocking_recv() {
                let healthy = match opened(&mut connection, &file) {
                    Ok(connection) => job(Ok(connection)),
                    Err(error) => job(Err(error)),
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
        Ok(Self { jobs })
    }

    /// Does `task` in the thread, after what was asked of it before.
    ///
    /// Dropping the future does not undo the task.
    pub async fn call<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        // What SQLite says of an error and of its cause is the same.
        self.try_call(|connection| task(connection).map_err(|error| anyhow!("{error}"))).await
    }

    /// Like [`Worker::call`], for tasks that fail in other ways too.
    pub async fn try_call<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = connection.and_then(task);
            let healthy = outcome.is_ok();
            let _ = reply.send(outcome);
            healthy
        });
        let gone = "the delay store's thread is gone";
        self.jobs.send(job).await.ok().context(gone)?;
        answer.await.context(gone)?
    }
}

fn opened<'a>(
    connection: &'a mut Option<Connection>,
    file: &PathBuf,
) -> Result<&'a mut Connection> {
    if connection.is_none() {
        let new = Connection::open(file)?;
        sql::prepare(&new)?;
        *connection = Some(new);
    }
    connection.as_mut().context("just opened")
}
