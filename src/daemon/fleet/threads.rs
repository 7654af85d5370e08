//! The threads that plugins run on.

use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::Builder;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::{self, Runtime};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::lock;
use crate::backoff::{Backoff, Policy};
use crate::router::{State, Stats};

/// The pauses before a thread that could not be started is tried again.
const PAUSES: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(30));

/// A thread of a plugin's own. The system shares the cores out among the plugins, and no event is
/// handed from one core to another on its way, which would cost more than routing it. A plugin
/// with several workers gets another thread for each of them.
pub(super) struct Threads {
    pub(super) plugin: String,
    pub(super) workers: usize,
    /// Where people see that there is no thread yet.
    pub(super) stats: Arc<Stats>,
    /// Ends waiting for a thread.
    pub(super) stop: CancellationToken,
}

/// What is to run, until a thread has taken it.
type Work = Arc<Mutex<Option<BoxFuture<'static, ()>>>>;

impl Threads {
    /// Runs this on a thread as soon as the system has one; if it is stopped before that, not at
    /// all.
    pub(super) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        self.run_by(start, work);
    }

    fn run_by(
        self,
        start: impl Fn(&str, usize, &Work) -> io::Result<()> + Send + 'static,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let work: Work = Arc::new(Mutex::new(Some(work.boxed())));
        let Err(mut error) = start(&self.plugin, self.workers, &work) else { return };
        let again = async move {
            let Self { plugin, workers, stats, stop } = self;
            let mut backoff = Backoff::new(PAUSES);
            loop {
                let pause = backoff.next_pause();
                error!(plugin, retry_in = ?pause, "cannot start a thread for the plugin: {error}");
                let why = format!("the system gives it no thread, it is tried again: {error}");
                stats.set_state(State::Waiting, Some(why));
                if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
                match start(&plugin, workers, &work) {
                    Ok(()) => break,
                    Err(still) => error = still,
                }
            }
            info!(plugin, "the plugin has a thread now");
        };
        tokio::spawn(again);
    }
}

/// Starts a thread that takes the work, which stays where it is if that fails.
fn start(plugin: &str, workers: usize, work: &Work) -> io::Result<()> {
    let (tell, begun) = mpsc::sync_channel(1);
    let work = Arc::clone(work);
    let thread = Builder::new().name(plugin.chars().take(15).collect());
    thread.spawn(move || {
        // It is made here, since a runtime must not be dropped where tasks run.
        let runtime = match runtime(workers) {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let _ = tell.send(Ok(()));
        let work = lock(&work).take();
        if let Some(work) = work {
            runtime.block_on(work);
        }
    })?;
    // Without another thread for its workers, a runtime panics.
    begun.recv().unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
}

fn runtime(workers: usize) -> io::Result<Runtime> {
    let mut runtime = match workers {
        0 | 1 => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    runtime.worker_threads(workers.max(1)).enable_time().build()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::sync::oneshot;

    use super::*;

    fn threads() -> Threads {
        let (stats, stop) = (Arc::default(), CancellationToken::new());
        Threads { plugin: "test".into(), workers: 1, stats, stop }
    }

    #[tokio::test]
    async fn a_thread_that_cannot_be_started_is_tried_again() {
        let (threads, attempts) = (threads(), AtomicU32::new(0));
        let stats = Arc::clone(&threads.stats);
        let (tell, told) = oneshot::channel();
        let start_at_last =
            move |plugin: &str, workers, work: &Work| match attempts.fetch_add(1, Relaxed) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => start(plugin, workers, work),
            };
        threads.run_by(start_at_last, async { tell.send(()).unwrap() });
        tokio::task::yield_now().await;
        let read = stats.read();
        assert_eq!(read.state, State::Waiting);
        let reason = read.reason.unwrap();
        assert!(reason.starts_with("the system gives it no thread"), "{reason}");
        told.await.expect("it runs in the end");
    }

    #[tokio::test]
    async fn what_is_stopped_before_it_has_a_thread_never_runs() {
        let threads = threads();
        let stop = threads.stop.clone();
        let (tell, told) = oneshot::channel::<()>();
        threads.run_by(|_, _, _| Err(io::ErrorKind::WouldBlock.into()), async {
            let _ = tell.send(());
        });
        stop.cancel();
        assert!(told.await.is_err(), "it is dropped, so that whoever waits for its end goes on");
    }
}
