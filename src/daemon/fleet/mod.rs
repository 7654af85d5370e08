//! The plugins that run: started, replaced and stopped as their files appear,
//! change and disappear.

mod chronicle;
mod gather;
mod launch;
mod life;
mod load;
mod member;
mod readiness;
mod removal;
mod renewal;
mod senders;
mod threads;
mod turns;
mod unconsumed;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::chronicle::Chronicle;
pub use self::chronicle::{Chronicled, Happened};
pub use self::gather::Gathered;
use self::life::Running;
use self::member::Member;
pub use self::member::PluginStatus;
pub use self::removal::Removal;
use self::turns::Turn;

use super::endpoints::Endpoints;
use crate::amqp::{Broker, ConnectionStatus};
use crate::clock::Clock;
use crate::delay;
use crate::event::Incoming;
use crate::health::{Code, Health};
use crate::jsonl::InputEvent;
use crate::measure::Distribution;
use crate::plugins::{Change, Forgetter, Host, Sight};
use crate::router::watch::Watch;
use crate::router::{Confirms, State, Stats};
use crate::settings::Settings;
use crate::telemetry::{SpanCounts, Tracer};

/// Plugins whose counts are kept when they are gone.
const COUNTED: usize = 10_000;

/// How often rates are measured.
const RATE_PERIOD: Duration = Duration::from_secs(5);

/// Told when a plugin that was launched takes events.
pub type Started = oneshot::Receiver<()>;

/// The plugins of this router.
pub struct Fleet {
    host: Arc<Host>,
    settings: Mutex<Arc<Settings>>,
    endpoints: Endpoints,
    delays: delay::Handle,
    clock: Clock,
    /// What is wrong, beside the plugins.
    health: Health,
    /// Held while what a plugin needs at the broker is declared, bound or unbound outside of
    /// its sessions, so that nothing is bound again that was just unbound.
    topology: AsyncMutex<()>,
    /// Stops every plugin.
    stop: CancellationToken,
    tasks: TaskTracker,
    members: Mutex<Members>,
    /// The plugins whose changes are being followed.
    turns: Mutex<BTreeMap<String, Turn>>,
    /// What makes the folder forget a plugin; none before it is watched.
    forgetter: OnceLock<Forgetter>,
    /// The counts of every plugin that there was, so that none begins anew when it comes back;
    /// of at most [`COUNTED`].
    counted: Mutex<BTreeMap<String, Arc<Stats>>>,
    /// How long the broker takes to confirm, for all plugins together.
    confirms: Confirms,
    /// Whoever looks at decisions.
    watch: Arc<Watch>,
    /// Makes spans; none if there are no traces.
    tracer: Option<Tracer>,
    /// What happened to plugins.
    chronicle: Chronicle,
    /// What the broker last said of its queues.
    gathered: Mutex<Gathered>,
    /// Whether the plugins that were there at the start take events.
    started: AtomicBool,
}

/// Topic patterns that plugins ask for.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    /// Of plugins that take events: their queues are bound.
    pub bound: Vec<String>,
    /// Of those that wait for something, too.
    pub all: Vec<String>,
}

/// The plugins by their names.
type Members = BTreeMap<String, Member>;

impl Fleet {
    /// No plugins yet.
    pub fn new(
        host: Arc<Host>,
        settings: Settings,
        endpoints: Endpoints,
        delays: delay::Handle,
        clock: Clock,
        health: Health,
        tracer: Option<Tracer>,
    ) -> Self {
        Self {
            host,
            settings: Mutex::new(Arc::new(settings)),
            endpoints,
            delays,
            clock,
            health,
            topology: AsyncMutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            members: Mutex::default(),
            turns: Mutex::default(),
            forgetter: OnceLock::new(),
            counted: Mutex::default(),
            confirms: Confirms::default(),
            watch: Arc::default(),
            tracer,
            chronicle: Chronicle::default(),
            gathered: Mutex::default(),
            started: AtomicBool::new(false),
        }
    }

