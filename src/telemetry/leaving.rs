//! Delayed messages that leave, as spans.
//!
//! Months may lie between storing a message and publishing it. So what leaves begins a trace of its
//! own, with a link to the span that stored it: that one is named by the stored message's headers.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;

use super::context::{Parent, SpanContext, TRACEPARENT, TRACESTATE};
use super::span::Span;
use super::tracer::{Ids, Tracer, failure};
use crate::clock::Clock;
use crate::event::{Datetime, Outgoing, Value, headers};
use crate::transport::{Completed, Outbox};

/// An outbox for delayed messages, and a span for each of them.
pub struct Traced<O> {
    outbox: O,
    tracer: Tracer,
    clock: Clock,
    ids: Ids,
    /// By token: those whose fate is not known.
    messages: HashMap<u64, Leaving>,
    /// The one that failed last, and its token: if a dead letter is made of it, that comes next.
    failed: Option<(u64, Leaving)>,
}

/// A message that leaves.
struct Leaving {
    /// Its first span; `sampled` says whether it is recorded.
    context: SpanContext,
    /// The span that stored it.
    stored: Option<SpanContext>,
    /// The headers that name that one, as they are stored.
    headers: [(&'static str, Option<Value>); 2],
    begun: Datetime,
    /// What is on its way, if it is recorded.
    span: Option<Span>,
}

impl<O> Traced<O> {
    /// What leaves through `outbox`.
    pub fn new(outbox: O, tracer: Tracer, clock: Clock) -> Self {
        let (messages, failed) = (HashMap::new(), None);
        Self { outbox, tracer, clock, ids: Ids::random(), messages, failed }
    }

    fn on_send(&mut self, token: u64, outgoing: &mut Outgoing) {
        let now = self.clock.now();
        let (mut message, context) = match self.failed.take_if(|(failed, _)| *failed == token) {
            // A dead letter of it.
            Some((_, message)) => {
                let context = SpanContext { span_id: self.ids.span(), ..message.context };
                (message, context)
            }
            None => {
                let message = self.begin(outgoing, now);
                let context = message.context;
                (message, context)
            }
        };
        if context.sampled {
            message.span = Some(message.span(&self.tracer, context, outgoing, now));
            context.put(&mut outgoing.message_mut().properties, "");
        }
        self.messages.insert(token, message);
    }

    fn begin(&mut self, outgoing: &Outgoing, now: Datetime) -> Leaving {
        let properties = &outgoing.message().properties;
        let parent = Parent::of(properties);
        let trace_id = self.ids.trace();
        let is_dead = matches!(outgoing, Outgoing::Dead(_));
        let sampled = is_dead || self.tracer.records(parent.as_ref(), trace_id);
        let header = |name| (name, properties.headers.get(name).cloned());
        Leaving {
            context: SpanContext { trace_id, span_id: self.ids.span(), sampled },
            stored: parent.map(|parent| parent.context),
            headers: [TRACEPARENT, TRACESTATE].map(header),
            begun: now,
            span: None,
        }
    }

    fn on_completed(&mut self, completed: &mut Completed) {
        let Some(mut message) = self.messages.remove(&completed.token) else { return };
        let now = self.clock.now();
        let Completed { token, outgoing, fate } = completed;
        let Some((kind, reason)) = failure(fate) else {
            if let Some(span) = message.span {
                self.tracer.finish(span.ended(now));
            }
            return;
        };
        let span = message.recorded(&self.tracer, outgoing);
        self.tracer.finish(span.failed(kind, reason).ended(now));
        // What is stored again is as it was.
        message.restore(&mut outgoing.message_mut().properties.headers);
        self.failed = Some((*token, message));
    }

    fn on_abandoned(&mut self, token: u64, outgoing: &mut Outgoing) {
        let Some(mut message) = self.messages.remove(&token) else { return };
        let span = message.recorded(&self.tracer, outgoing);
        let span = span.failed("not_confirmed", "the broker has not confirmed it in time");
        self.tracer.finish(span.ended(self.clock.now()));
        message.restore(&mut outgoing.message_mut().properties.headers);
    }
}

impl Leaving {
    /// The span of the message itself, or of a dead letter of it.
    fn span(
        &self,
        tracer: &Tracer,
        context: SpanContext,
        outgoing: &Outgoing,
        begun: Datetime,
    ) -> Span {
        let span = tracer.publishing(context, outgoing, begun);
        if context.span_id != self.context.span_id {
            return span.within(self.context.span_id).linked(self.context);
        }
        let headers = &outgoing.message().properties.headers;
        let text = |name| headers.get(name).and_then(Value::text).unwrap_or_default();
        let due = text(headers::DUE);
        let span = span
            .with("mo_router.plugin", text(headers::PLUGIN))
            .with("mo_router.plugin.version", text(headers::VERSION))
            .with("mo_router.due", due);
        let span = match due.parse::<Datetime>() {
            Ok(due) => {
                let late = begun.saturating_since(due).as_millis();
                span.with_number("mo_router.lateness_ms", late)
            }
            Err(_) => span,
        };
        self.stored.into_iter().fold(span, Span::linked)
    }

    /// The span of what has failed, which is recorded in any case.
    fn recorded(&mut self, tracer: &Tracer, outgoing: &Outgoing) -> Span {
        self.context.sampled = true;
        let span = self.span.take();
        span.unwrap_or_else(|| self.span(tracer, self.context, outgoing, self.begun))
    }

    fn restore(&self, headers: &mut BTreeMap<String, Value>) {
        for (name, value) in &self.headers {
            match value {
                Some(value) => drop(headers.insert((*name).to_owned(), value.clone())),
                None => drop(headers.remove(*name)),
            }
        }
    }
}

impl<O: Outbox + Send> Outbox for Traced<O> {
    fn send(&mut self, token: u64, mut outgoing: Outgoing) {
        self.on_send(token, &mut outgoing);
        self.outbox.send(token, outgoing);
    }

    fn copy(&mut self, token: u64) -> Option<Outgoing> {
        let mut outgoing = self.outbox.copy(token)?;
        if let Some(message) = self.messages.get(&token) {
            message.restore(&mut outgoing.message_mut().properties.headers);
        }
        Some(outgoing)
    }

    fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        let mut outgoing = self.outbox.abandon(token)?;
        self.on_abandoned(token, &mut outgoing);
        Some(outgoing)
    }

    fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        let mut outgoing = self.outbox.withdraw(token)?;
        self.on_abandoned(token, &mut outgoing);
        Some(outgoing)
    }

    async fn completed(&mut self) -> Result<Completed> {
        // Nothing is waited for after it.
        let mut completed = self.outbox.completed().await?;
        self.on_completed(&mut completed);
        Ok(completed)
    }
}

#[cfg(test)]
mod tests;
