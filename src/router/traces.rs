//! A plugin's events as spans: what the session does, told to a [`Tracer`].
//!
//! An event that is recorded from the start gets its spans as they end, and what it causes carries
//! their names in its headers. Of any other event no more is kept than what its spans are made of if
//! it fails after all; then they are made at once, and it is recorded from there on.

mod journey;

use std::sync::Arc;

use self::journey::{Call, Journey, Message};
use super::core::{Answer, Job, delivery_of};
use super::stats::{Outcome, RetryCause};
use crate::clock::Clock;
use crate::event::{Datetime, Delayed, Failure, Incoming, Outgoing};
use crate::measure::Label;
use crate::telemetry::{Ids, Parent, SpanContext, Tracer, failure};
use crate::transport::Completed;

/// The most spans of messages whose fate is not known: of all, and of one event. Those beyond are not
/// recorded; their messages belong to the event's own span.
const MOST: usize = 4096;
const MOST_OF_ONE: usize = 256;

/// The events of one session.
pub(super) struct Traces {
    tracer: Tracer,
    ids: Ids,
    plugin: String,
    /// The version that answered last.
    version: Arc<str>,
    /// The exchange that an event came through last.
    exchange: Arc<str>,
    /// By the number of the delivery, so as many as were ever in flight.
    events: Vec<Option<Journey>>,
    /// Spans of messages whose fate is not known.
    in_flight: usize,
}

impl Traces {
    pub fn new(tracer: Tracer, plugin: &str) -> Self {
        Self {
            tracer,
            ids: Ids::random(),
            plugin: plugin.to_owned(),
            version: Arc::default(),
            exchange: Arc::default(),
            events: Vec::new(),
            in_flight: 0,
        }
    }

