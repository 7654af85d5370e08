//! A span, as OTLP has it: the bytes of its message from the beginning on, in one piece of memory.
//! What is said of it is written behind what was said before.

use std::fmt;
use std::io::Write as _;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, message};

use super::context::SpanContext;
use super::proto::{Link, Status, field};
use crate::event::{Datetime, shortened};

/// The most bytes of an attribute or of a failure's reason.
const TEXT: usize = 1 << 10;
/// The bytes of most spans.
const USUAL: usize = 512;
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
pub struct Span {
    bytes: Vec<u8>,
    id: u64,
    flags: u32,
    begun: u64,
}

impl Span {
    /// One that begins at a time.
    pub fn new(context: SpanContext, kind: Kind, name: impl fmt::Display, begun: Datetime) -> Self {
        let mut span = Self {
            bytes: Vec::with_capacity(USUAL),
            id: context.span_id,
            flags: KNOWN_TO_BE_REMOTE | u32::from(context.sampled),
            begun: nanoseconds(begun),
        };
        span.put(field::TRACE_ID, &context.trace_id.to_be_bytes());
        span.put(field::SPAN_ID, &context.span_id.to_be_bytes());
        span.put_flags();
        span.put_text(name, |bytes, length| head(bytes, field::NAME, length));
        encode_key(field::KIND, WireType::Varint, &mut span.bytes);
        encode_varint(kind as u64, &mut span.bytes);
        span.put_time(field::BEGUN, span.begun);
        span
    }

    /// Within another span of the router's own.
    #[must_use]
    pub fn within(mut self, span_id: u64) -> Self {
        self.put(field::PARENT_SPAN_ID, &span_id.to_be_bytes());
        self
    }

    /// Continues what another program began.
    #[must_use]
    pub fn continuing(mut self, span_id: u64, state: &str) -> Self {
        self.flags |= REMOTE;
        // Of two values of a field, the last one holds.
        self.put_flags();
        if !state.is_empty() {
            self.put(field::TRACE_STATE, state.as_bytes());
        }
        self.within(span_id)
    }

    /// Points to a span that came before, in another trace or in this one.
    #[must_use]
    pub fn linked(mut self, to: SpanContext) -> Self {
        let link = Link {
            trace_id: to.trace_id.to_be_bytes().to_vec(),
            span_id: to.span_id.to_be_bytes().to_vec(),
            flags: KNOWN_TO_BE_REMOTE | u32::from(to.sampled),
        };
        message::encode(field::LINKS, &link, &mut self.bytes);
        self
    }

    /// Says something of it; a text that is empty says nothing.
    #[must_use]
    pub fn with(mut self, name: &'static str, text: impl fmt::Display) -> Self {
        self.put_text(text, |bytes, length| {
            attribute_head(bytes, name, length_of(field::TEXT, length));
            head(bytes, field::TEXT, length);
        });
        self
    }

    /// Says a number of it.
    #[must_use]
    pub fn with_number(mut self, name: &'static str, number: impl TryInto<i64>) -> Self {
        let number = number.try_into().unwrap_or(i64::MAX).cast_unsigned();
        let length = key_len(field::NUMBER) + encoded_len_varint(number);
        attribute_head(&mut self.bytes, name, length);
        encode_key(field::NUMBER, WireType::Varint, &mut self.bytes);
        encode_varint(number, &mut self.bytes);
        self
    }

    /// It failed: the kind of failure, of which there are few, and why.
    #[must_use]
    pub fn failed(mut self, kind: &str, reason: &str) -> Self {
        self = self.with("error.type", kind);
        let status = Status { message: shortened(reason, TEXT), code: ERROR };
        message::encode(field::STATUS, &status, &mut self.bytes);
        self
    }

