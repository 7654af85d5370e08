//! Releasing messages: each is published when it is due, and removed when it is
//! confirmed.
//!
//! Messages are claimed a few hundred at a time, in due order, and sent without
//! waiting for one another. A claim is settled as a whole when the fate of the last of
//! its messages is known, or when the last ones are [let go](in_flight); meanwhile the
//! next ones are in flight.

mod failed;
mod in_flight;
mod late;
mod unsettled;

use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result};
use futures::future::{BoxFuture, Fuse, FusedFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::select;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::failed::Failed;
use self::in_flight::InFlight;
use self::unsettled::Finished;
use super::claim::Claim;
use super::retry::Work;
use super::{Senders, Store, retry};
use crate::backoff::Backoff;
use crate::clock::{Clock, sleep_until};
use crate::event::Datetime;
use crate::transport::Outbox;

/// Messages of one claim, at most.
const TOGETHER: usize = 256;

/// Unsettled claims, at most: with [`TOGETHER`], some 1,000 messages in flight.
const CLAIMS: usize = 4;

/// The session of the outbox is over, or none could be opened: nothing is wrong with the store.
#[derive(Debug, thiserror::Error)]
#[error("sending ended")]
pub struct OutboxLost;

/// Publishes what is due through `outbox`, until `shutdown`; then waits for what
/// is in flight. The plugins that stored it are asked and told through `senders`.
///
/// While the store fails it keeps trying, and the store's health says so. A message that can never be
/// delivered becomes a dead letter. One that the broker nacks is sent again later, after those behind
/// it.
///
/// # Errors
/// The outbox's session is over ([`OutboxLost`]), or another router uses the same local store.
/// What was in flight is due still: call again with a new outbox.
pub async fn release(
    store: &Store,
    outbox: &mut impl Outbox,
    clock: &Clock,
    senders: &impl Senders,
    shutdown: &CancellationToken,
) -> Result<()> {
    let claimer = store.claimer()?;
    let _ending = Ending(store);
    let mut in_flight = InFlight::new(store, senders);
    let mut claiming: Fuse<BoxFuture<'_, Result<Claim<'_>>>> = Fuse::terminated();
    let mut backoff = Backoff::new(retry::PAUSES);
    // When to claim after a claim failed, or was not settled: what is in flight goes on meanwhile.
    let mut not_before: Option<Instant> = None;
    let mut settling = FuturesUnordered::new();
    let mut failed = Failed::new(store);
    let mut removing: Fuse<BoxFuture<'_, Result<()>>> = Fuse::terminated();
    // When to look at the store; none: when it changes.
    let mut look = Some(clock.now());

    loop {
        if removing.is_terminated()
            && let Some(confirmed) = in_flight.take_confirmed_late()
        {
            removing = claimer.remove(confirmed).boxed().fuse();
        }
        let is_crowded = in_flight.claims() + settling.len() >= CLAIMS;
        let has_room = claiming.is_terminated() && !is_crowded;
        let all_settled =
            in_flight.claims() == 0 && settling.is_empty() && removing.is_terminated();
        if shutdown.is_cancelled() && all_settled {
            return Ok(());
        }
        select! {
            completed = outbox.completed() => {
                let completed = completed.context(OutboxLost)?;
                let settled = in_flight.on_completed(completed, clock.read(), outbox);
                settling.extend(settled.map(Finished::settle));
            }
            claim = &mut claiming => {
                let claim = match claim {
                    Ok(claim) => claim,
                    Err(error) => {
                        retry::unavailable(store.health(), store.stats(), Work::Claim, &error);
                        not_before = Some(Instant::now() + backoff.next_pause());
                        look = Some(clock.now());
                        continue;
                    }
                };
                retry::available(store.health(), Work::Claim);
                backoff.reset();
                look = earlier(look, claim.next);
                if in_flight.claims() == 0 && settling.is_empty() {
                    failed.on_claimed_alone(&claim.messages);
                }
                if !shutdown.is_cancelled() {
                    let settled = in_flight.send(claim, clock.read(), outbox);
                    settling.extend(settled.map(Finished::settle));
                }
            }
            Some(settled) = settling.next() => {
                in_flight.on_settled(&settled);
                // A claim that was made meanwhile has not seen what stays.
                look = if failed.on_settled(settled) { earlier(look, Some(clock.now())) } else { look };
                not_before = not_before.max(failed.take_pause());
            }
            removed = &mut removing => {
                store.stats().errors.fetch_add(removed.is_err().into(), Relaxed);
            }
            () = sleep_until(in_flight.wake_at(is_crowded).map(Instant::into_std)) => {
                let settled = in_flight.on_time(is_crowded, clock.now(), outbox);
                settling.extend(settled.into_iter().map(Finished::settle));
            }
            due = store.changed() => look = earlier(look, Some(due)),
            () = wait_until(clock, look, not_before), if has_room && !shutdown.is_cancelled() => {
                // What changes from here on is not lost: it sets `look` again.
                (look, not_before) = (None, None);
                claiming = claimer.claim(clock.now(), TOGETHER).boxed().fuse();
            }
            () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
        }
    }
}

/// Nothing is claimed and settled any more. If that failed, it says nothing of the store from now on,
/// however long the broker is unreachable: what looks at the store does.
struct Ending<'a>(&'a Store);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        for work in [Work::Claim, Work::Settle] {
            retry::ended(self.0.health(), work);
        }
    }
}

async fn wait_until(clock: &Clock, time: Option<Datetime>, not_before: Option<Instant>) {
    if let Some(pause) = not_before {
        tokio::time::sleep_until(pause).await;
    }
    match time {
        Some(time) => clock.sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn earlier(one: Option<Datetime>, other: Option<Datetime>) -> Option<Datetime> {
    [one, other].into_iter().flatten().min()
}
