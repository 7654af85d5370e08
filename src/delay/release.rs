//! Releasing messages: each is published when it is due, and removed when it is
//! confirmed.
//!
//! Messages are claimed a few hundred at a time, in due order, and sent without
//! waiting for one another. A claim is settled as a whole when the fate of the last of
//! its messages is known; meanwhile the next ones are in flight.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;
use futures::future::{BoxFuture, Fuse, FusedFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::select;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, Claimer, Hold};
use super::record::Outcome;
use super::retry::Work;
use super::{Store, StoreStats, Stored, put_off, retry};
use crate::backoff::Backoff;
use crate::clock::{Clock, sleep_until};
use crate::event::{Datetime, DeadKind, DeadLetter, Message, Origin, Outgoing, SHORT_STRING};
use crate::transport::{Completed, NextStep, Outbox};

/// Messages of one claim, at most.
const TOGETHER: usize = 256;

/// Unsettled claims, at most: with [`TOGETHER`], some 1,000 messages in flight.
const CLAIMS: usize = 4;

/// How long a message may wait for its confirm; then it is put off like one that was
/// nacked, and the rest of its claim is settled. A queue that has lost its majority
/// confirms nothing.
const LATE: Duration = Duration::from_secs(30);

/// Publishes what is due through `outbox`, until `shutdown`; then waits for what
/// is in flight.
///
/// While the store fails it keeps trying, and the store's health says so. A message that can never be delivered becomes
/// a dead letter. One that the broker nacks is sent again later, after those behind it.
///
/// # Errors
/// The outbox's session is over, or another router uses the same local store.
/// What was in flight is due still: call again with a new outbox.
pub async fn release(
    store: &Store,
    outbox: &mut impl Outbox,
    clock: &Clock,
    shutdown: &CancellationToken,
) -> Result<()> {
    let claimer = store.claimer()?;
    let mut released = Released::new(store.stats());
    let mut claiming: Fuse<BoxFuture<'_, Result<Claim<'_>>>> = Fuse::terminated();
    // Before a claim after one that failed: what is in flight goes on meanwhile.
    let (mut backoff, mut pause) = (Backoff::new(retry::PAUSES), Duration::ZERO);
    let mut settling = FuturesUnordered::new();
    // When to look at the store; none: when it changes.
    let mut look = Some(clock.now());

    loop {
        let room = claiming.is_terminated() && released.claims.len() + settling.len() < CLAIMS;
        if shutdown.is_cancelled() && released.claims.is_empty() && settling.is_empty() {
            return Ok(());
        }
        select! {
            completed = outbox.completed() => {
                if let Some((hold, outcome)) = released.on_completed(completed?, clock, outbox)? {
                    settling.push(hold.settle(outcome));
                }
            }
            claim = &mut claiming => {
                let claim = match claim {
                    Ok(claim) => claim,
                    Err(error) => {
                        store.stats().errors.fetch_add(1, Relaxed);
                        retry::unavailable(store.health(), Work::Claim, &error);
                        pause = backoff.next_pause();
                        look = Some(clock.now());
                        continue;
                    }
                };
                retry::available(store.health(), Work::Claim);
                backoff.reset();
                pause = Duration::ZERO;
                look = earlier(look, claim.next);
                if !shutdown.is_cancelled()
                    && let Some((hold, outcome)) = released.send(claim, clock.now(), outbox)
                {
                    settling.push(hold.settle(outcome));
                }
            }
            Some(stays) = settling.next() => {
                // A claim that was made meanwhile has not seen what stays.
                look = if stays { earlier(look, Some(clock.now())) } else { look };
            }
            () = sleep_until(released.late_at().map(Instant::into_std)) => {
                for (hold, outcome) in released.put_off_late(clock.now(), outbox) {
                    settling.push(hold.settle(outcome));
                }
            }
            due = store.changed() => look = earlier(look, Some(due)),
            () = wait_until(clock, look), if room && !shutdown.is_cancelled() => {
                // What changes from here on is not lost: it sets `look` again.
                look = None;
                claiming = claim(&claimer, clock, pause).boxed().fuse();
            }
            () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
        }
    }
}

async fn claim<'a>(claimer: &'a Claimer<'_>, clock: &Clock, pause: Duration) -> Result<Claim<'a>> {
    tokio::time::sleep(pause).await;
    claimer.claim(clock.now(), TOGETHER).await
}

async fn wait_until(clock: &Clock, time: Option<Datetime>) {
    match time {
        Some(time) => clock.sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn earlier(one: Option<Datetime>, other: Option<Datetime>) -> Option<Datetime> {
    [one, other].into_iter().flatten().min()
}

/// What is in flight.
struct Released<'a> {
    stats: &'a StoreStats,
    /// Messages whose fate is unknown, by token. Their contents are with the outbox.
    messages: BTreeMap<u64, (ClaimNumber, Stored)>,
    /// Claims of which a message is in flight.
    claims: BTreeMap<ClaimNumber, UnsettledClaim<'a>>,
    last_token: u64,
}

/// The token of the first of the claim's messages that is sent.
type ClaimNumber = u64;

struct UnsettledClaim<'a> {
    hold: Hold<'a>,
    left: usize,
    outcome: Outcome,
    late_at: Instant,
}

/// A claim whose messages' fates are all known.
type Finished<'a> = (Hold<'a>, Outcome);

impl<'a> Released<'a> {
    fn new(stats: &'a StoreStats) -> Self {
        Self { stats, messages: BTreeMap::new(), claims: BTreeMap::new(), last_token: 0 }
    }