    /// A delivery is about to be told to the core.
    pub fn begin(&mut self, message: &Incoming, now: Datetime) -> Journey {
        let parent = Parent::of(&message.properties);
        let trace_id =
            parent.as_ref().map_or_else(|| self.ids.trace(), |parent| parent.context.trace_id);
        let sampled = self.tracer.records(parent.as_ref(), trace_id);
        if *self.exchange != *message.exchange {
            self.exchange = message.exchange.as_str().into();
        }
        Journey {
            context: SpanContext { trace_id, span_id: self.ids.span(), sampled },
            parent,
            exchange: Arc::clone(&self.exchange),
            routing_key: message.routing_key.as_str().into(),
            message_id: message.properties.message_id.as_deref().map(Into::into),
            size: message.body.len(),
            uuid: None,
            begun: now,
            attempts: 0,
            called: now,
            answered: now,
            call: None,
            dead: None,
            messages: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// It has this number until it is settled.
    pub fn on_delivery(&mut self, number: usize, journey: Journey, now: Datetime) {
        if number >= self.events.len() {
            self.events.resize_with(number + 1, || None);
        }
        if let Some(before) = self.events[number].replace(journey) {
            self.return_to_queue(before, now);
        }
    }

    /// The plugin is called.
    pub fn on_call(&mut self, job: &Job, now: Datetime) {
        if let Some(journey) = journey(&mut self.events, job.delivery()) {
            journey.uuid = Some(job.event.uuid);
            journey.attempts = job.attempt;
            journey.called = now;
        }
    }

    /// The plugin, of this version, has answered.
    pub fn on_answer(&mut self, job: &Job, answer: &Answer, version: &str, now: Datetime) {
        let Some(journey) = journey(&mut self.events, job.delivery()) else { return };
        journey.answered = now;
        if *self.version != *version {
            self.version = version.into();
        }
        let call = Call {
            begun: journey.called,
            ended: now,
            attempt: job.attempt,
            publications: answer.as_ref().map_or(0, Vec::len),
            version: Arc::clone(&self.version),
        };
        match answer {
            Ok(_) if !journey.context.sampled => journey.call = Some(call),
            Ok(_) => {
                let span = journey.call_span(&mut self.ids, &self.plugin, &call);
                journey.end(&self.tracer, span);
            }
            Err(failure) => {
                journey.record(&mut self.ids, &self.plugin);
                let kind = match failure {
                    Failure::Reject(_) => "reject",
                    Failure::Retry(_) | Failure::Broken(..) => RetryCause::of(failure).as_str(),
                };
                let span = journey.call_span(&mut self.ids, &self.plugin, &call);
                journey.end(&self.tracer, span.failed(kind, failure.reason()));
                // It may be tried again for long.
                journey.hand_on(&self.tracer);
            }
        }
    }

    /// A message is sent. It carries the name of its span.
    pub fn on_publish(&mut self, token: u64, outgoing: &mut Outgoing, clock: &Clock) {
        let Some(journey) = journey(&mut self.events, delivery_of(token)) else { return };
        if let Outgoing::Dead(letter) = outgoing {
            journey.record(&mut self.ids, &self.plugin);
            journey.dead = Some(letter.reason.clone());
        }
        if !journey.context.sampled {
            return;
        }
        let Some(context) = context_of(journey, &mut self.ids, self.in_flight) else {
            journey.context.put(&mut outgoing.message_mut().properties, journey.state());
            return;
        };
        let span = self.tracer.publishing(context, outgoing, clock.now());
        let mut span = span.within(journey.context.span_id);
        // What was given up: the message that failed, or the event.
        if let Outgoing::Dead(letter) = outgoing
            && let Some(before) = SpanContext::of(&letter.message.properties)
        {
            span = span.linked(before);
        }
        if context.put(&mut outgoing.message_mut().properties, journey.state()) {
            self.in_flight += 1;
            journey.messages.push(Message { span, is_stored: false });
        }
    }

    /// A message is handed to the store, with the name of the span that stores it.
    pub fn on_store(&mut self, token: u64, delayed: &mut Delayed, clock: &Clock) {
        let Some(journey) = journey(&mut self.events, delivery_of(token)) else { return };
        if !journey.context.sampled {
            return;
        }
        let Some(context) = context_of(journey, &mut self.ids, self.in_flight) else {
            journey.context.put(&mut delayed.message.properties, journey.state());
            return;
        };
        let span = self.tracer.storing(context, &delayed.message, delayed.due, clock.now());
        let span = span.within(journey.context.span_id).with("mo_router.plugin", &delayed.plugin);
        context.put(&mut delayed.message.properties, journey.state());
        self.in_flight += 1;
        journey.messages.push(Message { span, is_stored: true });
    }

    /// The fate of a message is known.
    pub fn on_completed(&mut self, completed: &Completed, now: Datetime) {
        let number = delivery_of(completed.token);
        let Some(journey) = journey(&mut self.events, number) else { return };
        let failure = failure(&completed.fate);
        if !journey.context.sampled && failure.is_none() {
            return;
        }
        let sent = SpanContext::of(&completed.outgoing.message().properties);
        let sent = sent.map(|context| context.span_id);
        let place = journey.messages.iter().position(|message| Some(message.span.id()) == sent);
        let span = match place {
            Some(place) => {
                self.in_flight -= 1;
                journey.messages.remove(place).span
            }
            // It was not recorded so far.
            None if failure.is_some() => {
                journey.record(&mut self.ids, &self.plugin);
                let context = SpanContext { span_id: self.ids.span(), ..journey.context };
                self.tracer
                    .publishing(context, &completed.outgoing, journey.answered)
                    .within(journey.context.span_id)
            }
            None => return,
        };
        let span = match failure {
            Some((kind, reason)) => span.failed(kind, reason),
            None => span,
        };
        journey.end(&self.tracer, span.ended(now));
    }

    /// The store has committed a message, or refuses it for a reason. Those of one event are
    /// committed in turn.
    pub fn on_committed(&mut self, token: u64, refused: Option<&str>, clock: &Clock) {
        let Some(journey) = journey(&mut self.events, delivery_of(token)) else { return };
        let Some(place) = journey.messages.iter().position(|message| message.is_stored) else {
            return;
        };
        self.in_flight -= 1;
        let span = journey.messages.remove(place).span;
        let span = match refused {
            Some(reason) => span.failed("not_stored", reason),
            None => span,
        };
        journey.end(&self.tracer, span.ended(clock.now()));
    }

    /// The delivery is settled.
    pub fn on_settled(&mut self, number: usize, outcome: Outcome, clock: &Clock) {
        let Some(mut journey) = self.events.get_mut(number).and_then(Option::take) else { return };
        self.in_flight -= journey.messages.len();
        if journey.context.sampled {
            let span = journey.span(&self.tracer, &self.plugin, outcome);
            let span = match &journey.dead {
                Some(reason) => span.failed("dead", reason),
                None => span,
            };
            journey.end(&self.tracer, span.ended(clock.now()));
            journey.hand_on(&self.tracer);
        }
    }

    /// The session ends, and what is not settled is redelivered.
    pub fn on_end(&mut self, now: Datetime) {
        for journey in std::mem::take(&mut self.events).into_iter().flatten() {
            self.return_to_queue(journey, now);
        }
    }

    /// What a lost connection or a stop does to an event is no failure of its own.
    fn return_to_queue(&mut self, mut journey: Journey, now: Datetime) {
        self.in_flight -= journey.messages.len();
        if journey.context.sampled {
            for Message { span, .. } in std::mem::take(&mut journey.messages) {
                let span = span.failed("unknown", "its fate was not known at the end");
                journey.end(&self.tracer, span.ended(now));
            }
            let outcome = Outcome::ReturnedToQueue;
            let span = journey.span(&self.tracer, &self.plugin, outcome);
            let span = span.failed(outcome.as_str(), "it was not settled, and is redelivered");
            journey.end(&self.tracer, span.ended(now));
            journey.hand_on(&self.tracer);
        }
    }
}

fn journey(events: &mut [Option<Journey>], number: usize) -> Option<&mut Journey> {
    events.get_mut(number)?.as_mut()
}

/// What names the span of another message; none if there are too many.
fn context_of(journey: &Journey, ids: &mut Ids, in_flight: usize) -> Option<SpanContext> {
    let has_room = in_flight < MOST && journey.messages.len() < MOST_OF_ONE;
    has_room.then(|| SpanContext { span_id: ids.span(), ..journey.context })
}

#[cfg(test)]
mod tests;
