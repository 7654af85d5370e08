//! The rules of an event's life, without I/O and without a clock.
//!
//! [`Core`] is the state machine of one plugin's events. A driver tells it what has
//! happened (a delivery, an answer, the fate of a message, …) and what the time is; it
//! says what to do: which event the plugin is to be called with ([`Core::next_call`]),
//! what else is to be done ([`Core::next_effect`]), when to wake it
//! ([`Core::wake_at`]), and when all is done ([`Core::ended`]). There are three
//! drivers: the [session](super::Session), the [replay](crate::replay) and, through the
//! session, the simulation of the tests.
//!
//! The life of an event reads from top to bottom: [`Core::on_delivery`] admits it,
//! [`Core::next_call`] gives it to the plugin when it is its turn, [`Core::on_answer`]
//! turns the answer into messages, [`Core::on_completed`] and [`Core::on_committed`]
//! count what is done, and with the last of them the delivery is settled. Nothing
//! returns early in between: what fails becomes a retry or a dead letter.

mod admit;
pub mod answer;
mod decide;
mod in_flight;
mod terms;
mod turns;
mod unsettled;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tracing::debug;

use super::breaker::Breaker;
use super::stats::Stats;
use crate::agenda::Agenda;
use crate::backoff::{Backoff, Jitter, Policy};
use crate::clock::Now;
use crate::event::{DeadKind, DeadLetter, Delayed, Event, Failure, Message, Outgoing, Rejected};
use crate::transport::{Completed, Delivery, NextStep};

use self::admit::{Admission, admit};
use self::answer::Planned;
use self::decide::{Verdict, decide};
use self::turns::Turns;
use self::unsettled::Unsettled;

pub use admit::Intake;
pub use decide::Answer;
pub use in_flight::{InFlight, Limit};
pub use terms::Terms;

/// The pauses before a message that the broker nacked is sent again.
const RESENDS: Policy =
    Policy::new(std::time::Duration::from_millis(100), std::time::Duration::from_secs(10));

/// An event on its way through the plugin. `R` is what settles its delivery.
#[derive(Debug)]
pub struct Job<R> {
    /// The event.
    pub event: Event,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    receipt: R,
    /// Of the delivery.
    bytes: usize,
}

/// Something that the driver has to do.
#[derive(Debug)]
pub enum Effect<R> {
    /// Send a message; its fate comes back with the token.
    Publish {
        /// Tells whose message it is.
        token: u64,
        /// The message.
        outgoing: Outgoing,
        /// Whether it was sent before, and nacked.
        resent: bool,
    },
    /// Hand a message to the delay store; when it is committed, the token comes back.
    Store {
        /// Tells whose message it is.
        token: u64,
        /// The message.
        delayed: Delayed,
    },
    /// Settle a delivery.
    Settle(R),
    /// Route with the newest version from now on. No call is in flight.
    Swap {
        /// The version before it.
        old: String,
    },
}

/// How a core ends in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop, or there is no more input.
    Stopped,
    /// The plugin fails on event after event: its breaker opened.
    Suspended,
    /// The breaker, half-open, has closed.
    Recovered,
}

/// See the module's documentation.
pub struct Core<R> {
    terms: Terms,
    /// A version that waits until all calls are answered.
    next_terms: Option<Terms>,
    intake: Intake,
    limit: Limit,
    breaker: Breaker,
    stats: Arc<Stats>,
    jitter: Jitter,
    /// Deliveries that have not been looked at for whose turn it is.
    arrived: VecDeque<Job<R>>,
    /// Events whose turn it is.
    ready: VecDeque<Job<R>>,
    turns: Turns<Job<R>>,
    /// Events to be given to the plugin again.
    retries: Agenda<Instant, Job<R>>,
    /// Calls that are not answered.
    calls: usize,
    unsettled: Unsettled<R>,
    in_flight: InFlight,
    /// Messages that the broker nacked, to be sent again.
    resends: Agenda<Instant, (u64, Outgoing)>,
    resend_pauses: Backoff,
    effects: VecDeque<Effect<R>>,
    /// There is no more input.
    exhausted: bool,
    end: Option<End>,
}

impl<R> Core<R> {
    /// A core that has taken nothing yet.
    pub fn new(
        terms: Terms,
        intake: Intake,
        limit: Limit,
        mut breaker: Breaker,
        stats: Arc<Stats>,
        jitter: Jitter,
    ) -> Self {
        breaker.on_session();
        Self {
            terms,
            next_terms: None,
            intake,
            limit,
            breaker,
            stats,
            jitter,
            arrived: VecDeque::new(),
            ready: VecDeque::new(),
            turns: Turns::default(),
            retries: Agenda::default(),
            calls: 0,
            unsettled: Unsettled::default(),
            in_flight: InFlight::default(),
            resends: Agenda::default(),
            resend_pauses: Backoff::new(RESENDS),
            effects: VecDeque::new(),
            exhausted: false,
            end: None,
        }
    }