    /// It ends: not before it began, though a clock may be set back.
    #[must_use]
    pub fn ended(mut self, at: Datetime) -> Self {
        self.put_time(field::ENDED, nanoseconds(at).max(self.begun));
        self
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The bytes that it takes when it is sent.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What is sent of it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What a collector reads.
    #[cfg(test)]
    pub(super) fn into_message(self) -> super::proto::SpanMessage {
        prost::Message::decode(&self.bytes[..]).expect("what was written can be read")
    }

    fn put(&mut self, field: u32, content: &[u8]) {
        head(&mut self.bytes, field, content.len());
        self.bytes.extend_from_slice(content);
    }

    /// Writes a text, if it is not empty, and before it the head that its length makes.
    fn put_text(&mut self, text: impl fmt::Display, head: impl FnOnce(&mut Vec<u8>, usize)) {
        let start = self.bytes.len();
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{text}");
        if self.bytes.len() - start > TEXT {
            let short = shortened(&String::from_utf8_lossy(&self.bytes[start..]), TEXT);
            self.bytes.truncate(start);
            self.bytes.extend_from_slice(short.as_bytes());
        }
        let length = self.bytes.len() - start;
        if length > 0 {
            head(&mut self.bytes, length);
            let head = self.bytes.len() - start - length;
            self.bytes[start..].rotate_right(head);
        }
    }

    fn put_flags(&mut self) {
        encode_key(field::FLAGS, WireType::ThirtyTwoBit, &mut self.bytes);
        self.bytes.extend_from_slice(&self.flags.to_le_bytes());
    }

    fn put_time(&mut self, field: u32, nanoseconds: u64) {
        encode_key(field, WireType::SixtyFourBit, &mut self.bytes);
        self.bytes.extend_from_slice(&nanoseconds.to_le_bytes());
    }
}

/// The head of a field that has so many bytes.
fn head(bytes: &mut Vec<u8>, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(length as u64, bytes);
}

/// The bytes of such a field, with its head.
fn length_of(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64) + length
}

/// What is before the value of an attribute that has so many bytes.
fn attribute_head(bytes: &mut Vec<u8>, name: &str, length: usize) {
    let value = length_of(field::VALUE, length);
    head(bytes, field::ATTRIBUTES, length_of(field::KEY, name.len()) + value);
    head(bytes, field::KEY, name.len());
    bytes.extend_from_slice(name.as_bytes());
    head(bytes, field::VALUE, length);
}

/// Since 1970; times before that are 1970.
fn nanoseconds(time: Datetime) -> u64 {
    let seconds = u64::try_from(time.seconds()).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::proto::KeyValue;

    const CONTEXT: SpanContext = SpanContext { trace_id: 1, span_id: 2, sampled: true };

    fn span(begun: Datetime) -> Span {
        Span::new(CONTEXT, Kind::Internal, "span", begun)
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
    fn what_is_written_is_read_alike() {
        let to = SpanContext { trace_id: 3, span_id: 4, sampled: false };
        let long = "x".repeat(200);
        let written = span(Datetime::NO_DATE)
            .with("text", "blåbær")
            .with("nothing", "")
            .with("long", &long)
            .with_number("number", 1_u64 << 40)
            .with_number("negative", -1)
            .with_number("large", u64::MAX)
            .linked(to)
            .failed("retry", "why");
        let read = written.into_message();
        assert_eq!((read.name.as_str(), read.kind), ("span", Kind::Internal as i32));
        assert_eq!(read.trace_id, CONTEXT.trace_id.to_be_bytes());
        assert_eq!(read.span_id, CONTEXT.span_id.to_be_bytes());
        let attributes = [
            KeyValue::text("text", "blåbær"),
            KeyValue::text("long", long),
            KeyValue::number("number", 1 << 40),
            KeyValue::number("negative", -1),
            KeyValue::number("large", i64::MAX),
            KeyValue::text("error.type", "retry"),
        ];
        assert_eq!(read.attributes, attributes);
        assert_eq!((read.links.len(), read.links[0].flags), (1, 0x100));
        assert_eq!(read.links[0].span_id, to.span_id.to_be_bytes());
        assert_eq!(read.status, Some(Status { message: "why".into(), code: ERROR }));
    }

    #[test]
    fn who_continues_another_programs_trace_says_so() {
        let own = span(Datetime::NO_DATE).within(7).into_message();
        let others = span(Datetime::NO_DATE).continuing(7, "a=b").into_message();
        assert_eq!((own.flags, others.flags), (0x101, 0x301));
        assert_eq!((others.parent_span_id, others.trace_state), (own.parent_span_id, "a=b".into()));
    }
}
