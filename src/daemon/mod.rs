//! The daemon: everything put together, from start to stop.

mod bridge;
mod config;
mod endpoints;
mod fleet;
mod hold;
pub mod http;
mod notify;
mod supervisor;
mod unasked;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::amqp::topology;
use crate::backoff::Policy;
use crate::clock::Clock;
use crate::delay::{self, Store};
use crate::health::{Code, Health};
use crate::keep::{Keeper, Shown};
use crate::mo;
use crate::plugins::{Folder, Host};
use crate::settings::{Amqp, Plugins, Settings, service_manager};
use crate::telemetry::{Exporter, Place, Tracer};

use self::config::Config;
use self::endpoints::Endpoints;
use self::http::Observed;
use self::notify::Notify;
use self::supervisor::STABLE;
use self::unasked::Unasked;
pub use config::Reloads;
pub use fleet::{Chronicled, Fleet, Gathered, Happened, PluginStatus};
pub use hold::Hold;

/// The part of the time for a stop that is kept for closing the connections, when not
/// everything can be settled.
const FOR_CLOSING: f64 = 0.2;
/// The pauses before delayed messages are published again after an error.
const SCHEDULER_PAUSES: Policy =
    Policy::new(Duration::from_millis(250), Duration::from_secs(30)).reset_after(STABLE);

/// Runs the router until `stop` is cancelled or, with JSON Lines, the input ends.
/// `config` is the file that the settings came from; its changes are followed, and it is
/// read again when `reload` says so. Delayed messages are sent once `hold` is released.
///
/// # Errors
/// The router cannot start: WebAssembly does not run here, the delay store will never do as
/// it is, the plugins' folder cannot be made or read, the HTTP address is taken. Or, with
/// JSON Lines, standard input cannot be read or standard output cannot be written.
/// A server that is unreachable is no error: the router waits for it.
pub async fn run(
    settings: Settings,
    config: Option<PathBuf>,
    hold: Hold,
    stop: CancellationToken,
    reload: mpsc::Receiver<()>,
) -> Result<()> {
    let notify = Arc::new(Notify::to(service_manager()));
    for warning in settings.warnings() {
        warn!("{warning}");
    }
    let clock = Clock::system();
    let host = Arc::new(Host::of_program(settings.cache_dir(), clock.clone())?);
    let health = Health::default();
    let bridging = mo::Stats::default();
    let bridge = bridge::Setup::of(&settings, &health, &bridging)?;
    let observed = Observed::new(health.clone(), hold.clone());
    let _server = serve(&settings, &observed).await?;
    let config = config.map(|file| config::follow(&file, Arc::clone(observed.reloads())));
    let mut reloading =
        Reloading { asked: reload, config: config.transpose()?, notify: Arc::clone(&notify) };
    // Whoever has started it need not wait for servers that are unreachable: it does that itself.
    notify.ready();
    let alive = tokio::spawn({
        let notify = Arc::clone(&notify);
        async move { notify.keep_alive().await }
    });
    // Until the very end: a stop has its own time limit.
    let _alive = AbortOnDropHandle::new(alive);
    let store = {
        let mut store = pin!(Store::wait_for(&settings.delay.store, &health));
        loop {
            tokio::select! {
                store = &mut store => break store?,
                Some(()) = reloading.asked.recv() => reloading.before_the_start().await,
                () = stop.cancelled() => {
                    notify.stopping();
                    return Ok(());
                }
            }
        }
    };
    let exporter = Exporter::start(&settings.telemetry, place(&settings.amqp), &health);
    let tracer = exporter.as_ref().map(|exporter| exporter.tracer().clone());
    let (delays, committer) = delay::accepting(store.clone(), health.clone());
    let committer = tokio::spawn(committer);
    let (endpoints, mut failure) = Endpoints::new(&settings.amqp, &health);
    let fleet = Arc::new(Fleet::new(
        host,
        settings.clone(),
        endpoints.clone(),
        delays,
        clock.clone(),
        health.clone(),
        tracer.clone(),
    ));
    observed.set(&fleet, store.clone(), bridge.is_some().then_some(bridging));
    let monitor = delay::watch(store.clone(), clock.clone());
    let monitor = AbortOnDropHandle::new(tokio::spawn(monitor));
    let ending = CancellationToken::new();
    // Without a broker it is where the events come from, in place of standard input.
    let from_input = settings.amqp.enabled || bridge.is_none();
    let bridge = bridge.map(|bridge| tokio::spawn(bridge.run(Arc::clone(&fleet), ending.clone())));
    let publishing =
        Publishing { store: store.clone(), endpoints: endpoints.clone(), clock, tracer };
    let scheduler = tokio::spawn(schedule(publishing, health, hold, ending.clone()));

    // None of the branches is polled again after one is ready.
    let ended = tokio::select! {
        biased;
        Some(error) = failure.recv() => Err(error),
        ended = follow(&settings, &endpoints, &fleet, from_input, reloading) => ended,
        () = stop.cancelled() => Ok(()),
    };

    info!("stopping");
    notify.stopping();
    ending.cancel();
    let timeout = settings.daemon.stop_timeout;
    let deadline = Instant::now() + timeout;
    let settled_by = deadline - timeout.mul_f64(FOR_CLOSING);
    // A panic has been reported where it happened.
    let bridge = async {
        if let Some(bridge) = bridge {
            let _ = bridge.await;
        }
    };
    let all = async { tokio::join!(bridge, fleet.stop(), scheduler) };
    if tokio::time::timeout_at(settled_by, all).await.is_err() {
        warn!(
            ?timeout,
            "not everything was settled in time: events that were not will be redelivered, and \
             delayed messages sent again"
        );
    }
    drop((fleet, monitor));
    // Bounded too: a session that has not ended may still hand something in. What is in the
    // store's file is complete when nothing writes to it any more.
    let closing = async {
        let _ = tokio::join!(committer, endpoints.close());
        store.close().await;
        if let Some(exporter) = exporter {
            exporter.close().await;
        }
    };
    if tokio::time::timeout_at(deadline, closing).await.is_err() {
        warn!("connections were not closed in time");
    }
    info!("stopped");
    ended
}

