//! How a plugin starts to run.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::life::{File, Handle, Launched, Life};
use super::member::Member;
use super::threads::Threads;
use super::{Fleet, Started};
use crate::amqp::topology;
use crate::router::{Context, Intake, Limit, Record, State, Stats, Version};

impl Fleet {
    /// Runs a version of a plugin, in place of what there was under its name before, and notes what
    /// has become of its file.
    pub(super) fn launch(&self, name: &str, version: Version, file: File) -> Started {
        info!(
            plugin = name,
            version = version.plugin.label,
            interface = %version.plugin.interface_version,
            cached = version.plugin.cached,
            "plugin loaded"
        );
        let workers = version.settings.lanes;
        let limit = self.limit();
        let (sender, current) = watch::channel(version);
        let stop = self.stop.child_token();
        let stopped = stop.clone();
        let (tell, started) = oneshot::channel();
        let mut members = self.members();
        let (before, stats) = match members.remove(name) {
            Some(Member { life, stats }) => (Some(life), stats),
            None => (None, self.stats_of(name)),
        };
        stats.set_state(State::Waiting, None);
        let context = self.context(name, current, limit, Arc::clone(&stats), stop.clone());
        let (sessions, lines) = self.endpoints.sessions(context, tell);
        let launched = Life::launch(before, Handle { version: sender, stop, lines }, file);
        let Launched { life, predecessor_ended, ended } = launched;
        members.insert(name.to_owned(), Member { life, stats: Arc::clone(&stats) });
        drop(members);
        let running = (self.tasks.token(), ended.drop_guard());
        let run = async move {
            let _running = running;
            if let Some(predecessor_ended) = predecessor_ended {
                predecessor_ended.cancelled().await;
            }
            sessions.await;
        };
        Threads { plugin: name.to_owned(), workers, stats, stop: stopped }.run(run);
        started
    }

    /// How much a plugin that starts now may have in flight: its part, beside the plugins
    /// that there are and those that are being loaded.
    fn limit(&self) -> Limit {
        let settings = self.settings();
        let amqp = &settings.amqp;
        let whole = Limit {
            deliveries: amqp.prefetch.into(),
            bytes: usize::try_from(amqp.prefetch_bytes).unwrap_or(usize::MAX),
            hold: Limit::HOLD,
            finish: settings.daemon.for_finishing(),
        };
        let coming = self.turning();
        let here = self.members();
        whole.shared_by(coming.len() + here.keys().filter(|name| !coming.contains(*name)).count())
    }

    fn context(
        &self,
        name: &str,
        current: watch::Receiver<Version>,
        limit: Limit,
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
            queue: self.endpoints.broker().map(|broker| topology::queue_name(broker, name)),
            output_exchange: settings.amqp.output_exchange.clone(),
            limit,
            record: Record::default(),
            seed,
            stats,
            tracer: self.tracer.clone(),
            stop,
        }
    }
}
