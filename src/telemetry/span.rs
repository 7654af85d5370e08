//! A span, as OTLP has it.

use std::fmt;

use prost::Message as _;

use super::context::SpanContext;
use super::proto::{KeyValue, Link, SpanMessage, Status};
use crate::event::{Datetime, shortened};

/// The most bytes of an attribute or of a failure's reason.
const TEXT: usize = 1 << 10;
/// OTLP's flags: whether it is known that the parent is of another process, and whether it is.
const KNOWN_TO_BE_REMOTE: u32 = 0x100;
const REMOTE: u32 = 0x200;
/// OTLP's status of a failure.
const ERROR: i32 = 2;

/// What a span is, for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    /// Something inside the router.
    Internal = 1,
    /// A message leaves.
    Producer = 4,
    /// A message came.
    Consumer = 5,
}

/// A span. It is built while it lasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Span(SpanMessage);

impl Span {
    /// One that begins at a time.
    pub fn new(context: SpanContext, kind: Kind, name: String, begun: Datetime) -> Self {
        Self(SpanMessage {
            trace_id: context.trace_id.to_be_bytes().to_vec(),
            span_id: context.span_id.to_be_bytes().to_vec(),
            flags: KNOWN_TO_BE_REMOTE | u32::from(context.sampled),
            name,
            kind: kind as i32,
            start_time_unix_nano: nanoseconds(begun),
            ..SpanMessage::default()
        })
    }

    /// Within another span of the router's own.
    #[must_use]
    pub fn within(mut self, span_id: u64) -> Self {
        self.0.parent_span_id = span_id.to_be_bytes().to_vec();
        self
    }

    /// Continues what another program began.
    #[must_use]
    pub fn continuing(mut self, span_id: u64, state: &str) -> Self {
        self.0.flags |= REMOTE;
        self.0.trace_state = state.to_owned();
        self.within(span_id)
    }

    /// Points to a span that came before, in another trace or in this one.
    #[must_use]
    pub fn linked(mut self, to: SpanContext) -> Self {
        self.0.links.push(Link {
            trace_id: to.trace_id.to_be_bytes().to_vec(),
            span_id: to.span_id.to_be_bytes().to_vec(),
            flags: KNOWN_TO_BE_REMOTE | u32::from(to.sampled),
        });
        self
    }

    /// Says something of it; a text that is empty says nothing.
    #[must_use]
    pub fn with(mut self, name: &'static str, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        if !text.is_empty() {
            self.0.attributes.push(KeyValue::text(name, shortened(&text, TEXT)));
        }
        self
    }

    /// Says a number of it.
    #[must_use]
    pub fn with_number(mut self, name: &'static str, number: impl TryInto<i64>) -> Self {
        let number = number.try_into().unwrap_or(i64::MAX);
        self.0.attributes.push(KeyValue::number(name, number));
        self
    }

    /// It failed: the kind of failure, of which there are few, and why.
    #[must_use]
    pub fn failed(mut self, kind: &str, reason: &str) -> Self {
        self.0.attributes.push(KeyValue::text("error.type", kind));
        self.0.status = Some(Status { message: shortened(reason, TEXT), code: ERROR });
        self
    }

    /// It ends: not before it began, though a clock may be set back.
    #[must_use]
    pub fn ended(mut self, at: Datetime) -> Self {
        self.0.end_time_unix_nano = nanoseconds(at).max(self.0.start_time_unix_nano);
        self
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        let id = <[u8; 8]>::try_from(self.0.span_id.as_slice());
        id.map(u64::from_be_bytes).unwrap_or_default()
    }

    /// The bytes that it takes when it is sent.
    pub(super) fn size(&self) -> usize {
        self.0.encoded_len()
    }

    pub(super) fn into_message(self) -> SpanMessage {
        self.0
    }
}

/// Since 1970; times before that are 1970.
fn nanoseconds(time: Datetime) -> u64 {
    let seconds = u64::try_from(time.seconds()).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: SpanContext = SpanContext { trace_id: 1, span_id: 2, sampled: true };

    fn span(begun: Datetime) -> Span {
        Span::new(CONTEXT, Kind::Internal, "span".into(), begun)
    }

    #[test]
    fn no_span_ends_before_it_begins() {
        let (early, late) = (1_000, 2_000);
        let time = |seconds| Datetime::from_unix(seconds, 5).unwrap();
        let span = span(time(late)).ended(time(early)).into_message();
        assert_eq!(span.start_time_unix_nano, 2_000_000_000_005);
        assert_eq!(span.end_time_unix_nano, span.start_time_unix_nano);
        assert_eq!(nanoseconds(time(-7)), 5, "before 1970");
        assert_eq!(nanoseconds(Datetime::NO_DATE), u64::MAX);
    }

    #[test]
    fn texts_are_bounded() {
        let long = "ø".repeat(TEXT);
        let span = span(Datetime::NO_DATE).with("text", &long).failed("retry", &long);
        assert!(span.size() < 3 * TEXT, "{}", span.size());
        assert_eq!(span.id(), 2);
    }

    #[test]
    fn who_continues_another_programs_trace_says_so() {
        let own = span(Datetime::NO_DATE).within(7).into_message();
        let others = span(Datetime::NO_DATE).continuing(7, "a=b").into_message();
        assert_eq!((own.flags, others.flags), (0x101, 0x301));
        assert_eq!((others.parent_span_id, others.trace_state), (own.parent_span_id, "a=b".into()));
    }
}
