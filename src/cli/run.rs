//! `mo-router run`

use std::path::PathBuf;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::daemon::{self, Hold};
use crate::settings::Settings;

/// How the process ends when a second signal ends it: as if the signal had.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// How to run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Hold delayed messages until `mo-router delayed release`: to look at them first, after a
    /// restore
    #[arg(long)]
    hold_delayed: bool,
}

/// Runs the daemon. The first SIGINT or SIGTERM lets it finish what is in flight,
/// the second ends it at once. SIGHUP has it read its settings again.
pub async fn run(args: Args, settings: Settings, config: Option<PathBuf>) -> Result<()> {
    let stop = CancellationToken::new();
    let asked = stop.clone();
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        for again in [false, true] {
            // A signal that comes while nobody waits is received at the next wait.
            let code = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            if again {
                #[expect(clippy::exit, reason = "asked twice, it must not wait for anything")]
                std::process::exit(code);
            }
            info!("stopping; a second signal ends the router at once");
            asked.cancel();
        }
    });
    let mut hangup = signal(SignalKind::hangup())?;
    let (ask, reload) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // One that has been asked for and has not begun is enough.
            let _ = ask.try_send(());
        }
    });
    let hold = if args.hold_delayed { Hold::until_released() } else { Hold::none() };
    daemon::run(settings, config, hold, stop, reload).await
}