    /// A delivery came.
    pub fn on_delivery(&mut self, delivery: Delivery<R>, now: Now) {
        let Delivery { message, receipt } = delivery;
        self.stats.received();
        let bytes = message.size();
        self.in_flight.add_delivery(bytes);
        match admit(message, &self.terms, self.intake) {
            Admission::Event(event) => {
                self.arrived.push_back(Job { event, attempt: 1, receipt, bytes });
            }
            Admission::Dead(Rejected { message, reason }) => {
                self.bury((*message).into(), 1, receipt, bytes, reason, now);
            }
            Admission::NotSubscribed(message) => {
                let (plugin, routing_key) = (&self.terms.author.plugin, message.routing_key);
                debug!(plugin, routing_key, "not subscribed to");
                self.stats.routed(0);
                self.settle(receipt, bytes);
            }
        }
    }

    /// The next event to give to the plugin. Its answer goes to [`Core::on_answer`],
    /// or it is never settled.
    pub fn next_call(&mut self) -> Option<Job<R>> {
        if !self.is_routing() {
            return None;
        }
        let job = self.next_ready()?;
        if self.terms.parallel {
            self.turns.hold(job.event.uuid);
        }
        self.calls += 1;
        Some(job)
    }

    /// The next event whose turn it is.
    fn next_ready(&mut self) -> Option<Job<R>> {
        if let Some(job) = self.ready.pop_front() {
            return Some(job);
        }
        loop {
            let job = self.arrived.pop_front()?;
            if let Some(job) = self.turns.take(job.event.uuid, job) {
                return Some(job);
            }
        }
    }

    /// The plugin answered a call.
    pub fn on_answer(&mut self, job: Job<R>, answer: Answer, now: Now) {
        let Job { event, attempt, receipt, bytes } = job;
        let uuid = event.uuid;
        self.calls -= 1;
        // Before the answer is judged: the failure that opens the breaker is not the
        // event's fault.
        match &answer {
            Ok(_) | Err(Failure::Reject(_)) => {
                if self.breaker.on_success() {
                    self.set_end(End::Recovered);
                }
            }
            Err(Failure::Retry(reason) | Failure::Broken(reason)) => {
                self.stats.failed(reason);
                if self.end.is_none() && self.breaker.on_failure(uuid, self.terms.suspend_after) {
                    self.set_end(End::Suspended);
                }
            }
        }
        let counts = self.counts_attempts();
        match decide(&self.terms, event, attempt, counts, answer, now.wall) {
            Verdict::Send(planned) => self.send(receipt, bytes, planned),
            Verdict::Dead(Rejected { message, reason }) => {
                self.bury((*message).into(), attempt, receipt, bytes, reason, now);
            }
            Verdict::Retry(event) => {
                // Those of its uuid wait behind it.
                self.turns.hold(uuid);
                let pause = self.breaker.retries().pause(attempt, &mut self.jitter);
                let job = Job { event, attempt: attempt + 1, receipt, bytes };
                self.retries.put(now.instant + pause, job);
                return self.try_swap();
            }
        }
        self.ready.extend(self.turns.pass(uuid));
        self.try_swap();
    }

    /// Whether a failure may be its event's fault. What was called before the breaker
    /// opened or closed is not judged by what it is since.
    fn counts_attempts(&self) -> bool {
        let changed = matches!(self.end, Some(End::Suspended | End::Recovered));
        self.breaker.is_closed() && !changed
    }

    /// Sends what the plugin answered.
    fn send(&mut self, receipt: R, bytes: usize, planned: Vec<Planned>) {
        self.stats.routed(planned.len());
        if planned.is_empty() {
            return self.settle(receipt, bytes);
        }
        let caused: usize = planned.iter().map(|planned| planned.message().size()).sum();
        self.in_flight.bytes += caused;
        let token = self.unsettled.insert(receipt, planned.len(), bytes + caused);
        for planned in planned {
            match planned {
                Planned::Now(message) => self.publish(token, Outgoing::Message(message), false),
                Planned::Later(delayed) => {
                    self.stats.delayed();
                    self.effects.push_back(Effect::Store { token, delayed });
                }
            }
        }
    }

    fn publish(&mut self, token: u64, outgoing: Outgoing, resent: bool) {
        self.in_flight.publications += 1;
        self.effects.push_back(Effect::Publish { token, outgoing, resent });
    }

    /// Makes a dead letter of an event.
    fn bury(
        &mut self,
        event: Message,
        attempts: u32,
        receipt: R,
        bytes: usize,
        reason: String,
        now: Now,
    ) {
        let token = self.unsettled.insert(receipt, 1, bytes);
        self.publish_dead(token, DeadKind::Event, event, attempts, reason, now);
    }

    fn publish_dead(
        &mut self,
        token: u64,
        kind: DeadKind,
        message: Message,
        attempts: u32,
        reason: String,
        now: Now,
    ) {
        self.stats.dead(&reason);
        let origin = self.terms.author.origin();
        let letter = DeadLetter::new(kind, origin, message, attempts, reason, now.wall);
        self.publish(token, Outgoing::Dead(letter.into()), false);
    }

