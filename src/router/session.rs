//! One plugin's events, from delivery to settlement, for as long as the connection
//! lasts.
//!
//! The rules are in [`Core`]. This is its live driver: it waits for whatever happens
//! first, tells the core, and does what the core says.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use tracing::{info, warn};
use uuid::Uuid;

use super::core::{Core, Effect, End, Intake, Job, Limit, Record, tokens_of};
use super::stats::Stats;
use super::traces::Traces;
use super::version::{Program, Version};
use super::workers::{Done, Workers};
use crate::backoff::Jitter;
use crate::clock::{Clock, Now, sleep_until};
use crate::delay;
use crate::event::{DeadKind, DeadLetter, Delayed, Outgoing};
use crate::plugins::Plugin;
use crate::telemetry::Tracer;
use crate::transport::{Completed, Delivery, Inbox, Outbox, Received};

/// Settlements are told at the latest when so many have gathered, or an eighth of the
/// deliveries that may be in flight if that is less.
const SETTLE_TOGETHER: usize = 128;
/// Events that are routed in a row before anything but confirms is looked at.
const IN_A_ROW: usize = 64;
/// The same, as a time, for a plugin that is slow: what it answered leaves, what is settled is
/// told, and a stop or a new version is seen.
const ROUND: Duration = Duration::from_millis(5);
/// With so many messages in flight, their confirms wake the session soon enough to
/// take what has come meanwhile and to tell what was settled. Woken by each delivery
/// it would take them one by one, and waking costs as much as routing; so does an
/// acknowledgement.
const PLENTY: usize = 64;

/// After so long without a confirm, they wake the session too seldom for that.
const QUIET: Duration = Duration::from_millis(20);

/// What a session works with; it outlives the session.
pub struct Context<P = Plugin> {
    /// The version of the plugin to use, and the settings it was loaded with.
    pub current: watch::Receiver<Version<P>>,
    /// Takes what is not due yet.
    pub delays: delay::Handle,
    /// Tells the time.
    pub clock: Clock,
    /// What holds for every delivery.
    pub intake: Intake,
    /// The queue that events come from; none where there is no broker.
    pub queue: Option<String>,
    /// Where publications go that name no exchange.
    pub output_exchange: String,
    /// What may be in flight.
    pub limit: Limit,
    /// What is known of the plugin.
    pub record: Record,
    /// Seeds the jitter of pauses.
    pub seed: u64,
    /// What people see of the plugin.
    pub stats: Arc<Stats>,
    /// Makes spans of what happens; none if there are no traces.
    pub tracer: Option<Tracer>,
    /// Ends the session: nothing more is taken, what is in flight is finished.
    pub stop: CancellationToken,
}

/// See the module's documentation.
pub struct Session<'a, I: Inbox, O, P: Program = Plugin> {
    context: &'a mut Context<P>,
    core: Core<I::Receipt>,
    inbox: I,
    outbox: O,
    workers: Workers<P::Worker>,
    /// The newest version: the one that the core routes with, or is about to.
    version: Version<P>,
    /// What the delay store has no room for yet; bounded by what may be in flight.
    to_store: VecDeque<(u64, Delayed)>,
    committed: mpsc::UnboundedReceiver<delay::Answer>,
    commits: mpsc::UnboundedSender<delay::Answer>,
    /// Until then confirms are expected to wake the session.
    quiet_at: Instant,
    traces: Option<Traces>,
}

impl<'a, I: Inbox, O: Outbox, P: Program> Session<'a, I, O, P> {
    /// A session on an open inbox and outbox.
    pub fn new(context: &'a mut Context<P>, inbox: I, outbox: O) -> Self {
        let version = context.current.borrow_and_update().clone();
        #[expect(clippy::disallowed_methods, reason = "the prefetch bounds it")]
        let (commits, committed) = mpsc::unbounded_channel();
        let quiet_at = context.clock.instant();
        let traces = context.tracer.clone().map(|it| Traces::new(it, version.plugin.name()));
        let core = Core::new(
            version.terms(&context.output_exchange),
            context.intake,
            context.limit,
            std::mem::take(&mut context.record),
            Arc::clone(&context.stats),
            Jitter::seeded(context.seed),
        );
        Self {
            core,
            workers: Workers::of(&version, &context.clock, &context.stats),
            version,
            context,
            inbox,
            outbox,
            to_store: VecDeque::new(),
            committed,
            commits,
            quiet_at,
            traces,
        }
    }

    /// Routes events until the session ends.
    ///
    /// # Errors
    /// The connection is lost. Everything unsettled is redelivered.
    pub async fn run(mut self) -> Result<End> {
        let ended = self.drive().await;
        if let (Ok(End::Stopped), true) = (&ended, self.core.is_cut_off()) {
            let (plugin, waited) = (self.version.plugin.name(), self.context.limit.finish);
            warn!(
                plugin,
                ?waited,
                "the plugin is stopped before all of its events are settled: they will be redelivered, \
                 and what they have published may be published again"
            );
        }
        self.context.record = self.core.take_record();
        if let Some(traces) = &mut self.traces {
            traces.on_end(self.context.clock.now());
        }
        match &ended {
            Ok(_) => self.inbox.close().await,
            // What is done is not to come again because another connection was lost.
            Err(_) => self.inbox.flush(),
        }
        ended
    }

