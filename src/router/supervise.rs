//! One plugin, for as long as it is loaded: session after session.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::core::{End, Limit};
use super::session::{Context, Session};
use super::stats::State;
use super::version::{Program, Version};
use crate::backoff::{Backoff, Jitter, Policy};
use crate::keep::caught;
use crate::transport::{Inbox, Outbox};

/// After so long a session, pauses start from the first again.
pub const STABLE: Duration = Duration::from_secs(30);
/// The pauses after a session that failed.
const RECONNECT: Policy =
    Policy::new(Duration::from_millis(250), Duration::from_secs(30)).reset_after(STABLE);

/// Opens what sessions need.
pub trait Connector<P: Program> {
    /// Where events come from.
    type Inbox: Inbox + Send;
    /// Where messages leave.
    type Outbox: Outbox + Send;

    /// Waits until there is something to connect to.
    fn reachable(&self) -> impl Future<Output = ()> + Send;

    /// Opens both ends for a session with this version, which has so much in flight, and begins
    /// with so many deliveries.
    ///
    /// # Errors
    /// The other side cannot be reached, or refuses.
    fn open(
        &self,
        version: &Version<P>,
        limit: Limit,
        at_first: usize,
    ) -> impl Future<Output = Result<(Self::Inbox, Self::Outbox)>> + Send;
}

/// Runs sessions until the context says stop. `started` is told when the first one
/// consumes.
pub async fn supervise<P: Program>(
    connector: impl Connector<P>,
    mut context: Context<P>,
    started: oneshot::Sender<()>,
) {
    let stop = context.stop.clone();
    let mut started = Some(started);
    let mut reconnect = Backoff::new(RECONNECT);
    let mut jitter = Jitter::seeded(context.seed);
    let mut at_first = context.limit.deliveries;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = connector.reachable() => {}
        }
        let (begun, mut opened) = (Instant::now(), false);
        // After a panic what is unsettled is redelivered, as after a lost connection.
        let session = session(&connector, &mut context, at_first, &mut opened, &mut started);
        let ended = caught(session).await;
        reconnect.worked_for(begun.elapsed());
        context.record.breaker.worked_for(begun.elapsed());
        let plugin = context.current.borrow().plugin.name().to_owned();
        let pause = match ended {
            Ok(End::Stopped) => return,
            Ok(End::Overfull { fitting }) => {
                let reason = "its events are large, or take long";
                info!(plugin, prefetch = fitting, "session renewed: {reason}");
                at_first = fitting;
                continue;
            }
            Ok(End::Overdue { is_answered }) => {
                let reason = match is_answered {
                    true => {
                        "what the plugin answered for an event is still not done: the broker confirms \
                         too little, or does not say whether an exchange can be used, or the delay \
                         store takes nothing"
                    }
                    false => {
                        "an event has waited too long: the plugin keeps failing on it, or on those \
                         before it"
                    }
                };
                warn!(
                    plugin,
                    "session renewed, unacknowledged events will be redelivered: {reason}"
                );
                continue;
            }
            // A new version came while it ended.
            Ok(End::Suspended) if context.record.breaker.is_closed() => continue,
            Ok(End::Suspended) => {
                let breaker = &mut context.record.breaker;
                let pause = breaker.next_pause(&mut jitter);
                let reason = breaker.reason().unwrap_or_default();
                warn!(
                    plugin,
                    try_in = ?pause,
                    "plugin suspended, its queue keeps its events: {reason}"
                );
                context.stats.set_state(State::Suspended, Some(reason.to_owned()));
                pause
            }
            Err(error) => {
                let breaker = &mut context.record.breaker;
                let mut pause = reconnect.next_pause_with(&mut jitter);
                if breaker.is_open() {
                    pause = pause.max(breaker.next_pause(&mut jitter));
                }
                // Its breaker outlives the session.
                let suspended = !breaker.is_closed();
                match opened {
                    true => warn!(
                        plugin,
                        retry_in = ?pause,
                        "session lost, unacknowledged events will be redelivered: {error:#}"
                    ),
                    false => warn!(
                        plugin,
                        retry_in = ?pause,
                        "the plugin cannot start, its queue keeps its events: {error:#}"
                    ),
                }
                let state = if suspended { State::Suspended } else { State::Waiting };
                context.stats.set_state(state, Some(format!("{error:#}")));
                pause
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // A new version, or a person who says that it works again.
            Ok(()) = context.current.changed() => context.record.start_anew(),
            () = tokio::time::sleep(pause) => {}
        }
        context.record.breaker.half_open();
    }
}

async fn session<P: Program>(
    connector: &impl Connector<P>,
    context: &mut Context<P>,
    at_first: usize,
    opened: &mut bool,
    started: &mut Option<oneshot::Sender<()>>,
) -> Result<End> {
    let version = context.current.borrow().clone();
    let stop = context.stop.clone();
    // Whatever has been opened is closed when it is dropped.
    let (inbox, outbox) = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(End::Stopped),
        both = connector.open(&version, context.limit, at_first) => both?,
    };
    *opened = true;
    // One may have come meanwhile: the session begins with it.
    if context.current.has_changed().unwrap_or(false) {
        context.record.start_anew();
    }
    let reason = context.record.breaker.reason().map(str::to_owned);
    let state = if reason.is_some() { State::Suspended } else { State::Running };
    if state == State::Running {
        let plugin = &context.current.borrow().plugin;
        info!(plugin = plugin.name(), version = plugin.label(), "plugin consumes");
    }
    context.stats.set_state(state, reason);
    if let Some(started) = started.take() {
        // Nobody may be waiting any more.
        let _ = started.send(());
    }
    Session::new(context, inbox, outbox).run().await
}

#[cfg(test)]
mod tests;