/// How the settings are read again when somebody asks for it.
struct Reloading {
    asked: mpsc::Receiver<()>,
    /// None if there is no file of settings.
    config: Option<Config>,
    /// Who is told.
    notify: Arc<Notify>,
}

impl Reloading {
    /// Reads them again before there is anything to be told of them: what has changed is told when
    /// they are followed.
    async fn before_the_start(&self) {
        read_again(self.config.as_ref(), &self.notify).await;
        self.notify.ready();
    }
}

/// Reads the settings again; the service manager is told that this has begun.
async fn read_again(config: Option<&Config>, notify: &Notify) {
    notify.reloading();
    match config {
        Some(config) => {
            info!("reading the settings again");
            config.reload().await;
        }
        None => info!(
            "there is no settings file to read again, only variables, and those take a restart"
        ),
    }
}

/// Starts the plugins, then follows the folder, the settings and the input until
/// the input ends.
async fn follow(
    settings: &Settings,
    endpoints: &Endpoints,
    fleet: &Arc<Fleet>,
    from_input: bool,
    Reloading { mut asked, mut config, notify }: Reloading,
) -> Result<()> {
    let dir = settings.plugins.dir.clone();
    make_default_folder(&dir)?;
    // Loading takes its time; the folder is watched from before it begins.
    let (present, mut folder) = tokio::task::spawn_blocking(move || Folder::open(dir)).await??;
    let mut sight = folder.sight();
    fleet.forget_by(folder.forgetter());
    let starting = fleet.start(present);

    let input = async {
        if !from_input {
            return std::future::pending().await;
        }
        // A broker's events wait in its queues; lines are handed to the plugins that are there.
        starting.await;
        let (exchange, unasked) = (&settings.amqp.exchange, &Unasked::default());
        let ended = endpoints
            .read_input(exchange, |message| async move {
                let routing_key = message.routing_key.clone();
                unasked.note(&routing_key, fleet.deliver(message).await.len());
            })
            .await;
        unasked.tell();
        fleet.end_input();
        fleet.finished().await;
        ended
    };
    let changes = async {
        loop {
            // All wait for a channel, which loses nothing when the wait is dropped.
            tokio::select! {
                Some(change) = folder.changed() => fleet.follow(change),
                settings = config::changed(&mut config) => fleet.reconfigure(settings),
                Ok(()) = sight.changed() => fleet.see(&sight.borrow_and_update()),
                Some(()) = asked.recv() => {
                    read_again(config.as_ref(), &notify).await;
                    folder.look();
                    if let Some(settings) = config::changed(&mut config).now_or_never() {
                        fleet.reconfigure(settings);
                    }
                    notify.ready();
                }
            }
        }
    };
    let others = async {
        tokio::join!(fleet.measure(), fleet.gather(), fleet.watch_topology(), changes);
    };
    tokio::select! {
        ended = input => ended,
        () = others => Ok(()),
    }
}