    async fn drive(&mut self) -> Result<End> {
        let (stop, delays) = (self.context.stop.clone(), self.context.delays.clone());
        loop {
            self.look_around(&stop);
            // Before waiting, because it may find that there is nothing left to wait for.
            let all = self.take_what_is_there().await?;
            self.look_at_inbox();
            if let Some(end) = self.core.ended() {
                return Ok(end);
            }
            let busy = self.core.in_flight().publications >= PLENTY && self.now() < self.quiet_at;
            let taking = self.core.has_room() && !(all && busy);
            let quiet_at = busy.then_some(self.quiet_at);
            let wake_at = [self.core.wake_at(), quiet_at].into_iter().flatten().min();
            // Each branch is cancelled in every round that another one wins: none of
            // them has done anything until it is ready.
            tokio::select! {
                biased;
                completed = self.outbox.completed() => {
                    let now = self.context.clock.read();
                    self.on_completed(completed?, now);
                }
                Some(answer) = self.committed.recv() => self.on_answered(answer),
                permit = delays.reserve(), if !self.to_store.is_empty() => self.store(permit),
                done = self.workers.answered(), if self.core.is_calling() => {
                    self.on_done(done, self.context.clock.read());
                }
                () = stop.cancelled(), if !self.core.is_stopping() => {
                    self.core.on_stop(self.now());
                }
                Ok(()) = self.context.current.changed() => self.on_version(),
                () = sleep_until(wake_at) => self.core.on_time(self.now()),
                // It is called in the next round.
                () = ready(()), if self.core.has_call() => {}
                received = next(&mut self.inbox, taking) => {
                    self.on_received(received?, self.context.clock.read());
                }
                () = ready(()), if self.inbox.unsent() > 0 && !busy => self.inbox.flush(),
            }
            self.perform();
            if !self.core.is_routing() {
                self.workers.halt();
            }
            if self.inbox.unsent() >= SETTLE_TOGETHER.min(self.context.limit.deliveries / 8) {
                self.inbox.flush();
            }
        }
    }

    /// Sees a stop or a new version in every round: with a backlog there are confirms each time
    /// that anything is waited for, and they come first.
    fn look_around(&mut self, stop: &CancellationToken) {
        if stop.is_cancelled() {
            self.core.on_stop(self.now());
        }
        if self.context.current.has_changed().unwrap_or(false) {
            self.on_version();
            self.perform();
        }
    }

    /// Sees whether the inbox was given more than it can keep, and whether it gives no more while
    /// most of what it gave waits.
    fn look_at_inbox(&mut self) {
        if let Some(fitting) = self.inbox.overfull() {
            self.core.on_overfull(fitting, self.now());
        }
        if self.core.is_crowded() {
            self.core.make_room(self.inbox.can_widen());
            self.perform();
        }
    }

    fn now(&self) -> Instant {
        self.context.clock.instant()
    }

    /// The fate of a message is known.
    fn on_completed(&mut self, completed: Completed, now: Now) {
        self.quiet_at = now.instant + QUIET;
        if let Some(traces) = &mut self.traces {
            traces.on_completed(&completed, now.wall);
        }
        self.core.on_completed(completed, now);
    }

    /// The plugin has answered, or was not called.
    fn on_done(&mut self, done: Done, now: Now) {
        let Done { job, answer, took } = done;
        let Some(answer) = answer else { return self.core.on_not_begun(job) };
        self.inbox.took(took);
        if let Some(traces) = &mut self.traces {
            traces.on_answer(&job, &answer, &self.core.terms().author.version, now.wall);
        }
        self.core.on_answer(job, answer, now);
    }

    /// The store has committed a message, or refuses it.
    fn on_answered(&mut self, answer: delay::Answer) {
        let delay::Answer { token, refused } = answer;
        if let Some(traces) = &mut self.traces {
            let reason = refused.as_ref().map(|refused| refused.1.as_str());
            traces.on_committed(token, reason, &self.context.clock);
        }
        match refused.map(|refused| *refused) {
            None => self.core.on_committed(token, self.now()),
            Some((message, reason)) => {
                self.core.on_not_stored(token, message, &reason, self.context.clock.read());
            }
        }
    }

    /// Hands the next message to the store that somebody still waits for.
    fn store(&mut self, permit: delay::Permit<'_>) {
        while let Some((token, delayed)) = self.to_store.pop_front() {
            if self.core.is_waited_for(token) {
                return permit.accept(token, delayed, &self.commits);
            }
            self.core.on_dropped(token, self.now());
        }
    }

