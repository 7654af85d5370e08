//! How a plugin comes to run: on a thread of its own, with a session after another.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::member::Running;
use super::{Fleet, Started, Transport};
use crate::daemon::supervisor::{caught, supervise};
use crate::jsonl;
use crate::router::{Breaker, Context, Intake, Limit, Session, State, Stats, Version};

/// Messages that may wait for a plugin that reads JSON Lines.
const LINES: usize = 1024;

impl Fleet {
    /// Lets a plugin that does not run yet run.
    pub(super) fn launch(&self, name: &str, version: Version) -> Started {
        info!(
            plugin = name,
            version = version.plugin.version,
            cached = version.plugin.cached,
            "plugin loaded"
        );
        let lanes = version.settings.lanes;
        let subscriptions = version.subscriptions().to_vec();
        let (sender, current) = watch::channel(version);
        let stop = self.stop.child_token();
        let (tell, started) = oneshot::channel();
        let mut members = self.members();
        let member = members.entry(name.to_owned()).or_default();
        member.stats.set_state(State::Waiting, None);
        member.bound.extend(subscriptions);
        member.removed = None;
        if let Some(back) = member.back.take() {
            back.cancel();
        }
        // A file that came back at once: what it was before still settles events.
        let ended = CancellationToken::new();
        let before = member.ended.replace(ended.clone());
        let context = self.context(current, Arc::clone(&member.stats), stop.clone());
        let lines = match &self.transport {
            Transport::Amqp(broker) => {
                let supervised = supervise(Arc::clone(broker), context, tell);
                self.spawn(name, lanes, before, ended, supervised);
                None
            }
            Transport::Lines(broken) => {
                let (lines, inbox) = jsonl::Inbox::new(LINES);
                let reading = read_lines(context, inbox, tell, broken.clone());
                self.spawn(name, lanes, before, ended, reading);
                Some(lines)
            }
        };
        member.running = Some(Running { version: sender, stop, lines });
        started
    }

    /// Lets a plugin that runs go on with another number of lanes, and so of threads:
    /// the old ones finish what they have first.
    pub(super) fn relaunch(&self, name: &str, version: Version) {
        let running = self.members().get_mut(name).and_then(|member| member.running.take());
        if let Some(running) = running {
            running.stop.cancel();
        }
        // That it consumes is of interest only at the start.
        drop(self.launch(name, version));
    }

    /// Runs a plugin on a thread of its own. The system shares the cores out
    /// among the plugins, and no event is handed from one core to another on its
    /// way, which would cost more than routing it. One with several lanes gets a
    /// thread for each besides. It begins when `before` has ended, and tells
    /// `ended` of its own end.
    fn spawn(
        &self,
        name: &str,
        lanes: usize,
        before: Option<CancellationToken>,
        ended: CancellationToken,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        let running = (self.tasks.token(), ended.drop_guard());
        let thread = std::thread::Builder::new().name(name.chars().take(15).collect());
        let mut runtime = match lanes {
            0 | 1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let spawned =
            runtime.worker_threads(lanes.max(1)).enable_time().build().and_then(|runtime| {
                thread.spawn(move || {
                    let _running = running;
                    runtime.block_on(async {
                        if let Some(before) = before {
                            before.cancelled().await;
                        }
                        run.await;
                    });
                })
            });
        if let Err(error) = spawned {
            error!(plugin = name, "the system has no thread for the plugin: {error}");
        }
    }

    fn context(
        &self,
        current: watch::Receiver<Version>,
        stats: Arc<Stats>,
        stop: CancellationToken,
    ) -> Context {
        let settings = self.settings();
        #[expect(clippy::disallowed_methods, reason = "the seed of a router that runs")]
        let seed = rand::random();
        Context {
            current,
            delays: self.delays.clone(),
            clock: self.clock.clone(),
            intake: Intake::of(&settings),
            output_exchange: settings.amqp.output_exchange.clone(),
            limit: Limit { deliveries: settings.amqp.prefetch.into(), bytes: usize::MAX },
            breaker: Breaker::new(),
            seed,
            stats,
            stop,
        }
    }
}

/// Routes lines. There is no queue that would keep the events of a plugin that
/// fails, so it is not suspended: each event has its attempts. Nor can lines be
/// given back that cannot be answered: `broken` is told, which ends the run.
async fn read_lines(
    mut context: Context,
    inbox: jsonl::Inbox,
    started: oneshot::Sender<()>,
    broken: mpsc::Sender<anyhow::Error>,
) {
    context.breaker = Breaker::never_opens();
    // A line that was read cannot be given back: the end of the lines stops it.
    context.stop = CancellationToken::new();
    let stats = Arc::clone(&context.stats);
    stats.set_state(State::Running, None);
    // Nobody may be waiting any more.
    let _ = started.send(());
    let outbox = jsonl::Outbox::of(&context.current.borrow().plugin.name);
    let session = Session::new(&mut context, inbox, outbox);
    if let Err(error) = caught(session.run()).await {
        stats.set_state(State::Waiting, Some(format!("{error:#}")));
        // One that waits says as much as many.
        let _ = broken.try_send(error);
    }
}
