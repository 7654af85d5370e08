use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;

use super::*;
use crate::event::{DeadKind, DeadLetter, Message, Origin};
use crate::transport::Fate;

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

    fn copy(&mut self, _: u64) -> Option<Outgoing> {
        self.sent.front().map(|(_, outgoing)| outgoing.clone())
    }

    fn abandon(&mut self, _: u64) -> Option<Outgoing> {
        self.sent.pop_front().map(|(_, outgoing)| outgoing)
    }

    fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        self.abandon(token)
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
        Self(Traced::new(outbox, Tracer::unsent(sample), clock))
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
        assert_eq!(traceparent(&bench.0.copy(2).unwrap()), before);
        assert!(bench.0.tracer.finished().is_empty(), "it is on its way");
        let abandoned = bench.0.abandon(2).unwrap();
        assert_eq!(traceparent(&abandoned), before);
        assert!(bench.0.tracer.finished()[0].status.is_some());
        assert!(bench.0.messages.is_empty());
    }
}

#[test]
fn a_dead_letter_is_in_the_trace_of_what_failed() {
    for before in [STORED, NOT_SAMPLED] {
        let fates = [Fate::Returned("no queue".into()), Fate::Confirmed];
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
