//! What makes spans, for whoever does the work.

use std::fmt;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::context::{Parent, SpanContext};
use super::queue::{Queue, SpanCounts};
use super::sampling::Sampling;
use super::span::{Kind, Span};
use crate::event::{Datetime, DeadKind, Message, Outgoing};
use crate::transport::Fate;

/// Between whom messages go, in spans.
#[derive(Clone, Debug)]
pub struct Place {
    /// OpenTelemetry's name for the messaging system.
    pub system: &'static str,
    /// What the names of the plugins' queues begin with.
    pub queue_prefix: String,
    /// The exchange of the dead letters.
    pub dead_letters: &'static str,
}

/// Decides which events are recorded, and takes finished spans. Clones share the queue.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

struct Shared {
    sampling: Sampling,
    place: Place,
    queue: Arc<Queue>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("place", &self.0.place).finish_non_exhaustive()
    }
}

impl Tracer {
    /// Spans go into the queue.
    pub(super) fn new(sampling: Sampling, place: Place, queue: Arc<Queue>) -> Self {
        Self(Shared { sampling, place, queue }.into())
    }

    /// One whose spans nobody sends, for tests: they stay in the queue, as far as it has room. Of the
    /// traces that begin here, it records this part.
    pub fn unsent(ratio: f64) -> Self {
        let place = Place {
            system: "rabbitmq",
            queue_prefix: "mo-router".into(),
            dead_letters: "mo-router.dead",
        };
        Self::new(Sampling::of(ratio), place, Arc::default())
    }

    /// What was finished so far.
    #[cfg(test)]
    pub(crate) fn finished(&self) -> Vec<super::proto::SpanMessage> {
        self.0.queue.take_all()
    }

    /// Whether a message is recorded from the start, whose trace has this id.
    pub fn records(&self, parent: Option<&Parent>, trace_id: u128) -> bool {
        self.0.sampling.records(parent, trace_id)
    }

    /// Takes a span that has ended. Never waits: if there is no room, the span is lost.
    pub fn finish(&self, span: Span) {
        self.0.queue.push([span]);
    }

    /// Takes several spans that have ended, as [`Tracer::finish`] does one.
    pub fn finish_all(&self, spans: impl IntoIterator<Item = Span>) {
        self.0.queue.push(spans);
    }

    /// What became of spans so far.
    pub fn counts(&self) -> SpanCounts {
        self.0.queue.counts()
    }

    /// The span of an event, from its delivery on.
    pub fn receiving(
        &self,
        context: SpanContext,
        plugin: &str,
        (exchange, routing_key): (&str, &str),
        begun: Datetime,
    ) -> Span {
        let Place { system, queue_prefix, .. } = &self.0.place;
        let queue = format!("{queue_prefix}.{plugin}");
        Span::new(context, Kind::Consumer, format_args!("receive {queue}"), begun)
            .with("messaging.system", system)
            .with("messaging.operation.name", "receive")
            .with("messaging.operation.type", "process")
            .with("messaging.destination.name", exchange)
            .with("messaging.destination.subscription.name", queue)
            .with("messaging.rabbitmq.destination.routing_key", routing_key)
            .with("mo_router.plugin", plugin)
    }

    /// The span of a message that leaves.
    pub fn publishing(&self, context: SpanContext, outgoing: &Outgoing, begun: Datetime) -> Span {
        let message = outgoing.message();
        let (exchange, routing_key) = match outgoing {
            Outgoing::Message(message) => (message.exchange.as_str(), message.routing_key.as_str()),
            Outgoing::Dead(letter) => (self.0.place.dead_letters, letter.plugin.as_str()),
        };
        let span = self.sending(context, "publish", "send", exchange, begun);
        let span = about(span, routing_key, message);
        match outgoing {
            Outgoing::Message(_) => span,
            Outgoing::Dead(letter) => {
                let kind = match letter.kind {
                    DeadKind::Event => "event",
                    DeadKind::Publication => "publication",
                };
                span.with("mo_router.dead.kind", kind)
                    .with("mo_router.dead.reason", &letter.reason)
                    .with_number("mo_router.attempts", letter.attempts)
            }
        }
    }

    /// The span of a message that is stored until it is due.
    pub fn storing(
        &self,
        context: SpanContext,
        message: &Message,
        due: Datetime,
        begun: Datetime,
    ) -> Span {
        let span = self.sending(context, "store", "create", &message.exchange, begun);
        about(span, &message.routing_key, message).with("mo_router.due", due)
    }

    fn sending(
        &self,
        context: SpanContext,
        operation: &str,
        kind: &str,
        exchange: &str,
        begun: Datetime,
    ) -> Span {
        // AMQP's default exchange has no name.
        let shown = if exchange.is_empty() { "amq.default" } else { exchange };
        Span::new(context, Kind::Producer, format_args!("{operation} {shown}"), begun)
            .with("messaging.system", self.0.place.system)
            .with("messaging.operation.name", operation)
            .with("messaging.operation.type", kind)
            .with("messaging.destination.name", shown)
    }
}

fn about(span: Span, routing_key: &str, message: &Message) -> Span {
    span.with("messaging.rabbitmq.destination.routing_key", routing_key)
        .with("messaging.message.id", message.id())
        .with_number("messaging.message.body.size", message.body.len())
}

/// The kind of failure that a message's fate is, and why; none if it is none.
pub fn failure(fate: &Fate) -> Option<(&'static str, &str)> {
    match fate {
        Fate::Confirmed => None,
        Fate::Returned(reason) => Some(("returned", reason)),
        Fate::Unacceptable(reason) | Fate::Refused(reason) => Some(("refused", reason)),
        Fate::Nacked(reason) => Some(("nacked", reason)),
    }
}

/// Makes ids.
#[derive(Debug)]
pub struct Ids(SmallRng);

impl Ids {
    /// Ids that nobody else makes.
    #[expect(clippy::disallowed_methods, reason = "no two routers may make the same ids")]
    pub fn random() -> Self {
        Self(SmallRng::from_rng(&mut rand::rng()))
    }

    /// The id of a trace.
    pub fn trace(&mut self) -> u128 {
        self.0.random::<u128>().max(1)
    }

    /// The id of a span.
    pub fn span(&mut self) -> u64 {
        self.0.random::<u64>().max(1)
    }
}
