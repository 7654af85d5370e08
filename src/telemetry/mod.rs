//! Traces: what happens to an event, as spans for an OpenTelemetry collector.
//!
//! A [`Tracer`] decides which events are recorded, and hands finished spans to a queue of limited
//! size; a thread of its own sends them. Neither waits for the other: when the collector is
//! slow or unreachable, spans are lost and counted, and nothing else happens.
//!
//! | | |
//! |---|---|
//! | `context` | the W3C headers `traceparent` and `tracestate` |
//! | `sampling` | which events are recorded |
//! | `span`, `proto` | a span; OTLP's messages |
//! | `queue` | finished spans that wait |
//! | `tracer` | what makes spans |
//! | `export` | the thread that sends |
//!
//! What happens to events is told by [`router`](crate::router), to delayed messages that leave by
//! [`Traced`], and to MO's GraphQL events that the router brings by [`Beginning`].

mod beginning;
mod context;
mod export;
mod leaving;
mod proto;
mod queue;
mod sampling;
mod span;
mod tracer;

pub use beginning::Beginning;
pub use context::{Parent, SpanContext, TRACEPARENT, TRACESTATE};
pub use export::Exporter;
pub use leaving::Traced;
#[cfg(test)]
pub(crate) use proto::SpanMessage;
pub use queue::SpanCounts;
pub use sampling::Sampling;
pub use span::{Kind, Span};
pub use tracer::{Ids, Place, Tracer, failure};
