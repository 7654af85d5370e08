//! Where events are routed: in line with the session, or by several workers beside
//! each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::core::{Answer, Job};
use super::stats::Stats;
use super::version::{Program, Version, Worker};
use crate::clock::Clock;

/// A job that a worker is done with.
pub struct Done {
    /// The job.
    pub job: Job,
    /// None if the call was not begun.
    pub answer: Option<Answer>,
    /// For how long it kept the workers from others: of several, its part.
    pub took: Duration,
}

/// The workers of one version of a plugin.
pub struct Workers<W> {
    kind: Kind<W>,
}

enum Kind<W> {
    /// One, called where the delivery is read: no hand-over to pay for.
    Inline(Measured<W>),
    /// A worker per task. An event goes by its uuid, so that a plugin that remembers
    /// sees all events of one uuid in the same instance. The channels are bounded by
    /// what the core has in flight.
    Tasks {
        jobs: Vec<mpsc::UnboundedSender<Job>>,
        answers: mpsc::UnboundedReceiver<Done>,
        /// Whether calls that have not begun are given back.
        halted: Arc<AtomicBool>,
        /// Ends the tasks when the workers are dropped.
        tasks: JoinSet<()>,
    },
}

impl<W: Worker> Workers<W> {
    /// The workers of a version, as many as its settings say.
    #[expect(clippy::disallowed_methods, reason = "the prefetch bounds what is in the channels")]
    pub fn of<P: Program<Worker = W>>(
        version: &Version<P>,
        clock: &Clock,
        stats: &Arc<Stats>,
    ) -> Self {
        let worker = || Measured {
            worker: Box::new(version.plugin.worker()),
            clock: clock.clone(),
            stats: Arc::clone(stats),
        };
        if version.settings.lanes <= 1 {
            return Self { kind: Kind::Inline(worker()) };
        }
        let mut tasks = JoinSet::new();
        let (answered, answers) = mpsc::unbounded_channel();
        let halted = Arc::<AtomicBool>::default();
        let jobs = (0..version.settings.lanes)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let halted = Arc::clone(&halted);
                tasks.spawn(serve(worker(), receiver, answered.clone(), halted));
                sender
            })
            .collect();
        Self { kind: Kind::Tasks { jobs, answers, halted, tasks } }
    }

    /// From now on no call begins: jobs that wait for a worker are given back.
    pub fn halt(&self) {
        if let Kind::Tasks { halted, .. } = &self.kind {
            halted.store(true, Ordering::Relaxed);
        }
    }

    /// Routes a job. Gives the answer if it is there at once; otherwise it comes
    /// out of [`Workers::answered`].
    pub async fn route(&mut self, job: Job) -> Option<Done> {
        match &mut self.kind {
            Kind::Inline(worker) => {
                let (answer, took) = worker.route(&job).await;
                Some(Done { job, answer: Some(answer), took })
            }
            Kind::Tasks { jobs, .. } => {
                let worker = (job.event.uuid.as_u128() % jobs.len() as u128) as usize;
                // A worker ends only with all of them; a job lost with it stays unsettled.
                let _ = jobs[worker].send(job);
                None
            }
        }
    }

    /// Waits for the next answer of a task, or for a job that is given back without one; for
    /// ever where answers come at once. Nothing is lost when the future is dropped.
    ///
    /// # Panics
    /// If a task has, whose jobs will never be answered.
    pub async fn answered(&mut self) -> Done {
        let Kind::Tasks { jobs, answers, tasks, .. } = &mut self.kind else {
            return std::future::pending().await;
        };
        let workers = jobs.len() as u32;
        tokio::select! {
            biased;
            Some(done) = answers.recv() => Done { took: done.took / workers, ..done },
            Some(Err(ended)) = tasks.join_next() => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
            else => std::future::pending().await,
        }
    }
}

/// A worker whose calls are measured.
struct Measured<W> {
    worker: Box<W>,
    clock: Clock,
    stats: Arc<Stats>,
}

impl<W: Worker> Measured<W> {
    async fn route(&mut self, job: &Job) -> (Answer, Duration) {
        let begun = self.clock.instant();
        let answer = self.worker.route(&job.event, job.attempt).await;
        let took = self.clock.instant().duration_since(begun);
        self.stats.measures().calls.add(took);
        (answer, took)
    }
}

async fn serve(
    mut worker: Measured<impl Worker>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    answers: mpsc::UnboundedSender<Done>,
    halted: Arc<AtomicBool>,
) {
    while let Some(job) = jobs.recv().await {
        let done = match halted.load(Ordering::Relaxed) {
            true => Done { job, answer: None, took: Duration::ZERO },
            false => {
                let (answer, took) = worker.route(&job).await;
                Done { job, answer: Some(answer), took }
            }
        };
        if answers.send(done).is_err() {
            return;
        }
    }
}
