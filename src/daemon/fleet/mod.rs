//! The plugins that run: started, replaced and stopped as their files come,
//! change and go.

mod launch;
mod member;
mod removal;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use self::member::Member;
pub use self::member::Report;

use crate::amqp::{Broker, topology};
use crate::clock::Clock;
use crate::delay;
use crate::event::Incoming;
use crate::plugins::{Change, Host, PluginFile};
use crate::router::{State, Version};
use crate::settings::Settings;

/// How long the broker may take to say how many messages wait.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often rates are measured.
const RATE: Duration = Duration::from_secs(5);

/// Where events come from.
#[derive(Clone)]
pub enum Transport {
    /// A broker.
    Amqp(Arc<Broker>),
    /// Standard input; and who is told that standard output cannot be written.
    Lines(mpsc::Sender<anyhow::Error>),
}

/// Told when a plugin that was launched consumes.
pub type Started = oneshot::Receiver<()>;

/// The plugins that run.
pub struct Fleet {
    host: Arc<Host>,
    settings: Mutex<Arc<Settings>>,
    transport: Transport,
    delays: delay::Handle,
    clock: Clock,
    /// Stops every plugin that is on the broker.
    stop: CancellationToken,
    tasks: TaskTracker,
    members: Mutex<BTreeMap<String, Member>>,
    /// Whether the plugins that were there at the start consume.
    started: AtomicBool,
}

impl Fleet {
    /// No plugins yet.
    pub fn new(
        host: Arc<Host>,
        settings: Settings,
        transport: Transport,
        delays: delay::Handle,
        clock: Clock,
    ) -> Self {
        Self {
            host,
            settings: Mutex::new(Arc::new(settings)),
            transport,
            delays,
            clock,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            members: Mutex::default(),
            started: AtomicBool::new(false),
        }
    }

    /// Loads the plugins that are there at the start, side by side.
    pub async fn start(self: &Arc<Self>, changes: Vec<Change>) -> Vec<Started> {
        let started = join_all(changes.into_iter().map(|change| self.apply(change))).await;
        started.into_iter().flatten().collect()
    }

    /// Waits until the plugins of the start consume: as long as the broker is
    /// away, or refuses one of their queues.
    pub async fn ready(&self, plugins: Vec<Started>) {
        // One that stops before it has started is no longer waited for.
        let count = join_all(plugins).await.len();
        self.started.store(true, Relaxed);
        info!(plugins = count, "ready");
    }

    /// Follows one change in the folder. Gives, for a plugin that is new, what
    /// tells that it consumes.
    pub async fn apply(self: &Arc<Self>, change: Change) -> Option<Started> {
        match change {
            Change::Present(source) => self.load(source).await,
            Change::Unusable { name, path, reason } => {
                self.refuse(name, &path, reason);
                None
            }
            Change::Gone { name } => {
                self.remove(&name);
                None
            }
        }
    }

    fn refuse(&self, name: String, path: &Path, reason: String) {
        let mut members = self.members();
        let member = members.entry(name.clone()).or_default();
        // The folder is read before it is watched, and tells it twice.
        if member.stale.as_ref() != Some(&reason) {
            error!(plugin = name, path = %path.display(), "plugin refused: {reason}");
            (member.stale, member.tried) = (Some(reason), None);
        }
    }

    async fn load(&self, source: PluginFile) -> Option<Started> {
        let name = source.name.clone();
        let settings = Arc::new(self.settings().of_plugin(&name));
        if self.members().get(&name).is_some_and(|member| member.has_tried(&source, &settings)) {
            return None;
        }
        let loaded = self.host.load(source.clone(), &settings).await;
        let is_running = {
            let mut members = self.members();
            let member = members.entry(name.clone()).or_default();
            member.tried = Some((source, Arc::clone(&settings)));
            member.stale = loaded.as_ref().err().map(|error| format!("{error:#}"));
            member.running.is_some()
        };
        match loaded {
            Err(error) if is_running => {
                error!(
                    plugin = name,
                    "the new file is refused, the old version goes on: {error:#}"
                );
                None
            }
            Err(error) => {
                error!(plugin = name, "plugin refused: {error:#}");
                None
            }
            Ok(plugin) => {
                let version = Version { plugin, settings };
                if is_running {
                    self.replace(&name, version).await;
                    None
                } else {
                    Some(self.launch(&name, version))
                }
            }
        }
    }

    /// Puts a new version in the place of the one that runs. Its bindings are
    /// there before it, so that it misses nothing.
    async fn replace(&self, name: &str, version: Version) {
        let Some(old) = self.members().get(name).and_then(Member::version) else { return };
        let same_threads = old.settings.lanes == version.settings.lanes;
        let (old, new) = (old.subscriptions().to_vec(), version.subscriptions().to_vec());
        let added: Vec<String> =
            new.iter().filter(|pattern| !old.contains(pattern)).cloned().collect();
        let removed: Vec<String> =
            old.into_iter().filter(|pattern| !new.contains(pattern)).collect();
        self.bind(name, &added).await;
        if same_threads {
            if let Some(running) = self.members().get(name).and_then(|m| m.running.as_ref()) {
                running.version.send_replace(version);
            }
        } else {
            self.relaunch(name, version);
        }
        self.unbind(name, &removed).await;
    }