    /// The fate of a message is known.
    ///
    /// # Errors
    /// Dead letters cannot be delivered: the driver has to start anew, and everything
    /// unsettled is redelivered.
    pub fn on_completed(&mut self, completed: Completed, now: Now) -> Result<()> {
        let token = completed.token;
        self.in_flight.publications -= 1;
        match completed.next_step()? {
            NextStep::Done => {
                self.resend_pauses.reset();
                self.on_done(token);
            }
            NextStep::Bury { message, reason } => {
                self.publish_dead(token, DeadKind::Publication, message, 1, reason, now);
            }
            NextStep::Resend { outgoing, reason } => {
                let plugin = &self.terms.author.plugin;
                debug!(plugin, "message nacked, to be sent again: {reason}");
                self.stats.failed(&reason);
                let pause = self.resend_pauses.next_pause_with(&mut self.jitter);
                self.resends.put(now.instant + pause, (token, outgoing));
                self.give_up_resends();
            }
        }
        Ok(())
    }

    /// A delayed message is committed to the store.
    pub fn on_committed(&mut self, token: u64) {
        self.on_done(token);
    }

    /// One message of a delivery is confirmed or committed; after the last one the
    /// delivery is settled.
    fn on_done(&mut self, token: u64) {
        if let Some((receipt, bytes)) = self.unsettled.message_done(token) {
            self.settle(receipt, bytes);
        }
    }

    /// `bytes` are those of the delivery and of all that it caused.
    fn settle(&mut self, receipt: R, bytes: usize) {
        self.in_flight.remove_delivery(bytes);
        self.effects.push_back(Effect::Settle(receipt));
        self.end_if_exhausted();
    }

    /// There is a new version of the plugin. Events go to it as soon as the calls of
    /// the old one are answered.
    pub fn on_version(&mut self, terms: Terms) {
        self.next_terms = Some(terms);
        self.try_swap();
    }

    /// From here on events go to the new version. Those that the old one failed on go
    /// to it at once.
    fn try_swap(&mut self) {
        if self.calls > 0 {
            return;
        }
        let Some(terms) = self.next_terms.take() else { return };
        self.ready.extend(self.retries.take_all());
        if self.breaker.close() {
            self.set_end(End::Recovered);
        }
        let old = std::mem::replace(&mut self.terms, terms).author.version;
        self.effects.push_back(Effect::Swap { old });
    }

    /// There will be no more deliveries.
    pub fn on_exhausted(&mut self) {
        self.exhausted = true;
        self.end_if_exhausted();
    }

    fn end_if_exhausted(&mut self) {
        if self.exhausted && self.in_flight.deliveries == 0 && self.end.is_none() {
            self.set_end(End::Stopped);
        }
    }

    /// Nothing more is taken; what is in flight is finished.
    pub fn on_stop(&mut self) {
        if self.end.is_none() {
            self.set_end(End::Stopped);
        }
    }

    fn set_end(&mut self, end: End) {
        self.end = Some(end);
        self.give_up_resends();
    }

    /// A core that ends does not wait for a broker that nacks messages, which can be
    /// for ever: the events that caused them are redelivered.
    fn give_up_resends(&mut self) {
        if self.end.is_some() {
            for (token, _) in self.resends.take_all() {
                self.unsettled.give_up(token);
            }
        }
    }

    /// It is the time that [`Core::wake_at`] asked for, or later.
    pub fn on_time(&mut self, now: Instant) {
        while let Some((_, job)) = self.retries.take_due(now) {
            self.ready.push_back(job);
        }
        while let Some((_, (token, outgoing))) = self.resends.take_due(now) {
            self.publish(token, outgoing, true);
        }
    }

    /// When [`Core::on_time`] is to be called; none if nothing waits for a time.
    pub fn wake_at(&self) -> Option<Instant> {
        [self.retries.next_at(), self.resends.next_at()].into_iter().flatten().min()
    }

    /// The next thing to do, before anything else is told or asked.
    pub fn next_effect(&mut self) -> Option<Effect<R>> {
        self.effects.pop_front()
    }

    /// Whether there is room for another delivery.
    pub fn has_room(&self) -> bool {
        self.is_routing() && !self.exhausted && self.in_flight.is_below(self.limit)
    }

    /// Whether events are given to the plugin.
    fn is_routing(&self) -> bool {
        self.end.is_none() && self.next_terms.is_none()
    }

    /// Whether calls are in flight.
    pub fn is_calling(&self) -> bool {
        self.calls > 0
    }

    /// Whether an event can be given to the plugin now.
    pub fn has_call(&self) -> bool {
        self.is_routing() && !(self.ready.is_empty() && self.arrived.is_empty())
    }

    /// What is in flight.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    /// The plugin whose events these are, in the version that routes them.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The plugin's circuit breaker, which outlives the core.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Whether it is told to end, and why.
    pub fn ending(&self) -> Option<End> {
        self.end
    }

    /// How it ended, once nothing is in flight that is to be finished. What is
    /// unsettled then is redelivered.
    pub fn ended(&self) -> Option<End> {
        let finished = self.unsettled.is_empty() && self.calls == 0 && self.effects.is_empty();
        self.end.filter(|_| finished && self.next_terms.is_none())
    }
}