    /// Does what can be done without waiting: confirms that have come, and
    /// deliveries that are there; says whether it took all of them. Under load this
    /// is all that a round consists of, and it costs half of what looking at
    /// everything would. What the deliveries caused is sent together, when confirms
    /// are next waited for.
    async fn take_what_is_there(&mut self) -> Result<bool> {
        let begun = self.context.clock.read();
        let mut now = begun;
        self.take_confirms(now)?;
        for _ in 0..IN_A_ROW {
            if !self.core.has_call() {
                if !self.core.has_room() {
                    return Ok(true);
                }
                match self.inbox.next().now_or_never() {
                    None | Some(Ok(Received::Overfull)) => return Ok(true),
                    Some(received) => self.on_received(received?, now),
                }
            }
            if let Some(job) = self.core.next_call() {
                now = self.call(job, now).await;
            }
            self.perform();
            if now.instant - begun.instant > ROUND {
                // What has come meanwhile, or nothing else is ever looked at; and what is settled by
                // it need not wait for many others.
                self.take_confirms(now)?;
                self.inbox.flush();
                break;
            }
        }
        Ok(false)
    }

    fn take_confirms(&mut self, now: Now) -> Result<()> {
        while let Some(completed) = self.outbox.completed().now_or_never() {
            self.on_completed(completed?, now);
            self.perform();
        }
        Ok(())
    }

    fn on_received(&mut self, received: Received<I::Receipt>, now: Now) {
        match received {
            Received::Delivery(delivery) => self.on_delivery(delivery, now),
            Received::Exhausted => self.core.on_exhausted(),
            // It is asked about in every round.
            Received::Overfull => {}
        }
    }

    fn on_delivery(&mut self, delivery: Delivery<I::Receipt>, now: Now) {
        let Some(traces) = &mut self.traces else {
            self.core.on_delivery(delivery, now);
            return;
        };
        let begun = traces.begin(&delivery.message, now.wall);
        let number = self.core.on_delivery(delivery, now);
        traces.on_delivery(number, begun, now.wall);
    }

    /// Gives an event to the plugin; returns the time after it.
    async fn call(&mut self, job: Job, begun: Now) -> Now {
        if let Some(traces) = &mut self.traces {
            traces.on_call(&job, begun.wall);
        }
        self.context.stats.set_call(Some(begun.instant));
        let answered = self.workers.route(job).await;
        self.context.stats.set_call(None);
        let now = self.context.clock.read();
        if let Some(done) = answered {
            self.on_done(done, now);
        }
        now
    }

    fn give_up(&mut self, delivery: usize) {
        for token in tokens_of(delivery) {
            while let Some(outgoing) = self.outbox.abandon(token) {
                self.core.on_not_confirmed(token, outgoing, self.context.clock.read());
            }
        }
    }

    fn on_version(&mut self) {
        self.version = self.context.current.borrow_and_update().clone();
        self.core.on_version(self.version.terms(&self.context.output_exchange));
    }

    /// Does what the core says.
    fn perform(&mut self) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Publish { token, mut outgoing, resent } => {
                    if let Some(traces) = &mut self.traces {
                        traces.on_publish(token, &mut outgoing, &self.context.clock);
                    }
                    if let (Outgoing::Dead(letter), false) = (&outgoing, resent) {
                        log(letter, self.core.about(token), self.context.queue.as_deref());
                    }
                    self.outbox.send(token, outgoing);
                }
                Effect::Store { token, mut delayed } => {
                    if let Some(traces) = &mut self.traces {
                        traces.on_store(token, &mut delayed, &self.context.clock);
                    }
                    self.to_store.push_back((token, delayed));
                }
                Effect::Settle { receipt, delivery, outcome } => {
                    if let Some(traces) = &mut self.traces {
                        traces.on_settled(delivery, outcome, &self.context.clock);
                    }
                    self.inbox.settle(receipt);
                }
                Effect::GiveUp { delivery } => self.give_up(delivery),
                Effect::Widen => self.inbox.widen(),
                Effect::Swap { old } => {
                    let (plugin, new) = (self.version.plugin.name(), self.version.plugin.label());
                    info!(plugin, old, new, "plugin replaced");
                    self.workers =
                        Workers::of(&self.version, &self.context.clock, &self.context.stats);
                }
            }
        }
    }
}

/// The next delivery, if it is wanted; what else there is to say, in any case.
async fn next<I: Inbox>(inbox: &mut I, wanted: bool) -> Result<Received<I::Receipt>> {
    match wanted {
        true => inbox.next().await,
        false => inbox.filled().await.map(|()| Received::Overfull),
    }
}

/// Tells of a dead letter, with what it can be found by: `uuid` is the person or unit of its event,
/// `queue` is where that came from.
fn log(letter: &DeadLetter, uuid: Option<Uuid>, queue: Option<&str>) {
    let DeadLetter { plugin, version, attempts, kind, message, reason, .. } = letter;
    let uuid = uuid.map(display);
    let message_id = Some(message.id()).filter(|id| !id.is_empty());
    let routing_key = &message.routing_key;
    let queue = queue.filter(|_| *kind == DeadKind::Event);
    warn!(plugin, version, uuid, message_id, routing_key, queue, attempts, "dead letter: {reason}");
}
