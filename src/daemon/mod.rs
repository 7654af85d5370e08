//! The daemon: everything put together, from start to stop.

mod fleet;
pub mod http;
mod supervisor;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::amqp::{self, Broker};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::delay::{self, Store};
use crate::jsonl;
use crate::plugins::{Folder, Host};
use crate::settings::Settings;

pub use fleet::{Fleet, Report, Transport};

/// How long events under way may take to be settled when the router stops.
const GRACE: Duration = Duration::from_secs(20);
/// The first pause before the scheduler goes on after an error, and the longest.
const SCHEDULER_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Runs the router until `stop` is cancelled or, with JSON Lines, the input ends.
/// `config` is the file that the settings came from, to follow its changes.
///
/// # Errors
/// The router cannot start: the plugins' folder cannot be read, the delay store
/// cannot be opened, WebAssembly does not run here.
pub async fn run(
    settings: Settings,
    config: Option<PathBuf>,
    stop: CancellationToken,
) -> Result<()> {
    let clock = Clock::system();
    let host = Arc::new(Host::new(cache_dir(&settings), clock.clone())?);
    let store = tokio::select! {
        store = Store::wait_for(&settings.delay.store) => store?,
        () = stop.cancelled() => return Ok(()),
    };
    let (delays, committer) = delay::accepting(store.clone());
    let committer = tokio::spawn(committer);
    let transport = match settings.amqp.enabled {
        true => Transport::Amqp(Arc::new(Broker::new(settings.amqp.clone()))),
        false => Transport::Lines,
    };
    let fleet =
        Arc::new(Fleet::new(host, settings.clone(), transport.clone(), delays, clock.clone()));
    let server = serve(&settings, &fleet, &store).await;
    let ending = CancellationToken::new();
    let scheduler = tokio::spawn(schedule(store.clone(), transport.clone(), clock, ending.clone()));

    follow(&settings, config, &transport, &fleet, &stop).await?;

    info!("stopping");
    fleet.stop(GRACE).await;
    ending.cancel();
    // Neither ends in an error; a panic has been reported where it happened.
    let _ = tokio::time::timeout(GRACE, scheduler).await;
    if let Some(server) = server {
        server.abort();
    }
    drop(fleet);
    let _ = tokio::time::timeout(GRACE, committer).await;
    if let Transport::Amqp(broker) = &transport {
        broker.close().await;
    }
    info!("stopped");
    Ok(())
}

/// Where compiled code is kept: as the settings say, or in the user's cache
/// folder. None for a user who has none.
pub fn cache_dir(settings: &Settings) -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let user = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    settings.plugins.cache_dir.clone().or_else(|| Some(user()?.join("mo-router/code")))
}

/// Starts the plugins, then follows the folder, the settings and the input until
/// the end.
async fn follow(
    settings: &Settings,
    config: Option<PathBuf>,
    transport: &Transport,
    fleet: &Arc<Fleet>,
    stop: &CancellationToken,
) -> Result<()> {
    let dir = settings.plugins.dir.clone();
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("making the plugins folder {}", dir.display()))?;
    let read = dir.clone();
    let present = tokio::task::spawn_blocking(move || Folder::read(&read)).await??;
    let starting = tokio::select! {
        starting = fleet.start(present) => starting,
        () = stop.cancelled() => return Ok(()),
    };
    let mut folder = Folder::watch(dir)?;
    let mut config = config.map(config::watch).transpose()?;

    let input = async {
        match transport {
            Transport::Amqp(_) => std::future::pending().await,
            Transport::Lines => {
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
        () = stop.cancelled() => Ok(()),
    }
}

/// Publishes what falls due, session after session.
async fn schedule(store: Store, transport: Transport, clock: Clock, stop: CancellationToken) {
    let mut backoff = Backoff::new(SCHEDULER_PAUSE.0, SCHEDULER_PAUSE.1);
    while !stop.is_cancelled() {
        let released = match &transport {
            Transport::Lines => {
                let mut outbox = jsonl::Outbox::default();
                delay::release(&store, &mut outbox, &clock, &stop).await
            }
            Transport::Amqp(broker) => release(&store, broker, &clock, &stop).await,
        };
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

/// Serves the HTTP address. The router goes on without it if it is taken.
async fn serve(
    settings: &Settings,
    fleet: &Arc<Fleet>,
    store: &Store,
) -> Option<tokio::task::JoinHandle<()>> {
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
    Some(tokio::spawn(http::serve(listener, Arc::clone(fleet), store.clone())))
}

mod config {
    //! Changes of the settings' file.

    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use anyhow::{Context, Result};
    use notify::event::{EventKind, ModifyKind};
    use notify::{Event, RecursiveMode, Watcher};
    use tokio::sync::mpsc;
    use tracing::error;

    use crate::settings::Settings;

    /// How long the file must hold the same text: one that is being written is at
    /// first empty, and that is valid.
    const STILL: Duration = Duration::from_millis(50);

    /// A settings' file that is watched.
    pub struct Config {
        file: PathBuf,
        /// What it held when it was last read.
        text: String,
        changes: mpsc::Receiver<()>,
        _watcher: notify::RecommendedWatcher,
    }

    /// Watches the folder that the file is in, since editors replace files.
    pub fn watch(file: PathBuf) -> Result<Config> {
        let file = std::path::absolute(&file)?;
        let (tell, changes) = mpsc::channel(1);
        let watched = file.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // One that waits says as much as many.
            if event.is_ok_and(|event| concerns(&event, &watched)) {
                let _ = tell.try_send(());
            }
        })?;
        if let Some(dir) = file.parent() {
            watcher
                .watch(dir, RecursiveMode::NonRecursive)
                .with_context(|| format!("watching {}", dir.display()))?;
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Ok(Config { file, text, changes, _watcher: watcher })
    }

    /// Whether an event may be about the file: it, or a link on the way to it, was
    /// changed. Our own reading is no change, and neither is what is written to a
    /// delay store in the same folder.
    fn concerns(event: &Event, file: &Path) -> bool {
        match event.kind {
            EventKind::Access(_) => false,
            EventKind::Modify(ModifyKind::Data(_)) => event.paths.iter().any(|path| path == file),
            _ => true,
        }
    }

    /// Waits for settings that differ and hold; for ever without a file.
    pub async fn changed(config: &mut Option<Config>) -> Option<Settings> {
        let Some(config) = config else { return std::future::pending().await };
        loop {
            config.changes.recv().await?;
            let Ok(text) = std::fs::read_to_string(&config.file) else { continue };
            if text == config.text {
                continue;
            }
            tokio::time::sleep(STILL).await;
            if std::fs::read_to_string(&config.file).ok().as_ref() != Some(&text) {
                // What changes it now is announced too.
                continue;
            }
            config.text = text;
            match Settings::load(Some(&config.file), std::env::vars()) {
                Ok(settings) => return Some(settings),
                Err(error) => {
                    error!("the old settings hold, because the new ones do not: {error:#}")
                }
            }
        }
    }
}
