//! Where events are routed: in line with the session, or on several instances
//! side by side.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::event::{Event, Failure, Publication};
use crate::plugins::{Instance, Plugin};

/// An event on its way through the plugin.
pub struct Job<R> {
    /// The event.
    pub event: Event,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// What settles it.
    pub receipt: R,
}

/// What a plugin answered.
pub type Answer = Result<Vec<Publication>, Failure>;

/// The instances of one version of a plugin.
pub struct Lanes<R> {
    kind: Kind<R>,
}

enum Kind<R> {
    /// One instance, called where the delivery is read: no hand-over to pay for.
    Inline(Box<Instance>),
    /// An instance per task. An event goes by its uuid, so that a plugin that
    /// remembers sees all events of one uuid in the same instance. The channels
    /// are bounded by what the session holds open, the prefetch.
    Tasks {
        jobs: Vec<mpsc::UnboundedSender<Job<R>>>,
        answers: mpsc::UnboundedReceiver<(Job<R>, Answer)>,
        /// Ends the tasks when the lanes are dropped.
        tasks: JoinSet<()>,
    },
}

impl<R: Send + 'static> Lanes<R> {
    /// `count` instances, started when first needed.
    #[expect(clippy::disallowed_methods, reason = "the prefetch bounds what is in the channels")]
    pub fn new(plugin: &Arc<Plugin>, count: usize) -> Self {
        if count <= 1 {
            return Self { kind: Kind::Inline(Box::new(plugin.instance())) };
        }
        let mut tasks = JoinSet::new();
        let (answered, answers) = mpsc::unbounded_channel();
        let jobs = (0..count)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                tasks.spawn(serve(plugin.instance(), receiver, answered.clone()));
                sender
            })
            .collect();
        Self { kind: Kind::Tasks { jobs, answers, tasks } }
    }

    /// Routes a job. Gives the answer if it is there at once; otherwise it comes
    /// out of [`Lanes::answered`].
    pub async fn route(&mut self, job: Job<R>) -> Option<(Job<R>, Answer)> {
        match &mut self.kind {
            Kind::Inline(instance) => {
                let answer = instance.route(&job.event, job.attempt).await;
                Some((job, answer))
            }
            Kind::Tasks { jobs, .. } => {
                let lane = (job.event.uuid.as_u128() % jobs.len() as u128) as usize;
                // A lane ends only with these lanes; a job lost with it stays unsettled.
                let _ = jobs[lane].send(job);
                None
            }
        }
    }

    /// Waits for the next answer of a lane; for ever where answers come at once.
    ///
    /// # Panics
    /// If a lane has, whose jobs will never be answered.
    pub async fn answered(&mut self) -> (Job<R>, Answer) {
        let Kind::Tasks { answers, tasks, .. } = &mut self.kind else {
            return std::future::pending().await;
        };
        tokio::select! {
            Some(answer) = answers.recv() => answer,
            Some(Err(ended)) = tasks.join_next() => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
            else => std::future::pending().await,
        }
    }

    /// Whether jobs are handed over and answers come later.
    pub fn are_tasks(&self) -> bool {
        matches!(self.kind, Kind::Tasks { .. })
    }
}

async fn serve<R>(
    mut instance: Instance,
    mut jobs: mpsc::UnboundedReceiver<Job<R>>,
    answers: mpsc::UnboundedSender<(Job<R>, Answer)>,
) {
    while let Some(job) = jobs.recv().await {
        let answer = instance.route(&job.event, job.attempt).await;
        if answers.send((job, answer)).is_err() {
            return;
        }
    }
}
