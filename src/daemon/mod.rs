//! The daemon: everything put together, from start to stop.

mod bridge;
mod config;
mod ending;
mod endpoints;
mod fleet;
mod following;
mod hold;
pub mod http;
mod notify;
mod supervisor;
mod unasked;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::amqp::topology;
use crate::backoff::Policy;
use crate::clock::Clock;
use crate::delay::{self, OutboxLost, Store};
use crate::health::{Code, Health};
use crate::keep::{Keeper, Shown};
use crate::mo;
use crate::plugins::{Codegen, Host};
use crate::settings::{Amqp, Settings, service_manager};
use crate::telemetry::{Exporter, Place, Tracer};

use self::ending::Parts;
use self::endpoints::Endpoints;
use self::following::{Reloading, follow};
use self::http::Observed;
use self::notify::Notify;
use self::supervisor::STABLE;
pub use config::Reloads;
pub use fleet::{Chronicled, Fleet, Gathered, Happened, PluginStatus};
pub use hold::Hold;

/// The pauses before delayed messages are published again after an error.
const SCHEDULER_PAUSES: Policy =
    Policy::new(Duration::from_millis(250), Duration::from_secs(30)).reset_after(STABLE);

/// Runs the router until `stop` is cancelled or, with JSON Lines, the input ends.
/// `config` is the file that the settings came from; its changes are followed, and it is
/// read again when `reload` says so. Without one, the same is true of the default file from when it
/// is there. Delayed messages are sent once `hold` is released.
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
    for warning in settings.warnings().into_iter().chain(settings.mistakes()) {
        warn!("{warning}");
    }
    let clock = Clock::system();
    let host =
        Arc::new(Host::of_program(settings.cache_dir(), clock.clone(), Codegen::Optimised).await?);
    let health = Health::default();
    let bridging = mo::Stats::default();
    let bridge = bridge::Setup::of(&settings, &health, &bridging)?;
    let observed = Observed::new(health.clone(), hold.clone());
    let _server = serve(&settings, &observed).await?;
    let config = config::follow(config.as_deref(), Arc::clone(observed.reloads()))?;
    let mut reloading = Reloading {
        asked: reload,
        config,
        reloads: Arc::clone(observed.reloads()),
        notify: Arc::clone(&notify),
    };
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
                Some(()) = reloading.asked.recv() => reloading.before_the_start(&settings).await,
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
    let bridge = bridge.map(|bridge| {
        let traces = (tracer.clone(), clock.clone());
        tokio::spawn(bridge.run(Arc::clone(&fleet), traces, ending.clone()))
    });
    let publishing = Publishing {
        store: store.clone(),
        endpoints: endpoints.clone(),
        clock,
        tracer,
        // They hand messages in until they are dropped, whatever the scheduler still waits for.
        senders: Arc::downgrade(&fleet),
    };
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
    let parts =
        Parts { fleet, endpoints, store, bridge, scheduler, committer, monitor, exporter, ending };
    parts.end(&settings.daemon).await;
    info!("stopped");
    ended
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
    senders: Weak<Fleet>,
}

/// Publishes delayed messages as they fall due, once they are not held, and tries again after
/// errors and faults.
async fn schedule(publishing: Publishing, health: Health, hold: Hold, stop: CancellationToken) {
    let Publishing { store, endpoints, clock, tracer, senders } = publishing;
    if stop.run_until_cancelled(hold.released(&health)).await.is_none() {
        return;
    }
    let shown = Shown {
        health,
        code: Code::StoreUnavailable,
        subject: "scheduler",
        meaning: "delayed messages are not being published",
        again: "delayed messages are being published again",
        elsewhere: |error| error.is::<OutboxLost>(),
    };
    let mut keeper = Keeper::new(shown, SCHEDULER_PAUSES, stop.clone());
    loop {
        // An attempt that does nothing but wait for the broker would pass for one that works.
        if stop.run_until_cancelled(endpoints.reachable()).await.is_none() {
            return;
        }
        let publishing = endpoints.publish_due(&store, &clock, tracer.as_ref(), &senders, &stop);
        if !keeper.attempt(publishing).await {
            return;
        }
    }
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
