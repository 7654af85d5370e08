//! The plugins that run: started, replaced and stopped as their files come,
//! change and go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::supervisor::supervise;
use crate::amqp::{Broker, topology};
use crate::clock::Clock;
use crate::delay;
use crate::event::{Datetime, Incoming};
use crate::jsonl;
use crate::plugins::{Change, Host, Source};
use crate::router::{Context, Reading, Session, State, Stats, Version};
use crate::settings::{PluginSettings, Settings};

/// Messages that may wait for a plugin that reads JSON Lines.
const LINES: usize = 1024;

/// How long the broker may take to say how many messages wait.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often rates are measured.
const RATE: Duration = Duration::from_secs(5);

/// Where events come from.
#[derive(Clone)]
pub enum Transport {
    /// A broker.
    Amqp(Arc<Broker>),
    /// Standard input.
    Lines,
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

/// A plugin that runs, ran, or could not be loaded.
#[derive(Default)]
struct Member {
    /// None if no version has ever loaded, or the file is gone.
    running: Option<Running>,
    stats: Arc<Stats>,
    /// Why the file that is there now is not what runs.
    stale: Option<String>,
    /// The file that was loaded last, or could not be, and the settings it had.
    tried: Option<(Source, Arc<PluginSettings>)>,
    /// When its file went, if it is gone.
    removed: Option<Datetime>,
    /// Cancelled when what was launched last has ended.
    ended: Option<CancellationToken>,
}

struct Running {
    version: watch::Sender<Version>,
    stop: CancellationToken,
    /// Where its events are put, if they come as lines.
    lines: Option<mpsc::Sender<Incoming>>,
}

/// What people see of a plugin.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// The version that runs.
    pub version: Option<String>,
    /// The file.
    pub path: Option<String>,
    /// Why the file that is there now does not run.
    pub stale: Option<String>,
    /// The topic patterns of its events.
    pub subscriptions: Vec<String>,
    /// Messages that wait in its queue; none if that is not known.
    pub backlog: Option<u32>,
    /// Its counts and state.
    #[serde(flatten)]
    pub reading: Reading,
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
            Change::Refused { name, path, reason } => {
                self.refuse(name, &path, reason);
                None
            }
            Change::Gone { name } => {
                self.remove(&name).await;
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

    async fn load(&self, source: Source) -> Option<Started> {
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

    /// Lets a plugin that does not run yet run.
    fn launch(&self, name: &str, version: Version) -> Started {
        info!(
            plugin = name,
            version = version.plugin.version,
            cached = version.plugin.cached,
            "plugin loaded"
        );
        let lanes = version.settings.lanes;
        let (sender, current) = watch::channel(version);
        let stop = self.stop.child_token();
        let (tell, started) = oneshot::channel();
        let mut members = self.members();
        let member = members.entry(name.to_owned()).or_default();
        member.stats.set_state(State::Waiting, None);
        member.removed = None;
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
            Transport::Lines => {
                let (lines, inbox) = jsonl::Inbox::new(LINES);
                self.spawn(name, lanes, before, ended, read_lines(context, inbox, tell));
                Some(lines)
            }
        };
        member.running = Some(Running { version: sender, stop, lines });
        started
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
        Context {
            current,
            delays: self.delays.clone(),
            clock: self.clock.clone(),
            naive_zone: settings.events.naive_time_zone,
            output_exchange: settings.amqp.output_exchange.clone(),
            max_hops: settings.amqp.max_hops,
            max_open: settings.amqp.prefetch.into(),
            may_suspend: true,
            stats,
            stop,
        }
    }

    /// Puts a new version in the place of the one that runs. Its bindings are
    /// there before it, so that it misses nothing.
    async fn replace(&self, name: &str, version: Version) {
        let Some(old) = self.members().get(name).and_then(Member::version) else { return };
        let (old, new) = (old.subscriptions().to_vec(), version.subscriptions().to_vec());
        let added: Vec<String> =
            new.iter().filter(|pattern| !old.contains(pattern)).cloned().collect();
        let removed: Vec<String> =
            old.into_iter().filter(|pattern| !new.contains(pattern)).collect();
        if let Transport::Amqp(broker) = &self.transport {
            tell_broker(topology::bind(broker, name, &added).await);
        }
        if let Some(running) = self.members().get(name).and_then(|member| member.running.as_ref()) {
            running.version.send_replace(version);
        }
        if let Transport::Amqp(broker) = &self.transport {
            tell_broker(topology::unbind(broker, name, &removed).await);
        }
    }

    /// Stops a plugin whose file is gone. Its bindings go, its queue stays for a
    /// while.
    async fn remove(self: &Arc<Self>, name: &str) {
        let now = self.clock.now();
        let version = {
            let mut members = self.members();
            let Some(member) = members.get_mut(name) else { return };
            let version = member.version();
            (member.stale, member.tried) = (None, None);
            let Some(running) = member.running.take() else {
                // What was there was never a plugin; but one may have been before it.
                if member.removed.is_none() {
                    members.remove(name);
                }
                return;
            };
            running.stop.cancel();
            member.removed = Some(now);
            version
        };
        let (Transport::Amqp(broker), Some(version)) = (&self.transport, version) else { return };
        match topology::unbind(broker, name, version.subscriptions()).await {
            Ok(()) => info!(plugin = name, "plugin removed; its queue keeps what is in it"),
            Err(error) => warn!(
                plugin = name,
                "plugin removed; its queue keeps what is in it and goes on filling, since its \
                 bindings stay: {error:#}"
            ),
        }
        tokio::spawn(Arc::clone(self).forget(name.to_owned(), now));
    }

    /// Deletes the queue of a plugin that was removed, when its time has come and
    /// the plugin has not come back meanwhile.
    async fn forget(self: Arc<Self>, name: String, removed: Datetime) {
        tokio::time::sleep(self.keep_queue()).await;
        let Transport::Amqp(broker) = &self.transport else { return };
        broker.reachable().await;
        if self.members().get(&name).is_none_or(|member| member.removed != Some(removed)) {
            return;
        }
        match topology::delete_queue(broker, &name).await {
            Ok(messages) => {
                warn!(plugin = name, messages, "the queue of a removed plugin is deleted");
                self.forgotten(&name);
            }
            Err(error) => {
                warn!(plugin = name, "the queue of a removed plugin stays: {error:#}");
            }
        }
    }

    /// Nothing is left of a plugin; but there may be a file that cannot be loaded.
    fn forgotten(&self, name: &str) {
        let mut members = self.members();
        if let Some(member) = members.get_mut(name) {
            member.removed = None;
            member.stats.set_state(State::Waiting, None);
            if member.stale.is_none() {
                members.remove(name);
            }
        }
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
        let concerned: Vec<Source> = self
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
            let backlogs = reports.iter().map(|report| {
                tokio::time::timeout(PATIENCE, topology::backlog(broker, &report.name))
            });
            for (backlog, report) in join_all(backlogs).await.into_iter().zip(&mut reports) {
                report.backlog = backlog.ok().and_then(Result::ok).flatten();
            }
        }
        reports
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

impl Member {
    fn version(&self) -> Option<Version> {
        self.running.as_ref().map(|running| running.version.borrow().clone())
    }

    /// Whether this file has been loaded, or refused, with these settings.
    fn has_tried(&self, source: &Source, settings: &PluginSettings) -> bool {
        let same = |(file, old): &(Source, Arc<PluginSettings>)| {
            file.bytes == source.bytes && **old == *settings
        };
        self.tried.as_ref().is_some_and(same)
    }

    /// `keep` is how long the queue of a plugin is kept whose file is gone.
    fn report(&self, name: &str, keep: Duration) -> Report {
        let version = self.version();
        let plugin = version.as_ref().map(|version| &version.plugin);
        let mut reading = self.stats.read();
        if let Some(removed) = self.removed {
            let until = removed.saturating_add(keep);
            reading.state = State::Removed;
            reading.reason = Some(format!("its file is gone; its queue is kept until {until}"));
        }
        Report {
            name: name.to_owned(),
            version: plugin.map(|plugin| plugin.version.clone()),
            path: plugin.map(|plugin| plugin.path.display().to_string()),
            stale: self.stale.clone(),
            subscriptions: version.as_ref().map(|v| v.subscriptions().to_vec()).unwrap_or_default(),
            backlog: None,
            reading,
        }
    }
}

/// Routes lines. There is no queue that would keep the events of a plugin that
/// fails, so it is not suspended: each event has its attempts.
async fn read_lines(mut context: Context, inbox: jsonl::Inbox, started: oneshot::Sender<()>) {
    context.may_suspend = false;
    // A line that was read cannot be given back: the end of the lines stops it.
    context.stop = CancellationToken::new();
    let stats = Arc::clone(&context.stats);
    stats.set_state(State::Running, None);
    // Nobody may be waiting any more.
    let _ = started.send(());
    let outbox = jsonl::Outbox::of(&context.current.borrow().plugin.name);
    let session = Session::new(context, inbox, outbox, false);
    if let Err(error) = session.run().await {
        error!("JSON Lines end: {error:#}");
        stats.set_state(State::Waiting, Some(format!("{error:#}")));
    }
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