    /// Begins to load the plugins that are there at the start. The future ends when they take
    /// events. This lasts as long as the broker is unreachable or refuses one of their queues.
    pub fn start(self: &Arc<Self>, changes: Vec<Change>) -> impl Future<Output = ()> {
        // Those that are loaded first do not consume before the others are there, if these do not
        // take long.
        let opening = self.endpoints.broker().map(|broker| broker.opening());
        let followed: Vec<_> =
            changes.into_iter().map(|change| self.follow_first(change)).collect();
        async move {
            let launched = join_all(followed).await;
            drop(opening);
            // Beside all else: its file system may hang.
            let host = Arc::clone(&self.host);
            drop(tokio::task::spawn_blocking(move || host.prune_cache()));
            // One that stops before it has started is no longer waited for.
            let started: Vec<Started> = launched.into_iter().flatten().flatten().collect();
            let count = join_all(started).await.len();
            self.started.store(true, Relaxed);
            info!(plugins = count, "ready");
            if self.members().is_empty() {
                let dir = &self.settings().plugins.dir;
                let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
                warn!("there is no plugin: put NAME.wasm into {}", dir.display());
            }
        }
    }

    /// Follows one change in the folder; `newer` is cancelled when that is no longer needed.
    /// For a plugin that is new, gives what tells when it takes events.
    async fn apply(self: &Arc<Self>, change: Change, newer: &CancellationToken) -> Option<Started> {
        match change {
            Change::Present(file) => self.load(file, newer).await,
            Change::Unusable { name, path, reason } => {
                self.refuse_unread(&name, &path, reason);
                None
            }
            Change::Gone { name } => {
                self.remove(&name);
                None
            }
        }
    }

    /// What makes the folder forget a plugin that is removed though its file is not known to
    /// be gone.
    pub fn forget_by(&self, forgetter: Forgetter) {
        // There is one folder.
        let _ = self.forgetter.set(forgetter);
    }

    /// Has the folder tell of a plugin's file once more.
    fn report_again(&self, name: &str) {
        if let Some(forgetter) = self.forgetter.get() {
            forgetter.report_again(name);
        }
    }

    /// Takes in how well the folder can be seen.
    pub fn see(&self, sight: &Sight) {
        const FOLDER: &str = "folder";
        let stay = "the plugins stay as they are. If they were meant to be removed, `mo-router plugin \
                    remove NAME` removes them";
        match &sight.unreadable {
            Some(why) => {
                self.health.report(Code::FolderUnreadable, FOLDER, &format!("{why}; {stay}"));
            }
            None => self.health.over(Code::FolderUnreadable, FOLDER, "the folder can be read"),
        }
        match &sight.polling {
            Some(why) => self.health.report(Code::WatchPolling, FOLDER, why),
            None => self.health.over(Code::WatchPolling, FOLDER, "changes are announced again"),
        }
    }

    /// Whoever looks at decisions.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Lets a suspended plugin take events again. Gives the state that it was in;
    /// none if no such plugin runs.
    pub fn resume(&self, name: &str) -> Option<State> {
        let members = self.members();
        let member = members.get(name)?;
        let (running, state) = (member.life.running()?, member.stats.read().state);
        if state == State::Suspended {
            running.resume();
        }
        Some(state)
    }

    /// Takes over what new settings say of plugins, and reloads the plugins whose
    /// settings changed.
    pub fn reconfigure(self: &Arc<Self>, settings: Settings) {
        let old = self.settings();
        let new = Arc::new(old.with_plugins_of(&settings));
        if *new != settings {
            warn!("changed settings outside [limits] and [plugin.NAME] take a restart");
        }
        *lock(&self.settings) = Arc::clone(&new);
        // First those that are being loaded, with the old settings perhaps: who has been loaded by
        // the time that the others are looked at is among them.
        let mut concerned = self.turning();
        let members = self.members();
        let here = members.iter().filter(|(_, member)| member.life.depends_on_settings());
        concerned.extend(here.map(|(name, _)| name.clone()));
        drop(members);
        for name in concerned {
            if old.of_plugin(&name) == new.of_plugin(&name) {
                continue;
            }
            info!(plugin = name, "settings changed");
            self.reload(&name);
        }
    }

    /// Where the file of a plugin was when it was last there; none if that is known to be gone.
    pub fn path_of(&self, name: &str) -> Option<PathBuf> {
        self.members().get(name)?.life.path().map(Path::to_owned)
    }

    /// Hands a message to each plugin that subscribes to it. Gives what tells when it is settled,
    /// for each of them.
    pub async fn deliver(&self, message: Incoming) -> Vec<oneshot::Receiver<()>> {
        let to: Vec<mpsc::Sender<InputEvent>> = self
            .members()
            .values()
            .filter_map(|member| member.life.running())
            .filter(|running| running.version().subscribes_to(&message.routing_key))
            .filter_map(|running| running.lines().cloned())
            .collect();
        let mut settled = Vec::with_capacity(to.len());
        for lines in to {
            let (settle, is_settled) = oneshot::channel();
            // A plugin that is stopping takes no more, which drops the sender.
            let _ = lines.send(InputEvent { message: message.clone(), settled: settle }).await;
            settled.push(is_settled);
        }
        settled
    }

