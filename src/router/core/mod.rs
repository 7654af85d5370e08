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
mod effect;
mod ending;
mod in_flight;
mod messages;
mod terms;
mod turns;
mod unsettled;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;

use super::breaker::Breaker;
use super::stats::Stats;
use crate::agenda::Agenda;
use crate::backoff::{Backoff, Jitter, Policy};
use crate::clock::Now;
use crate::event::{Failure, Outgoing, Rejected};
use crate::transport::Delivery;

use self::admit::{Admission, admit};
use self::answer::Planned;
use self::decide::{Verdict, decide};
use self::turns::Turns;
use self::unsettled::Unsettled;

pub use admit::Intake;
pub use decide::Answer;
pub use effect::{Effect, End, Job};
pub use in_flight::{InFlight, Limit};
pub use terms::Terms;

/// The pauses before a message that the broker nacked is sent again.
const RESENDS: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(10));

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
}
