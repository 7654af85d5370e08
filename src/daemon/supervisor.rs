//! One plugin on the broker, for as long as it is loaded: session after session.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::amqp::{Broker, Inbox, Outbox, topology};
use crate::backoff::{Backoff, Policy};
use crate::router::{Context, End, Session, State};

/// The pauses after a session that failed.
const RECONNECT: Policy =
    Policy::new(Duration::from_millis(250), Duration::from_secs(30)).reset_after(STABLE);
/// The pauses before a suspended plugin is tried again.
const SUSPENSION: Policy =
    Policy::new(Duration::from_secs(5), Duration::from_secs(300)).reset_after(STABLE);
/// After so long a session, pauses start anew.
pub(super) const STABLE: Duration = Duration::from_secs(30);
/// Deliveries that a plugin on trial gets: more than one, so that a single bad
/// event cannot keep it suspended.
const TRIAL_PREFETCH: u16 = 4;

/// Runs sessions until the context says stop. `started` is told when the first
/// one consumes.
pub async fn supervise(broker: Arc<Broker>, mut context: Context, started: oneshot::Sender<()>) {
    let stop = context.stop.clone();
    let mut started = Some(started);
    let mut reconnect = Backoff::new(RECONNECT);
    let mut suspension = Backoff::new(SUSPENSION);
    let mut on_trial = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = broker.reachable() => {}
        }
        let begun = Instant::now();
        // After a panic what is unsettled comes again, as after a lost connection.
        let ended = caught(session(&broker, &mut context, on_trial, &mut started)).await;
        reconnect.worked_for(begun.elapsed());
        suspension.worked_for(begun.elapsed());
        let plugin = context.current.borrow().plugin.name.clone();
        let pause = match ended {
            Ok(End::Stopped) => return,
            Ok(End::Recovered) => {
                info!(plugin, "plugin resumed, its backlog is worked off");
                on_trial = false;
                continue;
            }
            Ok(End::Suspended) => {
                let reason = context.stats.last_error().unwrap_or_default();
                let pause = suspension.next_pause();
                warn!(
                    plugin,
                    try_in = ?pause,
                    "plugin suspended, its events wait in its queue: it fails on each, lastly: {reason}"
                );
                context.stats.set_state(State::Suspended, Some(reason));
                on_trial = true;
                pause
            }
            Err(error) => {
                let pause = reconnect.next_pause();
                warn!(plugin, retry_in = ?pause, "session lost, its events come again: {error:#}");
                context.stats.set_state(State::Waiting, Some(format!("{error:#}")));
                pause
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            // A new version, or a person who says that it works again.
            Ok(()) = context.current.changed() => on_trial = false,
        }
    }
}

/// Work whose panic is its error: a fault of the router's own must not end what
/// runs the work again. Where it happened has been reported there.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("a fault of the router's own: {}", text.unwrap_or("a panic")))
    })
}

async fn session(
    broker: &Arc<Broker>,
    context: &mut Context,
    on_trial: bool,
    started: &mut Option<oneshot::Sender<()>>,
) -> Result<End> {
    let version = context.current.borrow().clone();
    let plugin = &version.plugin.name;
    let queue = topology::PluginQueue {
        plugin,
        subscriptions: version.subscriptions(),
        single_active_consumer: version.settings.single_active_consumer,
    };
    topology::declare(broker, &queue).await?;
    topology::declare_exchanges(broker, &version.settings.exchanges).await;
    let outbox = Outbox::open(Arc::clone(broker)).await?;
    let prefetch = if on_trial { TRIAL_PREFETCH } else { broker.settings().prefetch };
    let inbox = Inbox::open(broker, plugin, prefetch).await?;
    if !on_trial {
        info!(plugin, version = version.plugin.version, "plugin consumes");
        context.stats.set_state(State::Running, None);
    }
    if let Some(started) = started.take() {
        // Nobody may be waiting any more.
        let _ = started.send(());
    }
    Session::new(context, inbox, outbox, on_trial).run().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let panics = async { if true { panic!("of {}", "the test") } else { Ok(()) } };
        let error = caught(panics).await.unwrap_err();
        assert_eq!(error.to_string(), "a fault of the router's own: of the test");
        assert_eq!(caught(async { Ok(1) }).await.unwrap(), 1);
    }
}