    /// The broker, if plugins have queues there.
    pub fn broker(&self) -> Option<&Arc<Broker>> {
        self.endpoints.broker()
    }

    /// What the plugins that run ask for.
    pub fn subscriptions(&self) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        for member in self.members().values() {
            let Some(running) = member.life.running() else { continue };
            let patterns = running.version().subscriptions().to_vec();
            if member.stats.read().state != State::Waiting {
                subscriptions.bound.extend(patterns.iter().cloned());
            }
            subscriptions.all.extend(patterns);
        }
        subscriptions
    }

    /// Whether the plugins that were there at the start take events, or have stopped.
    pub fn has_started(&self) -> bool {
        self.started.load(Relaxed)
    }

    /// What people see of every plugin.
    pub async fn statuses(&self) -> Vec<PluginStatus> {
        let mut statuses = self.statuses_here();
        let depths = statuses.iter().map(|status| self.endpoints.depth(&status.name));
        for (depth, status) in join_all(depths).await.into_iter().zip(&mut statuses) {
            let depth = unconsumed::told(depth, status.stats.state == State::Running);
            // What the router holds is no less to be done than what waits.
            let in_flight = u32::try_from(status.stats.in_flight).unwrap_or(u32::MAX);
            status.backlog = depth.map(|depth| depth.messages.saturating_add(in_flight));
        }
        statuses
    }

    /// What people see of every plugin, without what the broker would have to be asked for.
    pub fn statuses_here(&self) -> Vec<PluginStatus> {
        let settings = self.settings();
        let members = self.members();
        let statuses = members.iter().map(|(name, member)| {
            let log_lines = self.host.log_lines(name);
            PluginStatus { log_lines, ..member.status(name, &settings) }
        });
        statuses.collect()
    }

    /// Where the plugins are loaded, and what they have logged is kept.
    pub fn host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    /// How long the broker took to confirm, for all plugins together.
    pub fn confirms(&self) -> Distribution {
        self.confirms.read()
    }

    /// The connections to the broker.
    pub fn connections(&self) -> Vec<ConnectionStatus> {
        self.endpoints.connections()
    }

    /// What became of spans; none if there are no traces.
    pub fn spans(&self) -> Option<SpanCounts> {
        self.tracer.as_ref().map(Tracer::counts)
    }

    /// Dead letters that wait for people; none if that is unknown.
    pub async fn dead_letters(&self) -> Option<u32> {
        self.endpoints.dead_letters().await
    }

    /// Measures the plugins' rates, and looks for what does not move, forever.
    pub async fn measure(&self) {
        let mut tick = tokio::time::interval(RATE_PERIOD);
        loop {
            tick.tick().await;
            self.members().values().for_each(|member| member.stats.measure(RATE_PERIOD));
            self.look_for_stalled();
            self.note_states();
        }
    }

    /// There is no more input: lets every plugin finish what it has.
    pub fn end_input(&self) {
        for member in self.members().values_mut() {
            if let Some(running) = member.life.running_mut() {
                running.end_lines();
            }
        }
    }

    /// Stops taking events and waits until those in flight are settled.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.end_input();
        self.finished().await;
    }

    /// Waits until every plugin has ended.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The counts of the plugin of this name, whether it is new or was here before.
    fn stats_of(&self, name: &str) -> Arc<Stats> {
        let mut counted = lock(&self.counted);
        if let Some(stats) = counted.get(name) {
            return Arc::clone(stats);
        }
        let stats = Arc::new(Stats::sharing(self.confirms.clone(), Arc::clone(&self.watch)));
        if counted.len() < COUNTED {
            counted.insert(name.to_owned(), Arc::clone(&stats));
        }
        stats
    }

    fn keep_queue(&self) -> Duration {
        self.settings().plugins.keep_queue
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        lock(&self.members)
    }

    /// Does something with a plugin, if it runs.
    fn running<T>(&self, name: &str, act: impl FnOnce(&mut Running) -> T) -> Option<T> {
        Some(act(self.members().get_mut(name)?.life.running_mut()?))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder leaves anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
