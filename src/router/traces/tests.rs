//! The session's part, without a session: the core is told what happens, and so are the traces.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::event::{Due, Fault, Publication};
use crate::router::core::sample;
use crate::router::{Core, Effect, Record};
use crate::telemetry::TRACEPARENT;
use crate::transport::{Delivery, Fate};

const PUBLISHED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// One plugin's events, step by step.
struct Bench {
    clock: Clock,
    core: Core<()>,
    tracer: Tracer,
    traces: Traces,
    sent: Vec<(u64, Outgoing)>,
    stored: Vec<(u64, Delayed)>,
}

/// What is looked at of a span.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    parent: Option<u64>,
    id: u64,
    trace_id: u128,
    failure: Option<String>,
    links: Vec<u64>,
}

impl Bench {
    fn new(sample: f64) -> Self {
        let tracer = Tracer::unsent(sample);
        Self {
            clock: Clock::starting_at(Datetime::from_unix(1_700_000_000, 0).unwrap()),
            core: sample::core(sample::terms(), Record::default()),
            traces: Traces::new(tracer.clone(), "p"),
            tracer,
            sent: Vec::new(),
            stored: Vec::new(),
        }
    }

    fn deliver(&mut self, traceparent: Option<&str>) -> usize {
        let mut message = Incoming {
            exchange: "os2mo".into(),
            routing_key: "employee.it.create".into(),
            body: r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60"}"#.into(),
            ..Incoming::default()
        };
        if let Some(traceparent) = traceparent {
            message.properties.headers.insert(TRACEPARENT.into(), traceparent.into());
        }
        self.deliver_message(message)
    }

    fn deliver_message(&mut self, message: Incoming) -> usize {
        let now = self.clock.read();
        let begun = self.traces.begin(&message, now.wall);
        let number = self.core.on_delivery(Delivery { message, receipt: () }, now);
        self.traces.on_delivery(number, begun, now.wall);
        self.perform();
        number
    }

    /// The next event is called and answered.
    fn answer(&mut self, answer: Answer) {
        self.clock.set(self.clock.now().saturating_add(Duration::from_secs(60)));
        self.core.on_time(self.clock.instant());
        let job = self.core.next_call().expect("an event to call with");
        self.traces.on_call(&job, self.clock.now());
        self.clock.set(self.clock.now().saturating_add(Duration::from_millis(1)));
        let now = self.clock.read();
        self.traces.on_answer(&job, &answer, "v1", now.wall);
        self.core.on_answer(job, answer, now);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Publish { token, mut outgoing, .. } => {
                    self.traces.on_publish(token, &mut outgoing, &self.clock);
                    self.sent.push((token, outgoing));
                }
                Effect::Store { token, mut delayed } => {
                    self.traces.on_store(token, &mut delayed, &self.clock);
                    self.stored.push((token, delayed));
                }
                Effect::Settle { delivery, outcome, .. } => {
                    self.traces.on_settled(delivery, outcome, &self.clock);
                }
                Effect::GiveUp { .. } | Effect::Widen | Effect::Swap { .. } => {}
            }
        }
    }

    /// The fate of what was sent first is known; gives it as it was sent.
    fn complete(&mut self, fate: Fate) -> Outgoing {
        let (token, outgoing) = self.sent.remove(0);
        let completed = Completed { token, outgoing: outgoing.clone(), fate };
        let now = self.clock.read();
        self.traces.on_completed(&completed, now.wall);
        self.core.on_completed(completed, now);
        self.perform();
        outgoing
    }

    fn commit(&mut self) -> Delayed {
        let (token, delayed) = self.stored.remove(0);
        let now = self.clock.read();
        self.traces.on_committed(token, None, &self.clock);
        self.core.on_committed(token, now.instant);
        self.perform();
        delayed
    }

    fn spans(&self) -> Vec<Seen> {
        let id = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes);
        let seen = |span: crate::telemetry::SpanMessage| Seen {
            name: span.name,
            parent: id(&span.parent_span_id),
            id: id(&span.span_id).unwrap(),
            trace_id: u128::from_be_bytes(span.trace_id.as_slice().try_into().unwrap()),
            failure: span.status.map(|status| status.message),
            links: span.links.iter().filter_map(|link| id(&link.span_id)).collect(),
        };
        self.tracer.finished().into_iter().map(seen).collect()
    }
}

