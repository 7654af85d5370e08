//! Where a message belongs: the headers `traceparent` and `tracestate` of W3C Trace Context.

use std::fmt;

use crate::event::{Properties, Value};

/// The header with the trace and the span that a message comes from.
pub const TRACEPARENT: &str = "traceparent";
/// The header with what tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

/// The bytes of a `traceparent` of version 00, the only one that there is.
const LENGTH: usize = 55;
/// The most bytes of a `tracestate` that are kept in spans.
const STATE: usize = 512;
/// The most bytes of properties, roughly, beside which there is room for the header: a broker
/// limits them all together, and nothing may fail because it is traced.
const ROOM: usize = 32 << 10;

/// Names a span, wherever it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// What all spans of a trace share; not 0.
    pub trace_id: u128,
    /// The span; not 0.
    pub span_id: u64,
    /// Whether it is recorded.
    pub sampled: bool,
}

/// Where a message comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The span that it was published in.
    pub context: SpanContext,
    /// What tracing systems added; empty if they did not.
    pub state: String,
}

impl SpanContext {
    /// Reads a `traceparent`; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        // A later version may add more behind another hyphen.
        let is_whole = match bytes.get(..2)? {
            b"00" => bytes.len() == LENGTH,
            b"ff" => false,
            _ => bytes.len() == LENGTH || bytes.get(LENGTH) == Some(&b'-'),
        };
        let hyphens = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        if !(is_whole && hyphens) {
            return None;
        }
        let is_hex = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let part = |from, to| text.get(from..to).filter(is_hex);
        part(0, 2)?;
        let trace_id = u128::from_str_radix(part(3, 35)?, 16).ok()?;
        let span_id = u64::from_str_radix(part(36, 52)?, 16).ok()?;
        let flags = u8::from_str_radix(part(53, LENGTH)?, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }

    /// That of a message; none if it has none, or one that cannot be read.
    pub fn of(properties: &Properties) -> Option<Self> {
        Self::parse(properties.headers.get(TRACEPARENT)?.text()?)
    }

    /// Puts it into a message, with `state`. Says whether there is room for it.
    pub fn put(&self, properties: &mut Properties, state: &str) -> bool {
        if properties.size() > ROOM {
            return false;
        }
        let headers = &mut properties.headers;
        headers.insert(TRACEPARENT.to_owned(), self.to_string().into());
        // One of another trace says nothing of this one.
        match state {
            "" => drop(headers.remove(TRACESTATE)),
            state => drop(headers.insert(TRACESTATE.to_owned(), state.into())),
        }
        true
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, sampled } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(*sampled))
    }
}

impl Parent {
    /// That of a message; none if it has none, or one that cannot be read.
    pub fn of(properties: &Properties) -> Option<Self> {
        let context = SpanContext::of(properties)?;
        let state = properties.headers.get(TRACESTATE).and_then(Value::text).unwrap_or_default();
        let state = if state.len() <= STATE { state.to_owned() } else { String::new() };
        Some(Self { context, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn with(traceparent: &str, tracestate: Option<&str>) -> Properties {
        let mut properties = Properties::default();
        properties.headers.insert(TRACEPARENT.to_owned(), traceparent.into());
        if let Some(state) = tracestate {
            properties.headers.insert(TRACESTATE.to_owned(), state.into());
        }
        properties
    }

    #[test]
    fn what_is_read_is_written_alike() {
        for flags in ["00", "01"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let context = SpanContext::parse(&text).unwrap();
            assert_eq!(context.sampled, flags == "01");
            assert_eq!(context.to_string(), text);
        }
    }

    #[test]
    fn flags_and_versions_to_come_are_understood() {
        let sampled = |text: &str| SpanContext::parse(text).map(|context| context.sampled);
        assert_eq!(sampled(&format!("00-{TRACE}-{SPAN}-03")), Some(true));
        assert_eq!(sampled(&format!("00-{TRACE}-{SPAN}-02")), Some(false));
        assert_eq!(sampled(&format!("cc-{TRACE}-{SPAN}-01")), Some(true));
        assert_eq!(sampled(&format!("cc-{TRACE}-{SPAN}-01-what-will-be")), Some(true));
    }

    #[test]
    fn what_is_malformed_is_none() {
        let zeros = ("0".repeat(32), "0".repeat(16));
        let malformed = [
            String::new(),
            "00".into(),
            "not a traceparent".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", zeros.0),
            format!("00-{TRACE}-{}-01", zeros.1),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "ø".repeat(8)),
            format!("{}-{TRACE}-{SPAN}-01", "ø"),
        ];
        for text in malformed {
            assert_eq!(SpanContext::parse(&text), None, "{text:?}");
            assert_eq!(Parent::of(&with(&text, Some("a=b"))), None, "{text:?}");
        }
        let mut number = Properties::default();
        number.headers.insert(TRACEPARENT.to_owned(), Value::Int(1));
        assert_eq!(SpanContext::of(&number), None);
    }

    #[test]
    fn the_state_is_that_of_the_trace() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        let parent = Parent::of(&with(&text, Some("vendor=1"))).unwrap();
        assert_eq!(parent.state, "vendor=1");
        let long = "x".repeat(STATE + 1);
        assert_eq!(Parent::of(&with(&text, Some(&long))).unwrap().state, "");

        let mut properties = with("malformed", Some("vendor=1"));
        assert!(parent.context.put(&mut properties, &parent.state));
        assert_eq!(Parent::of(&properties), Some(parent.clone()));
        assert!(parent.context.put(&mut properties, ""));
        assert_eq!(Parent::of(&properties).unwrap().state, "");
        assert!(!properties.headers.contains_key(TRACESTATE), "it was another trace's");
    }

    #[test]
    fn no_message_gets_too_large_for_it() {
        let mut full = Properties::default();
        full.headers.insert("large".into(), "x".repeat(ROOM).as_str().into());
        let before = full.clone();
        assert!(!SpanContext { trace_id: 1, span_id: 1, sampled: true }.put(&mut full, ""));
        assert_eq!(full, before);
    }
}
