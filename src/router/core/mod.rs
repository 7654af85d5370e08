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
mod deliveries;
mod effect;
mod ending;
mod hold;
mod in_flight;
mod messages;
mod room;
#[cfg(test)]
pub mod sample;
mod show;
mod terms;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;
use uuid::Uuid;

use super::breaker::{Breaker, TRIAL};
use super::failures::{Failures, identity};
use super::planned::Planned;
use super::stats::{DeadCause, RetryCause, Stats};
use super::watch::{Decided, Subject};
use crate::agenda::Agenda;
use crate::backoff::Jitter;
use crate::clock::Now;
use crate::event::{Failure, Incoming, Outgoing, Rejected};
use crate::transport::Delivery;

use self::admit::{Admission, admit};
use self::decide::{Verdict, decide};
use self::deliveries::{Deliveries, Finished};
use self::effect::Token;
use self::turns::Turns;

pub use admit::Intake;
pub use decide::Answer;
pub use effect::{Effect, End, Job, delivery_of};
pub use in_flight::{InFlight, Limit};
pub use messages::tokens_of;
pub use terms::Terms;

/// What is known of a plugin and outlives its cores.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Whether it gets events.
    pub breaker: Breaker,
    /// The events that it has failed on.
    pub failures: Failures,
    /// Since when the oldest delivery has been in flight that a session gave up, if nothing has been
    /// settled since.
    pub stuck_since: Option<Instant>,
}

impl Record {
    /// A new version, or a person who says that it works again: what was before does not count.
    pub fn start_anew(&mut self) {
        self.breaker.start_anew();
        self.failures.start_anew();
    }
}

/// See the module's documentation. `R` is what settles a delivery.
pub struct Core<R> {
    terms: Terms,
    /// A version that waits until all calls are answered.
    next_terms: Option<Terms>,
    intake: Intake,
    limit: Limit,
    breaker: Breaker,
    failures: Failures,
    stats: Arc<Stats>,
    jitter: Jitter,
    deliveries: Deliveries<R>,
    /// Events that have not been looked at for whose turn it is.
    arrived: VecDeque<Job>,
    /// Events whose turn it is.
    ready: VecDeque<Job>,
    turns: Turns<Job>,
    /// Events to be given to the plugin again.
    retries: Agenda<Instant, Job>,
    /// Calls that are not answered.
    calls: usize,
    /// Events on trial while the breaker is half-open.
    on_trial: usize,
    in_flight: InFlight,
    /// Deliveries that may be in flight beyond the limit.
    beyond: usize,
    /// Messages that the broker nacked, to be sent again.
    resends: Agenda<Instant, (Token, Outgoing)>,
    effects: VecDeque<Effect<R>>,
    /// When to look for deliveries that are held too long.
    look_at: Option<Instant>,
    /// Since when nothing has been settled that an earlier core held too long.
    stuck_since: Option<Instant>,
    /// There is no more input.
    exhausted: bool,
    end: Option<End>,
    /// When it ends, whatever is in flight.
    end_by: Option<Instant>,
    /// That time has come.
    is_late: bool,
}

impl<R> Core<R> {
    /// A core that has taken nothing yet.
    pub fn new(
        terms: Terms,
        intake: Intake,
        limit: Limit,
        record: Record,
        stats: Arc<Stats>,
        jitter: Jitter,
    ) -> Self {
        let Record { mut breaker, failures, stuck_since } = record;
        breaker.on_session();
        Self {
            terms,
            next_terms: None,
            intake,
            limit,
            breaker,
            failures,
            stats,
            jitter,
            deliveries: Deliveries::default(),
            arrived: VecDeque::new(),
            ready: VecDeque::new(),
            turns: Turns::default(),
            retries: Agenda::default(),
            calls: 0,
            on_trial: 0,
            in_flight: InFlight::default(),
            beyond: 0,
            resends: Agenda::default(),
            effects: VecDeque::new(),
            look_at: None,
            stuck_since,
            exhausted: false,
            end: None,
            end_by: None,
            is_late: false,
        }
    }

    /// A delivery came. Gives the number that what is said of it bears, until it is settled.
    pub fn on_delivery(&mut self, delivery: Delivery<R>, now: Now) -> usize {
        let (attempt, fresh) = self.attempt(&delivery.message);
        self.take(delivery, attempt, fresh, now)
    }

    /// A delivery came, of an event that is at this attempt: for tests of what a plugin does at
    /// the second, or at the last.
    pub fn on_delivery_at(&mut self, delivery: Delivery<R>, attempt: u32, now: Now) -> usize {
        self.take(delivery, attempt, attempt <= 1, now)
    }