    async fn bind(&self, name: &str, patterns: &[String]) {
        let Transport::Amqp(broker) = &self.transport else { return };
        if let Some(member) = self.members().get_mut(name) {
            member.bound.extend(patterns.iter().cloned());
        }
        tell_broker(topology::bind(broker, name, patterns).await);
    }

    async fn unbind(&self, name: &str, patterns: &[String]) {
        let Transport::Amqp(broker) = &self.transport else { return };
        let unbound = topology::unbind(broker, name, patterns).await;
        if unbound.is_ok()
            && let Some(member) = self.members().get_mut(name)
        {
            member.bound.retain(|pattern| !patterns.contains(pattern));
        }
        tell_broker(unbound);
    }

    fn keep_queue(&self) -> Duration {
        self.settings().plugins.keep_queue
    }

    /// Lets a suspended plugin take events again. Gives the state that it was in;
    /// none if there is no such plugin.
    pub fn resume(&self, name: &str) -> Option<State> {
        let members = self.members();
        let member = members.get(name)?;
        let (running, state) = (member.running.as_ref()?, member.stats.read().state);
        if state == State::Suspended {
            // Whoever waits for a new version goes on, though it is the same one.
            let version = running.version.borrow().clone();
            running.version.send_replace(version);
        }
        Some(state)
    }

    /// Takes what new settings say of plugins, and loads those anew that it
    /// concerns.
    pub async fn reconfigure(&self, settings: Settings) {
        let old = self.settings();
        let new = Arc::new(old.with_plugins_of(&settings));
        if *new != settings {
            warn!("of the new settings, those outside [limits] and [plugin.NAME] take a restart");
        }
        *lock(&self.settings) = Arc::clone(&new);
        let concerned: Vec<PluginFile> = self
            .members()
            .iter()
            .filter(|(name, _)| old.of_plugin(name) != new.of_plugin(name))
            .filter_map(|(_, member)| Some(member.tried.as_ref()?.0.clone()))
            .collect();
        for source in concerned {
            info!(plugin = source.name, "settings changed");
            // That a plugin consumes is of interest only at the start.
            drop(self.load(source).await);
        }
    }

    /// Hands a message to each plugin that subscribes to it.
    pub async fn deliver(&self, message: Incoming) {
        let to: Vec<mpsc::Sender<Incoming>> = self
            .members()
            .values()
            .filter_map(|member| {
                let subscribed = member.version()?.subscribes_to(&message.routing_key);
                subscribed.then(|| member.running.as_ref()?.lines.clone()).flatten()
            })
            .collect();
        for lines in to {
            // A plugin that is stopping takes no more.
            let _ = lines.send(message.clone()).await;
        }
    }

    /// What people see of every plugin.
    pub async fn reports(&self) -> Vec<Report> {
        let keep = self.keep_queue();
        let mut reports: Vec<Report> =
            self.members().iter().map(|(name, member)| member.report(name, keep)).collect();
        if let Transport::Amqp(broker) = &self.transport {
            let backlogs = reports.iter().map(async |report| {
                messages_in(broker, &topology::queue_name(broker, &report.name)).await
            });
            for (backlog, report) in join_all(backlogs).await.into_iter().zip(&mut reports) {
                report.backlog = backlog;
            }
        }
        reports
    }

    /// Dead letters that wait for people; none if that is not known.
    pub async fn dead_letters(&self) -> Option<u32> {
        match &self.transport {
            Transport::Amqp(broker) => messages_in(broker, topology::DEAD).await,
            Transport::Lines(_) => None,
        }
    }

    /// Measures the plugins' rates, again and again.
    pub async fn measure(&self) {
        let mut tick = tokio::time::interval(RATE);
        loop {
            tick.tick().await;
            self.members().values().for_each(|member| member.stats.measure(RATE));
        }
    }

    /// Whether every plugin that loaded takes events.
    pub fn is_ready(&self) -> bool {
        self.started.load(Relaxed)
            && self.members().values().all(|member| {
                member.running.is_none() || member.stats.read().state != State::Waiting
            })
    }

    /// No more lines: lets every plugin finish what it has.
    pub fn end_of_lines(&self) {
        for member in self.members().values_mut() {
            if let Some(running) = &mut member.running {
                running.lines = None;
            }
        }
    }

    /// Stops taking events and waits until those under way are settled, at most
    /// `grace`.
    pub async fn stop(&self, grace: Duration) {
        if matches!(self.transport, Transport::Amqp(_)) {
            self.stop.cancel();
        }
        self.end_of_lines();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            warn!(?grace, "not everything was settled in time; what was not comes again");
        }
    }

    /// Waits until every plugin has ended.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        lock(&self.members)
    }
}

/// How many messages wait in a queue, if the broker says so in time.
async fn messages_in(broker: &Broker, queue: &str) -> Option<u32> {
    let depth = tokio::time::timeout(PATIENCE, topology::depth(broker, queue)).await;
    Some(depth.ok()?.ok()??.messages)
}

/// The broker may be away: then the next session binds what is missing, and
/// passes over the events of bindings that are no longer wanted.
fn tell_broker(result: Result<()>) {
    if let Err(error) = result.context("changing bindings") {
        debug!("{error:#}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder leaves anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
