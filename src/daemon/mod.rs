//! The daemon: everything put together, from start to stop.

mod config;
mod endpoints;
mod fleet;
pub mod http;
mod supervisor;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::backoff::{Backoff, Policy};
use crate::clock::Clock;
use crate::delay::{self, Store};
use crate::plugins::{Folder, Host};
use crate::settings::Settings;

use self::endpoints::Endpoints;
use self::http::Observed;
use self::supervisor::STABLE;
pub use fleet::{Fleet, PluginStatus};

/// How long events in flight may take to be settled when the router stops.
const GRACE: Duration = Duration::from_secs(20);
/// The pauses before delayed messages are published again after an error.
const SCHEDULER_PAUSES: Policy =
    Policy::new(Duration::from_millis(250), Duration::from_secs(30)).reset_after(STABLE);

/// Runs the router until `stop` is cancelled or, with JSON Lines, the input ends.
/// `config` is the file that the settings came from; its changes are followed.
///
/// # Errors
/// The router cannot start: WebAssembly does not run here, the delay store was
/// written by a newer version, the plugins' folder cannot be made or read. Or, with
/// JSON Lines, standard input cannot be read or standard output cannot be written.
/// A server that is unreachable is no error: the router waits for it.
pub async fn run(
    settings: Settings,
    config: Option<PathBuf>,
    stop: CancellationToken,
) -> Result<()> {
    let clock = Clock::system();
    let host = Arc::new(Host::new(settings.cache_dir(), clock.clone())?);
    let observed = Observed::default();
    let _server = serve(&settings, &observed).await;
    let store = tokio::select! {
        store = Store::wait_for(&settings.delay.store) => store?,
        () = stop.cancelled() => return Ok(()),
    };
    let (delays, committer) = delay::accepting(store.clone());
    let committer = tokio::spawn(committer);
    let (endpoints, mut failure) = Endpoints::new(&settings.amqp);
    let fleet =
        Arc::new(Fleet::new(host, settings.clone(), endpoints.clone(), delays, clock.clone()));
    observed.set(&fleet, store.clone());
    let ending = CancellationToken::new();
    let scheduler = tokio::spawn(schedule(store, endpoints.clone(), clock, ending.clone()));

    let ended = tokio::select! {
        biased;
        Some(error) = failure.recv() => Err(error),
        ended = follow(&settings, config, &endpoints, &fleet) => ended,
        () = stop.cancelled() => Ok(()),
    };

    info!("stopping");
    fleet.stop(GRACE).await;
    ending.cancel();
    // Neither ends in an error; a panic has been reported where it happened.
    let _ = tokio::time::timeout(GRACE, scheduler).await;
    drop(fleet);
    let _ = tokio::time::timeout(GRACE, committer).await;
    endpoints.close().await;
    info!("stopped");
    ended
}

/// Starts the plugins, then follows the folder, the settings and the input until
/// the input ends.
async fn follow(
    settings: &Settings,
    config: Option<PathBuf>,
    endpoints: &Endpoints,
    fleet: &Arc<Fleet>,
) -> Result<()> {
    let dir = settings.plugins.dir.clone();
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("making the plugins folder {}", dir.display()))?;
    // Loading takes its time; the folder is watched from before it begins.
    let (present, mut folder) = tokio::task::spawn_blocking(move || Folder::open(dir)).await??;
    let mut config = config.and_then(|file| {
        let watched = config::watch(file);
        watched
            .inspect_err(|error| {
                warn!("cannot watch the settings file, changes take a restart: {error:#}")
            })
            .ok()
    });
    let starting = fleet.start(present).await;

    let input = async {
        let exchange = &settings.amqp.exchange;
        let ended = endpoints.read_input(exchange, |message| fleet.deliver(message)).await;
        fleet.end_input();
        fleet.finished().await;
        ended
    };
    // Concurrently: loading a plugin can take seconds, and the broker can be
    // unreachable for any length of time.
    let changes = async {
        loop {
            tokio::select! {
                Some(change) = folder.changed() => drop(fleet.apply(change).await),
                Some(settings) = config::changed(&mut config) => fleet.reconfigure(settings).await,
            }
        }
    };
    let others = async {
        tokio::join!(fleet.ready(starting), fleet.measure(), changes);
    };
    tokio::select! {
        ended = input => ended,
        () = others => Ok(()),
    }
}

/// Publishes delayed messages as they fall due, and tries again after errors.
async fn schedule(store: Store, endpoints: Endpoints, clock: Clock, stop: CancellationToken) {
    let mut backoff = Backoff::new(SCHEDULER_PAUSES);
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let published = endpoints.publish_due(&store, &clock, &stop).await;
        backoff.worked_for(begun.elapsed());
        if let Err(error) = published {
            let pause = backoff.next_pause();
            warn!(retry_in = ?pause, "delayed messages are not being published: {error:#}");
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }
}

/// Serves the HTTP address until the value is dropped. If the address is taken, the
/// router runs without it.
async fn serve(settings: &Settings, observed: &Observed) -> Option<AbortOnDropHandle<()>> {
    let listener = match TcpListener::bind(settings.http.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            let listen = settings.http.listen;
            error!(
                "no health, metrics or status: cannot listen on [http] listen = \"{listen}\": {error}"
            );
            return None;
        }
    };
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving health, metrics and status");
    }
    Some(AbortOnDropHandle::new(tokio::spawn(http::serve(listener, observed.clone()))))
}