fn forward() -> Answer {
    Ok(vec![Publication::default()])
}

fn names(spans: &[Seen]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

fn context(outgoing: &Outgoing) -> Option<SpanContext> {
    SpanContext::of(&outgoing.message().properties)
}

#[test]
fn a_publishers_trace_goes_on() {
    let mut bench = Bench::new(0.0);
    bench.deliver(Some(PUBLISHED));
    bench.answer(forward());
    let sent = context(&bench.complete(Fate::Confirmed)).unwrap();
    let spans = bench.spans();
    assert_eq!(names(&spans), ["call p", "publish routed", "receive mo-router.p"]);
    let publisher = SpanContext::parse(PUBLISHED).unwrap();
    let [call, publish, receive] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(receive.parent, Some(publisher.span_id));
    assert_eq!((call.parent, publish.parent), (Some(receive.id), Some(receive.id)));
    assert_eq!(
        sent,
        SpanContext { span_id: publish.id, sampled: true, trace_id: publisher.trace_id }
    );
    assert!(spans.iter().all(|span| span.trace_id == publisher.trace_id && span.failure.is_none()));
}

#[test]
fn what_nobody_traces_is_left_as_it_is() {
    let malformed = "00-not-a-traceparent";
    for traceparent in [None, Some(NOT_SAMPLED), Some(malformed)] {
        let mut bench = Bench::new(0.0);
        bench.deliver(traceparent);
        bench.answer(forward());
        let sent = bench.complete(Fate::Confirmed);
        let header = sent.message().properties.headers.get(TRACEPARENT).cloned();
        assert_eq!(header.as_ref().and_then(|value| value.text()), traceparent);
        assert_eq!(bench.spans(), []);
    }
}

#[test]
fn a_traceparent_that_is_malformed_begins_a_trace() {
    let mut bench = Bench::new(1.0);
    bench.deliver(Some("00-not-a-traceparent"));
    bench.answer(forward());
    let sent = context(&bench.complete(Fate::Confirmed)).unwrap();
    let spans = bench.spans();
    assert_eq!(spans.last().unwrap().parent, None);
    assert!(spans.iter().all(|span| span.trace_id == sent.trace_id));
}

#[test]
fn who_delays_leaves_the_name_of_the_span_in_the_store() {
    let mut bench = Bench::new(1.0);
    bench.deliver(None);
    let later = Due::After(Duration::from_secs(3600));
    bench.answer(Ok(vec![Publication { due: later, ..Publication::default() }]));
    let delayed = bench.commit();
    let spans = bench.spans();
    assert_eq!(names(&spans), ["call p", "store routed", "receive mo-router.p"]);
    let stored = SpanContext::of(&delayed.message.properties).unwrap();
    assert_eq!((stored.span_id, stored.sampled), (spans[1].id, true));
}

#[test]
fn failures_are_recorded_with_what_went_before() {
    // It is rejected.
    let mut bench = Bench::new(0.0);
    bench.deliver(Some(NOT_SAMPLED));
    bench.answer(Err(Failure::Reject("no".into())));
    let letter = bench.complete(Fate::Confirmed);
    let spans = bench.spans();
    assert_eq!(names(&spans), ["call p", "publish mo-router.dead", "receive mo-router.p"]);
    let failures: Vec<_> = spans.iter().map(|span| span.failure.as_deref()).collect();
    assert_eq!(failures, [Some("no"), None, Some("no")]);
    let publisher = SpanContext::parse(NOT_SAMPLED).unwrap();
    assert_eq!(spans[1].links, [publisher.span_id], "the letter points to the event");
    let letter = context(&letter).unwrap();
    assert_eq!((letter.span_id, letter.sampled), (spans[1].id, true));
    assert_eq!(letter.trace_id, publisher.trace_id);

    // No queue takes what it caused.
    let mut bench = Bench::new(0.0);
    bench.deliver(None);
    bench.answer(forward());
    bench.complete(Fate::Returned("no queue".into()));
    bench.complete(Fate::Confirmed);
    let spans = bench.spans();
    let all = ["call p", "publish routed", "publish mo-router.dead", "receive mo-router.p"];
    assert_eq!(names(&spans), all);
    assert_eq!(spans[1].failure.as_deref(), Some("no queue"));

    // It is no event.
    let mut bench = Bench::new(0.0);
    let message = Incoming { routing_key: "employee.it.create".into(), ..Incoming::default() };
    bench.deliver_message(message);
    bench.complete(Fate::Confirmed);
    assert_eq!(names(&bench.spans()), ["publish mo-router.dead", "receive mo-router.p"]);
}

#[test]
fn an_event_that_is_tried_again_is_recorded_from_there_on() {
    let mut bench = Bench::new(0.0);
    bench.deliver(None);
    bench.answer(Err(Failure::Broken("it trapped".into(), Fault::Trap)));
    bench.answer(forward());
    let sent = context(&bench.complete(Fate::Confirmed)).unwrap();
    let spans = bench.spans();
    assert_eq!(names(&spans), ["call p", "call p", "publish routed", "receive mo-router.p"]);
    assert_eq!(spans[0].failure.as_deref(), Some("it trapped"));
    assert!(spans[1..].iter().all(|span| span.failure.is_none()), "it went well in the end");
    assert_eq!(sent.span_id, spans[2].id);
}

#[test]
fn a_letter_points_to_the_message_that_failed() {
    let mut bench = Bench::new(1.0);
    bench.deliver(None);
    bench.answer(forward());
    let failed = context(&bench.complete(Fate::Returned("no queue".into()))).unwrap();
    bench.complete(Fate::Confirmed);
    let spans = bench.spans();
    let letter = spans.iter().find(|span| span.name == "publish mo-router.dead").unwrap();
    assert_eq!(letter.links, [failed.span_id]);
}

#[test]
fn what_a_lost_connection_leaves_is_no_failure() {
    let mut bench = Bench::new(0.0);
    bench.deliver(None);
    bench.deliver(Some(PUBLISHED));
    bench.answer(forward());
    bench.answer(forward());
    bench.traces.on_end(bench.clock.now());
    let spans = bench.spans();
    assert_eq!(names(&spans), ["call p", "publish routed", "receive mo-router.p"]);
    assert!(spans[2].failure.as_deref().unwrap().contains("redelivered"));
    assert_eq!(bench.traces.in_flight, 0);
}

#[test]
fn a_number_that_is_used_again_is_another_event() {
    let mut bench = Bench::new(1.0);
    for _ in 0..3 {
        assert_eq!(bench.deliver(None), 0);
        bench.answer(Ok(Vec::new()));
    }
    let spans = bench.spans();
    let traces: std::collections::BTreeSet<u128> = spans.iter().map(|span| span.trace_id).collect();
    assert_eq!((spans.len(), traces.len()), (6, 3));
    assert!(bench.traces.events.iter().all(Option::is_none));
}

#[test]
fn spans_in_flight_are_bounded() {
    let mut bench = Bench::new(1.0);
    bench.traces.in_flight = MOST;
    bench.deliver(None);
    bench.answer(forward());
    let sent = context(&bench.complete(Fate::Confirmed)).unwrap();
    let spans = bench.spans();
    assert_eq!(names(&spans), ["call p", "receive mo-router.p"]);
    assert_eq!(sent.span_id, spans[1].id, "the message belongs to the event's own span");
    assert_eq!(bench.traces.in_flight, MOST);
}

#[test]
fn one_event_does_not_take_the_room_of_others() {
    let mut bench = Bench::new(1.0);
    bench.deliver(None);
    bench.answer(Ok(vec![Publication::default(); MOST_OF_ONE + 10]));
    assert_eq!(bench.traces.in_flight, MOST_OF_ONE);
    while !bench.sent.is_empty() {
        bench.complete(Fate::Confirmed);
    }
    assert_eq!(bench.spans().len(), MOST_OF_ONE + 2);
    assert_eq!(bench.traces.in_flight, 0);
}
