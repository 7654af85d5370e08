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
use crate::transport::{Completed, Fate, Outbox};

/// An outbox for delayed messages, and a span for each of them.
pub struct Traced<O> {
    outbox: O,
    tracer: Tracer,
    clock: Clock,
    ids: Ids,
    /// By token: those whose fate is not known, and those of which a dead letter is to come.
    messages: HashMap<u64, Leaving>,
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
        Self { outbox, tracer, clock, ids: Ids::random(), messages: HashMap::new() }
    }

    fn on_send(&mut self, token: u64, outgoing: &mut Outgoing) {
        let now = self.clock.now();
        let (mut message, context) = match self.messages.remove(&token) {
            // A dead letter of it.
            Some(message) => {
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
        if !matches!(fate, Fate::Nacked(_)) {
            // A dead letter follows, or another form of it.
            self.messages.insert(*token, message);
        }
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

    fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        let mut outgoing = self.outbox.abandon(token)?;
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
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;
    use crate::event::{DeadKind, DeadLetter, Message, Origin};

    const STORED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    /// Gives each message the next fate.
    #[derive(Default)]
    struct Fates {
        fates: VecDeque<Fate>,
        sent: VecDeque<(u64, Outgoing)>,
    }

    impl Outbox for Fates {
        fn send(&mut self, token: u64, outgoing: Outgoing) {
            self.sent.push_back((token, outgoing));
        }

        fn abandon(&mut self, _: u64) -> Option<Outgoing> {
            self.sent.pop_front().map(|(_, outgoing)| outgoing)
        }

        async fn completed(&mut self) -> Result<Completed> {
            let (token, outgoing) = self.sent.pop_front().unwrap();
            Ok(Completed { token, outgoing, fate: self.fates.pop_front().unwrap() })
        }
    }

    struct Bench(Traced<Fates>);

    impl Bench {
        fn new(sample: f64, fates: impl Into<VecDeque<Fate>>) -> Self {
            let clock = Clock::starting_at(Datetime::from_unix(1_700_000_000, 0).unwrap());
            let outbox = Fates { fates: fates.into(), sent: VecDeque::new() };
            Self(Traced::new(outbox, Tracer::for_tests(sample), clock))
        }

        /// Sends; gives what left, and what is known of it afterwards.
        fn send(&mut self, outgoing: Outgoing) -> (Outgoing, Completed) {
            self.0.send(1, outgoing);
            let sent = self.0.outbox.sent.back().unwrap().1.clone();
            (sent, self.0.completed().now_or_never().unwrap().unwrap())
        }
    }

    fn stored(traceparent: Option<&str>) -> Outgoing {
        let mut message = Message { exchange: "routed".into(), ..Message::default() };
        let due = Datetime::from_unix(1_700_000_000, 0).unwrap();
        let due = due.saturating_sub(Duration::from_millis(250)).to_string();
        let headers = &mut message.properties.headers;
        headers.insert(headers::DUE.into(), due.as_str().into());
        if let Some(traceparent) = traceparent {
            headers.insert(TRACEPARENT.into(), traceparent.into());
        }
        Outgoing::Message(message)
    }

    fn traceparent(outgoing: &Outgoing) -> Option<&str> {
        outgoing.message().properties.headers.get(TRACEPARENT)?.text()
    }

    #[test]
    fn it_leaves_in_a_trace_of_its_own_with_a_link() {
        let mut bench = Bench::new(0.0, [Fate::Confirmed]);
        let (sent, _) = bench.send(stored(Some(STORED)));
        let spans = bench.0.tracer.finished();
        let [span] = &spans[..] else { panic!("{spans:?}") };
        let (before, sent) =
            (SpanContext::parse(STORED).unwrap(), SpanContext::parse(traceparent(&sent).unwrap()));
        let sent = sent.unwrap();
        assert_ne!(sent.trace_id, before.trace_id);
        assert_eq!(span.trace_id, sent.trace_id.to_be_bytes());
        assert_eq!(span.span_id, sent.span_id.to_be_bytes());
        assert!(span.parent_span_id.is_empty() && span.status.is_none());
        let [link] = &span.links[..] else { panic!("{span:?}") };
        assert_eq!(link.trace_id, before.trace_id.to_be_bytes());
        assert_eq!(link.span_id, before.span_id.to_be_bytes());
        let late = span.attributes.iter().find(|it| it.key == "mo_router.lateness_ms");
        assert_eq!(
            late,
            Some(&crate::telemetry::proto::KeyValue::number("mo_router.lateness_ms", 250))
        );
        assert!(bench.0.messages.is_empty());
    }

    #[test]
    fn who_stored_it_has_decided() {
        let mut bench = Bench::new(1.0, [Fate::Confirmed, Fate::Confirmed]);
        let (sent, _) = bench.send(stored(Some(NOT_SAMPLED)));
        assert_eq!(traceparent(&sent), Some(NOT_SAMPLED));
        assert!(bench.0.tracer.finished().is_empty());
        // Nobody has.
        let (sent, _) = bench.send(stored(None));
        assert!(traceparent(&sent).is_some());
        assert!(bench.0.tracer.finished()[0].links.is_empty());
    }

    #[test]
    fn what_is_stored_again_is_as_it_was() {
        for before in [None, Some(STORED), Some(NOT_SAMPLED)] {
            let mut bench = Bench::new(1.0, [Fate::Nacked("full".into())]);
            let (_, completed) = bench.send(stored(before));
            assert_eq!(traceparent(&completed.outgoing), before);
            let spans = bench.0.tracer.finished();
            assert_eq!(spans[0].status.as_ref().unwrap().message, "full");
            assert_eq!(spans[0].links.len(), usize::from(before.is_some()));
            assert!(bench.0.messages.is_empty());

            bench.0.send(2, stored(before));
            let abandoned = bench.0.abandon(2).unwrap();
            assert_eq!(traceparent(&abandoned), before);
            assert!(bench.0.tracer.finished()[0].status.is_some());
            assert!(bench.0.messages.is_empty());
        }
    }

    #[test]
    fn a_dead_letter_is_in_the_trace_of_what_failed() {
        for before in [STORED, NOT_SAMPLED] {
            let fates = [Fate::Undeliverable("no queue".into()), Fate::Confirmed];
            let mut bench = Bench::new(0.0, fates);
            let (_, completed) = bench.send(stored(Some(before)));
            let message = completed.outgoing.into_message();
            let origin = Origin { plugin: "p", version: "v" };
            let (kind, since) = (DeadKind::Publication, Datetime::NO_DATE);
            let letter = DeadLetter::new(kind, origin, message, 1, "no queue".into(), since);
            let (letter, _) = bench.send(Outgoing::Dead(letter.into()));
            let spans = bench.0.tracer.finished();
            let [failed, dead] = &spans[..] else { panic!("{spans:?}") };
            assert_eq!(failed.links.len(), 1);
            assert_eq!((&dead.trace_id, &dead.parent_span_id), (&failed.trace_id, &failed.span_id));
            assert_eq!(dead.links[0].span_id, failed.span_id);
            let context = SpanContext::parse(traceparent(&letter).unwrap()).unwrap();
            assert_eq!(context.span_id.to_be_bytes(), dead.span_id[..]);
            assert!(bench.0.messages.is_empty());
        }
    }
}