    fn take(&mut self, delivery: Delivery<R>, attempt: u32, fresh: bool, now: Now) -> usize {
        let Delivery { message, receipt } = delivery;
        self.stats.received();
        // What an earlier core gave back has gone elsewhere by now.
        if self.in_flight.deliveries == 0 && !self.stats.is_given_back(now.instant) {
            self.flows_again();
        }
        let bytes = message.size();
        self.in_flight.add_delivery(bytes);
        self.show_held();
        let key = self.deliveries.insert(receipt, bytes, now.instant);
        self.watch(now.instant);
        match admit(message, &self.terms, self.intake) {
            Admission::Event(event) => {
                self.deliveries.note_uuid(key, event.uuid);
                self.arrived.push_back(Job { event, attempt, fresh, key });
            }
            Admission::Dead(Rejected { message, reason }) => {
                let plugin = &self.terms.author.plugin;
                let subject = || Subject::Event((*message).clone());
                let routing_key = &message.routing_key;
                let watch = self.stats.watch();
                if let Some(seen) = watch.look(plugin, routing_key, None, now.wall, subject) {
                    seen.tell(&self.terms.author, attempt, Decided::Dead, Some(&reason), &[]);
                }
                self.bury(key, (*message).into(), 1, DeadCause::Unreadable, reason, now);
            }
            Admission::NotSubscribed(message) => {
                let (plugin, routing_key) = (&self.terms.author.plugin, message.routing_key);
                debug!(plugin, routing_key, "not subscribed to");
                self.stats.routed(0);
                self.finish(key, now.instant);
            }
        }
        key
    }

    /// The person or unit of the event that caused the message with this token; none if what was
    /// delivered is no event.
    pub fn about(&self, token: u64) -> Option<Uuid> {
        self.deliveries.uuid(delivery_of(token))
    }

    /// Which attempt it is to route this event, and whether it is not known that earlier
    /// ones failed. One that was delivered before and whose attempts nobody remembers may
    /// have had as many as it had deliveries; but it gets two more, if that many are
    /// allowed, since a lost connection is no fault of an event.
    fn attempt(&self, message: &Incoming) -> (u32, bool) {
        if message.deliveries == 0 {
            return (1, true);
        }
        match self.failures.attempts(identity(message)) {
            Some(attempts) => (attempts + 1, false),
            None => {
                let last_but_one = self.terms.attempts.saturating_sub(1).max(1);
                ((message.deliveries + 1).min(last_but_one), true)
            }
        }
    }

    /// The next event to give to the plugin. Its answer goes to [`Core::on_answer`],
    /// or it is never settled.
    pub fn next_call(&mut self) -> Option<Job> {
        if !self.has_call() {
            return None;
        }
        let job = self.next_ready()?;
        if self.terms.parallel {
            self.turns.hold(job.event.uuid);
        }
        if self.breaker.is_half_open() && self.deliveries.put_on_trial(job.key) {
            self.on_trial += 1;
        }
        self.calls += 1;
        Some(job)
    }

