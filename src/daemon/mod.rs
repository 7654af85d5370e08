//! The daemon: everything put together, from start to stop.

mod config;
mod fleet;
pub mod http;
mod supervisor;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::amqp::{self, Broker};
use crate::backoff::{Backoff, Policy};
use crate::clock::Clock;
use crate::delay::{self, Store};
use crate::jsonl;
use crate::plugins::{Folder, Host};
use crate::settings::Settings;

use self::http::Opened;
use self::supervisor::STABLE;
pub use fleet::{Fleet, Report, Transport};

/// How long events under way may take to be settled when the router stops.
const GRACE: Duration = Duration::from_secs(20);
/// The pauses before the scheduler goes on after an error.
const SCHEDULER_PAUSES: Policy =
    Policy::new(Duration::from_millis(250), Duration::from_secs(30)).reset_after(STABLE);

/// Runs the router until `stop` is cancelled or, with JSON Lines, the input ends.
/// `config` is the file that the settings came from, to follow its changes.
///
/// # Errors
/// The router cannot start: WebAssembly does not run here, the delay store was
/// written by a newer version, the plugins' folder cannot be made or read. Or, with
/// JSON Lines, standard input cannot be read or standard output cannot be written.
/// What is away is waited for.
pub async fn run(
    settings: Settings,
    config: Option<PathBuf>,
    stop: CancellationToken,
) -> Result<()> {
    let clock = Clock::system();
    let host = Arc::new(Host::new(settings.cache_dir(), clock.clone())?);
    let opened = Opened::default();
    let _server = serve(&settings, &opened).await;
    let store = tokio::select! {
        store = Store::wait_for(&settings.delay.store) => store?,
        () = stop.cancelled() => return Ok(()),
    };
    let (delays, committer) = delay::accepting(store.clone());
    let committer = tokio::spawn(committer);
    let (tell_broken, mut broken) = mpsc::channel(1);
    let transport = match settings.amqp.enabled {
        true => Transport::Amqp(Arc::new(Broker::new(settings.amqp.clone()))),
        false => Transport::Lines(tell_broken),
    };
    let fleet =
        Arc::new(Fleet::new(host, settings.clone(), transport.clone(), delays, clock.clone()));
    opened.set(&fleet, store.clone());
    let ending = CancellationToken::new();
    let scheduler = tokio::spawn(schedule(store, transport.clone(), clock, ending.clone()));

    let ended = tokio::select! {
        biased;
        Some(error) = broken.recv() => Err(error),
        ended = follow(&settings, config, &transport, &fleet) => ended,
        () = stop.cancelled() => Ok(()),
    };

    info!("stopping");
    fleet.stop(GRACE).await;
    ending.cancel();
    // Neither ends in an error; a panic has been reported where it happened.
    let _ = tokio::time::timeout(GRACE, scheduler).await;
    drop(fleet);
    let _ = tokio::time::timeout(GRACE, committer).await;
    if let Transport::Amqp(broker) = &transport {
        broker.close().await;
    }
    info!("stopped");
    ended
}

/// Starts the plugins, then follows the folder, the settings and the input until
/// that ends.
async fn follow(
    settings: &Settings,
    config: Option<PathBuf>,
    transport: &Transport,
    fleet: &Arc<Fleet>,
) -> Result<()> {
    let dir = settings.plugins.dir.clone();
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("making the plugins folder {}", dir.display()))?;
    // Loading takes its time, and what changes meanwhile is a change too.
    let (present, mut folder) = tokio::task::spawn_blocking(move || Folder::open(dir)).await??;
    let mut config = config.and_then(|file| {
        let watched = config::watch(file);
        watched.inspect_err(|error| warn!("other settings take a restart: {error:#}")).ok()
    });
    let starting = fleet.start(present).await;

    let input = async {
        match transport {
            Transport::Amqp(_) => std::future::pending().await,
            Transport::Lines(_) => {
                let lines = BufReader::new(tokio::io::stdin());
                let fed =
                    jsonl::feed(lines, &settings.amqp.exchange, |message| fleet.deliver(message));
                let fed = fed.await;
                fleet.end_of_lines();
                fleet.finished().await;
                fed
            }
        }
    };
    // Side by side: loading a plugin can take seconds, and the broker can be away
    // for as long as it likes.
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

/// Publishes what falls due, session after session.
async fn schedule(store: Store, transport: Transport, clock: Clock, stop: CancellationToken) {
    let mut backoff = Backoff::new(SCHEDULER_PAUSES);
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let released = match &transport {
            Transport::Lines(broken) => {
                let mut outbox = jsonl::Outbox::default();
                if let Err(error) = delay::release(&store, &mut outbox, &clock, &stop).await {
                    // One that waits says as much as many.
                    let _ = broken.try_send(error);
                }
                return;
            }
            Transport::Amqp(broker) => release(&store, broker, &clock, &stop).await,
        };
        backoff.worked_for(begun.elapsed());
        if let Err(error) = released {
            let pause = backoff.next_pause();
            warn!(retry_in = ?pause, "delayed messages wait: {error:#}");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

async fn release(
    store: &Store,
    broker: &Arc<Broker>,
    clock: &Clock,
    stop: &CancellationToken,
) -> Result<()> {
    let connecting = async {
        broker.reachable().await;
        amqp::topology::declare_dead_letters(broker).await?;
        amqp::Outbox::open(Arc::clone(broker)).await
    };
    let mut outbox = tokio::select! {
        outbox = connecting => outbox?,
        () = stop.cancelled() => return Ok(()),
    };
    // From here on it is for the scheduler to stop: what is in flight is confirmed first.
    delay::release(store, &mut outbox, clock, stop).await
}

/// Serves the HTTP address, for as long as the value is held. The router goes on
/// without it if it is taken.
async fn serve(settings: &Settings, opened: &Opened) -> Option<AbortOnDropHandle<()>> {
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
    Some(AbortOnDropHandle::new(tokio::spawn(http::serve(listener, opened.clone()))))
}