/// Makes the plugins' folder where nobody has named another one.
///
/// # Errors
/// It cannot be made; or somebody has named a folder that is not there, which may be a mistake.
fn make_default_folder(dir: &Path) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    if dir != Plugins::default().dir {
        bail!(
            "the plugins' folder {} does not exist: make it, or name another one in [plugins] dir or \
             MO_ROUTER_PLUGINS_DIR",
            dir.display()
        );
    }
    info!("making the plugins' folder {}", dir.display());
    std::fs::create_dir_all(dir)
        .with_context(|| format!("making the plugins' folder {}", dir.display()))
}

/// Between whom messages go, in traces.
fn place(amqp: &Amqp) -> Place {
    Place {
        system: if amqp.enabled { "rabbitmq" } else { "json-lines" },
        queue_prefix: amqp.queue_prefix.clone(),
        dead_letters: topology::DEAD,
    }
}

/// What it takes to publish delayed messages.
struct Publishing {
    store: Store,
    endpoints: Endpoints,
    clock: Clock,
    tracer: Option<Tracer>,
}

/// Publishes delayed messages as they fall due, once they are not held, and tries again after
/// errors and faults.
async fn schedule(publishing: Publishing, health: Health, hold: Hold, stop: CancellationToken) {
    let Publishing { store, endpoints, clock, tracer } = publishing;
    if stop.run_until_cancelled(hold.released(&health)).await.is_none() {
        return;
    }
    let shown = Shown {
        health,
        code: Code::StoreUnavailable,
        subject: "scheduler",
        meaning: "delayed messages are not being published",
        again: "delayed messages are being published again",
    };
    let mut keeper = Keeper::new(shown, SCHEDULER_PAUSES, stop.clone());
    while keeper.attempt(endpoints.publish_due(&store, &clock, tracer.as_ref(), &stop)).await {}
}

/// Serves the HTTP address until the value is dropped.
///
/// # Errors
/// The address is taken, or none of this machine: a router that nobody can look at is no use.
async fn serve(settings: &Settings, observed: &Observed) -> Result<AbortOnDropHandle<()>> {
    let listen = settings.http.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!(
            "cannot listen on {listen}: `ss -ltnp 'sport = {}'` says who does; [http] listen or \
             MO_ROUTER_HTTP_LISTEN names another address",
            listen.port()
        )
    })?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving health, metrics and status");
    }
    let serving = http::serve(listener, observed.clone(), settings.http.clone());
    Ok(AbortOnDropHandle::new(tokio::spawn(serving)))
}