    /// The next event whose turn it is.
    fn next_ready(&mut self) -> Option<Job> {
        if self.is_trial_full() {
            return self.ready.remove(self.ready_on_trial()?);
        }
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

    /// Whether the plugin, which has to show that it works again, has enough to do so.
    fn is_trial_full(&self) -> bool {
        self.on_trial >= TRIAL && self.breaker.is_half_open()
    }

    fn ready_on_trial(&self) -> Option<usize> {
        self.ready.iter().position(|job| self.deliveries.is_on_trial(job.key))
    }

    /// The plugin answered a call.
    pub fn on_answer(&mut self, job: Job, answer: Answer, now: Now) {
        let Job { event, attempt, fresh, key } = job;
        let uuid = event.uuid;
        self.calls -= 1;
        // Before the answer is judged: the failure that opens the breaker is not the
        // event's fault.
        match &answer {
            Ok(_) | Err(Failure::Reject(_)) => {
                if self.breaker.on_success() {
                    self.recovered();
                }
            }
            Err(Failure::Retry(reason) | Failure::Broken(reason, _)) => {
                self.stats.failed(reason);
                // What it is known to fail on says nothing new of the plugin.
                let opens =
                    fresh && self.breaker.on_failure(uuid, self.terms.suspend_after, reason);
                if opens {
                    self.suspend(now.instant);
                }
            }
        }
        if !fresh {
            self.failures.forget(identity(&event.message));
        }
        let counts = !self.breaker.is_open();
        let (dead, retry) = (dead_cause(&answer), answer.as_ref().err().map(RetryCause::of));
        let plugin = &self.terms.author.plugin;
        let (message, watch) = (&event.message, self.stats.watch());
        let subject = || Subject::Event(message.clone());
        let seen = watch.look(plugin, &message.routing_key, Some(uuid), now.wall, subject);
        let failure = seen.as_ref().and(answer.as_ref().err()).map(show::words);
        let verdict = decide(&self.terms, event, attempt, counts, answer, now.wall);
        if let Some(seen) = seen {
            show::tell(seen, &self.terms, attempt, &verdict, failure.as_deref());
        }
        match verdict {
            Verdict::Send(planned) => self.send(key, planned, now.instant),
            Verdict::Dead(Rejected { message, reason }) => {
                self.bury(key, (*message).into(), attempt, dead, reason, now);
            }
            Verdict::Retry(event) => {
                if let Some(cause) = retry {
                    self.stats.measures().retries.add(cause);
                }
                // Those of its uuid wait behind it.
                self.turns.hold(uuid);
                let failed = attempt - u32::from(!counts);
                self.failures.note(identity(&event.message), failed);
                let pause = self.breaker.retries().pause(attempt, &mut self.jitter);
                let (attempt, fresh) = (failed + 1, false);
                self.retries.put(now.instant + pause, Job { event, attempt, fresh, key });
                return self.try_swap();
            }
        }
        self.ready.extend(self.turns.pass(uuid));
        self.try_swap();
    }

    /// A call was not begun, since the core goes over to another version, which is given the
    /// event then, or ends.
    pub fn on_not_begun(&mut self, job: Job) {
        self.calls -= 1;
        self.ready.push_back(job);
        self.try_swap();
    }

    /// Nothing is missing of a delivery, which caused nothing.
    fn finish(&mut self, key: usize, now: Instant) {
        let finished = self.deliveries.finish(key);
        self.on_finished(key, finished, now);
    }

    fn on_finished(&mut self, key: usize, finished: Finished<R>, now: Instant) {
        let Finished { receipt, bytes, outcome, since, on_trial } = finished;
        self.in_flight.bytes -= bytes;
        self.on_trial -= usize::from(on_trial);
        if let Some(receipt) = receipt {
            self.in_flight.deliveries -= 1;
            self.left_room();
            self.stats.settled(outcome, now.saturating_duration_since(since));
            self.flows_again();
            self.show_held();
            if self.breaker.on_settled() {
                self.recovered();
            }
            self.effects.push_back(Effect::Settle { receipt, delivery: key, outcome });
        }
    }

    fn show_held(&self) {
        self.stats.set_held(self.in_flight.deliveries, self.in_flight.bytes);
    }

    /// It is the time that [`Core::wake_at`] asked for, or later.
    pub fn on_time(&mut self, now: Instant) {
        while let Some((_, job)) = self.retries.take_due(now) {
            self.ready.push_back(job);
        }
        self.resend(now);
        self.end_if_overdue(now);
        self.is_late |= self.end_by.is_some_and(|time| time <= now);
    }

    /// When [`Core::on_time`] is to be called; none if nothing waits for a time.
    pub fn wake_at(&self) -> Option<Instant> {
        [self.retries.next_at(), self.resends.next_at(), self.look_at, self.end_by]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do, before anything else is told or asked.
    pub fn next_effect(&mut self) -> Option<Effect<R>> {
        self.effects.pop_front()
    }

    /// Whether events are given to the plugin. If not, calls that have not begun need not.
    pub fn is_routing(&self) -> bool {
        self.end.is_none() && self.next_terms.is_none()
    }

    /// Whether calls are in flight.
    pub fn is_calling(&self) -> bool {
        self.calls > 0
    }

    /// Whether an event can be given to the plugin now.
    pub fn has_call(&self) -> bool {
        self.is_routing()
            && match self.is_trial_full() {
                false => !(self.ready.is_empty() && self.arrived.is_empty()),
                true => self.ready_on_trial().is_some(),
            }
    }

    /// What is in flight.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    /// The plugin whose events these are, in the version that routes them.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What is known of the plugin, for the next core.
    pub fn take_record(&mut self) -> Record {
        // Those that are not settled, and those that never will be.
        self.stats.returned_to_queue(self.in_flight.deliveries);
        self.stats.set_held(0, 0);
        let stuck_since = self.take_stuck();
        Record {
            breaker: std::mem::take(&mut self.breaker),
            failures: std::mem::take(&mut self.failures),
            stuck_since,
        }
    }
}

/// Why what the plugin answered so is a dead letter, if it becomes one.
fn dead_cause(answer: &Answer) -> DeadCause {
    match answer {
        Ok(_) => DeadCause::InvalidAnswer,
        Err(Failure::Reject(_)) => DeadCause::Rejected,
        Err(Failure::Retry(_) | Failure::Broken(..)) => DeadCause::Attempts,
    }
}