    /// Sends a claim's messages; returns it if none could be sent.
    fn send(
        &mut self,
        claim: Claim<'a>,
        now: Datetime,
        outbox: &mut impl Outbox,
    ) -> Option<Finished<'a>> {
        let mut unsettled = UnsettledClaim {
            hold: claim.hold?,
            left: 0,
            outcome: Outcome::default(),
            late_at: Instant::now() + LATE,
        };
        let number = self.last_token + 1;
        for mut stored in claim.messages {
            if stored.damage.is_some() {
                unsettled.outcome.put_off.push(put_off::unreadable(stored, now));
                continue;
            }
            self.last_token += 1;
            unsettled.left += 1;
            let message = put_off::take_contents(&mut stored);
            let outgoing = match too_long(&message) {
                Some(reason) => Outgoing::Dead(dead_letter(reason, &stored, message, now).into()),
                None => Outgoing::Message(message),
            };
            self.messages.insert(self.last_token, (number, stored));
            outbox.send(self.last_token, outgoing);
        }
        if unsettled.left == 0 {
            return Some((unsettled.hold, unsettled.outcome));
        }
        self.claims.insert(number, unsettled);
        None
    }

    /// When the next claim is late.
    fn late_at(&self) -> Option<Instant> {
        self.claims.values().map(|claim| claim.late_at).min()
    }

    /// Puts off the messages of late claims whose fate is not known; returns the claims of
    /// which nothing else is in flight.
    fn put_off_late(&mut self, now: Datetime, outbox: &mut impl Outbox) -> Vec<Finished<'a>> {
        let Self { messages, claims, .. } = self;
        let begun = Instant::now();
        let mut finished = Vec::new();
        for (number, claim) in claims.iter_mut().filter(|(_, claim)| claim.late_at <= begun) {
            claim.late_at = begun + LATE;
            let tokens = messages.iter().filter(|(_, (of, _))| of == number);
            let tokens: Vec<u64> = tokens.map(|(token, _)| *token).collect();
            for token in tokens {
                // A message that the outbox does not give has a fate, which it tells next.
                let Some(outgoing) = outbox.abandon(token) else { continue };
                let Some((_, mut stored)) = messages.remove(&token) else { continue };
                put_off::give_back(&mut stored, outgoing);
                let reason = format!("the broker has not confirmed it within {LATE:?}");
                claim.outcome.put_off.push(put_off::hindered(stored, reason, now));
                claim.left -= 1;
            }
            if claim.left == 0 {
                finished.push(*number);
            }
        }
        let claims = finished.into_iter().filter_map(|number| claims.remove(&number));
        claims.map(|claim| (claim.hold, claim.outcome)).collect()
    }

    /// A message's fate is known. Returns its claim if it was the last one of it.
    ///
    /// # Errors
    /// A dead letter cannot be delivered: the queue of dead letters has to be declared
    /// again.
    fn on_completed(
        &mut self,
        completed: Completed,
        clock: &Clock,
        outbox: &mut impl Outbox,
    ) -> Result<Option<Finished<'a>>> {
        let token = completed.token;
        let Some((number, mut stored)) = self.messages.remove(&token) else { return Ok(None) };
        let now = clock.now();
        let put_off = match completed.next_step(stored.attempts.saturating_add(1))? {
            NextStep::Done => None,
            NextStep::Bury { message, reason, .. } => {
                let letter = dead_letter(reason, &stored, message, now);
                self.messages.insert(token, (number, stored));
                outbox.send(token, Outgoing::Dead(letter.into()));
                return Ok(None);
            }
            NextStep::SendReduced(letter) => {
                self.messages.insert(token, (number, stored));
                outbox.send(token, Outgoing::Dead(letter));
                return Ok(None);
            }
            NextStep::Resend { outgoing: Outgoing::Dead(letter), .. } => {
                let reason = letter.reason.clone();
                put_off::give_back(&mut stored, Outgoing::Dead(letter));
                Some(put_off::hindered(stored.clone(), reason, now))
            }
            NextStep::Resend { outgoing, reason } => {
                put_off::give_back(&mut stored, outgoing);
                Some(put_off::nacked(stored.clone(), reason, now))
            }
        };
        let Some(unsettled) = self.claims.get_mut(&number) else { return Ok(None) };
        match put_off {
            None => {
                self.stats.sent(stored.delayed.due, now);
                unsettled.outcome.sent.push((stored.id, stored.delayed.due));
            }
            Some(put_off) => unsettled.outcome.put_off.push(put_off),
        }
        unsettled.left -= 1;
        if unsettled.left > 0 {
            return Ok(None);
        }
        Ok(self.claims.remove(&number).map(|unsettled| (unsettled.hold, unsettled.outcome)))
    }
}

/// Why AMQP cannot carry the message, which need not come from a plugin: an import has others.
fn too_long(message: &Message) -> Option<String> {
    [("routing key", &message.routing_key), ("exchange", &message.exchange)]
        .into_iter()
        .find(|(_, text)| text.len() > SHORT_STRING)
        .map(|(what, text)| {
            format!("its {what} has {} bytes; AMQP allows {SHORT_STRING}", text.len())
        })
}

fn dead_letter(reason: String, stored: &Stored, message: Message, now: Datetime) -> DeadLetter {
    let delayed = &stored.delayed;
    tracing::warn!(
        plugin = delayed.plugin,
        uuid = delayed.uuid,
        message_id = message.id(),
        "a delayed message cannot be delivered and becomes a dead letter: {reason}"
    );
    let origin = Origin { plugin: &delayed.plugin, version: &delayed.version };
    let attempts = stored.attempts.saturating_add(1);
    DeadLetter::new(DeadKind::Publication, origin, message, attempts, reason, now)
}
