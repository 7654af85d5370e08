//! One event that may be recorded.

use std::sync::Arc;

use uuid::Uuid;

use crate::event::Datetime;
use crate::measure::Label;
use crate::router::stats::Outcome;
use crate::telemetry::{Ids, Kind, Parent, Span, SpanContext, Tracer};

/// How many spans of an event are handed on together, at most.
const TOGETHER: usize = 64;

/// An event, from its delivery to its settlement.
pub struct Journey {
    /// Its own span; `sampled` says whether it is recorded.
    pub context: SpanContext,
    pub parent: Option<Parent>,
    /// Events of a session come through few exchanges.
    pub exchange: Arc<str>,
    pub routing_key: Box<str>,
    pub message_id: Option<Box<str>>,
    pub size: usize,
    pub uuid: Option<Uuid>,
    pub begun: Datetime,
    pub attempts: u32,
    /// When the plugin was last called, and when it answered.
    pub called: Datetime,
    pub answered: Datetime,
    /// A call that went well, of an event that is not recorded.
    pub call: Option<Call>,
    /// Why it is a dead letter, or something that it caused is.
    pub dead: Option<String>,
    /// What it caused, as far as the fate of that is not known.
    pub messages: Vec<Message>,
    /// Spans that have ended, and are handed on together.
    pub ended: Vec<Span>,
}

/// A call of the plugin.
#[derive(Clone)]
pub struct Call {
    pub begun: Datetime,
    pub ended: Datetime,
    pub attempt: u32,
    pub publications: usize,
    pub version: Arc<str>,
}

/// A message that was sent, or handed to the store.
pub struct Message {
    pub span: Span,
    pub is_stored: bool,
}

impl Journey {
    /// What tracing systems have added to the trace.
    pub fn state(&self) -> &str {
        self.parent.as_ref().map_or("", |parent| parent.state.as_str())
    }

    /// It is recorded from now on, with the call that went well before.
    pub fn record(&mut self, ids: &mut Ids, plugin: &str) {
        self.context.sampled = true;
        if let Some(call) = self.call.take() {
            let span = self.call_span(ids, plugin, &call);
            self.ended.push(span);
        }
    }

    /// A span of it has ended, and is handed on with others.
    pub fn end(&mut self, tracer: &Tracer, span: Span) {
        self.ended.push(span);
        if self.ended.len() >= TOGETHER {
            self.hand_on(tracer);
        }
    }

    /// Hands on what has ended.
    pub fn hand_on(&mut self, tracer: &Tracer) {
        tracer.finish_all(self.ended.drain(..));
    }

    pub fn call_span(&self, ids: &mut Ids, plugin: &str, call: &Call) -> Span {
        let context = SpanContext { span_id: ids.span(), ..self.context };
        Span::new(context, Kind::Internal, format_args!("call {plugin}"), call.begun)
            .within(self.context.span_id)
            .with("mo_router.plugin", plugin)
            .with("mo_router.plugin.version", &call.version)
            .with_number("mo_router.attempt", call.attempt)
            .with_number("mo_router.publications", call.publications)
            .ended(call.ended)
    }

    /// The span of the event as a whole.
    pub fn span(&self, tracer: &Tracer, plugin: &str, outcome: Outcome) -> Span {
        let address = (&*self.exchange, &*self.routing_key);
        let mut span = tracer.receiving(self.context, plugin, address, self.begun);
        if let Some(Parent { context, state }) = &self.parent {
            span = span.continuing(context.span_id, state);
        }
        if let Some(uuid) = self.uuid {
            span = span.with("mo_router.uuid", uuid);
        }
        span.with("messaging.message.id", self.message_id.as_deref().unwrap_or_default())
            .with_number("messaging.message.body.size", self.size)
            .with_number("mo_router.attempts", self.attempts)
            .with("mo_router.outcome", outcome.as_str())
    }
}
