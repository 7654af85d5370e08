//! Traces, at a collector: from a source through the router to a consumer.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::support::ask_until;
use crate::support::collector::{Answer, Collector, Span};
use crate::support::letters::{table, text};
use crate::support::ports::free_port;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Event, Received, numbered, numbers};

/// What docs/traces.md shows.
const SHOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/trace.json");

/// All events, unless a publisher has decided otherwise.
const ALL: &str = "MO_ROUTER_TELEMETRY_SAMPLE=1";
/// Failures alone.
const FAILURES: &str = "MO_ROUTER_TELEMETRY_SAMPLE=0";

/// A span of somebody else: the source, or a consumer.
#[derive(Clone, Debug)]
struct Other {
    trace_id: String,
    span_id: String,
}

impl Other {
    fn new() -> Self {
        let (trace_id, span_id) = (Uuid::new_v4().simple(), Uuid::new_v4().simple().to_string());
        Self { trace_id: trace_id.to_string(), span_id: span_id[..16].to_owned() }
    }

    fn traceparent(&self, flags: &str) -> String {
        format!("00-{}-{}-{flags}", self.trace_id, self.span_id)
    }
}

/// An event with these headers.
fn event(number: u64, headers: &[(&str, &str)]) -> Event {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, text(value))).collect();
    let Event { key, body, properties } = Event::numbered(number, 100);
    Event { key, body, properties: properties.with_headers(table(&headers)) }
}

async fn started(router: &mut Router, collector: &Collector, sample: &str) {
    router.start_with_variables(&[&collector.variable(), sample]);
    router.logged("ready").await;
}

fn header<'a>(message: &'a Received, name: &str) -> &'a str {
    message.headers.get(name).map(String::as_str).unwrap_or_default()
}

/// The ids of the trace and of the span that a message comes from.
fn origin(message: &Received) -> (String, String) {
    let parts: Vec<&str> = header(message, "traceparent").split('-').collect();
    let ["00", trace_id, span_id, "01"] = parts[..] else { panic!("{:?}", message.headers) };
    (trace_id.to_owned(), span_id.to_owned())
}

#[tokio::test]
async fn a_trace_from_source_to_consumer_with_a_delay_and_a_restart_in_between() {
    let (scene, collector) = (Scene::shared().await, Collector::start().await);
    let mut router = scene.router("", &[("remind", "config.delay = '3600000'")]);
    started(&mut router, &collector, FAILURES).await;

    let source = Other::new();
    let headers = [("traceparent", source.traceparent("01")), ("tracestate", "mo=1".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, text)| (*name, text.as_str())).collect();
    scene.client.publish(MO, [event(7, &headers)]).await;
    let stored =
        collector.named(&["receive mo-router.remind", "call remind", "store routed"]).await;
    router.stop().await;
    started(&mut router, &collector, FAILURES).await;
    router.print(&["delayed", "send-now", "1"]).await;
    let consumed = scene.routed(1).await.remove(0);
    let left = collector.named(&["publish routed"]).await.remove(0);

    let [receive, call, store] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!((&receive.trace_id, &receive.parent), (&source.trace_id, &source.span_id));
    assert_eq!((receive.kind.as_str(), receive.state.as_str()), ("CONSUMER", "mo=1"));
    assert_eq!((&call.parent, &store.parent), (&receive.span_id, &receive.span_id));
    assert_ne!(left.trace_id, source.trace_id, "it may leave years later");
    assert_eq!(left.links, [store.link_to()]);
    assert_eq!(left.parent, "");
    assert_eq!(origin(&consumed), left.link_to());
    assert_eq!(header(&consumed, "tracestate"), "", "that was of another trace");
    assert_ne!(receive.resource["service.instance.id"], left.resource["service.instance.id"]);
    assert!(receive.time.0 <= call.time.0 && call.time.1 <= store.time.1);

    let spans = [receive, call, store, &left];
    assert!(spans.iter().all(|span| span.failure.is_none()), "{spans:?}");
    assert_eq!(left.attributes["messaging.system"], "rabbitmq");
    assert_eq!(left.attributes["messaging.destination.name"], ROUTED);
    assert_eq!(left.attributes["messaging.operation.type"], "send");
    let key = &left.attributes["messaging.rabbitmq.destination.routing_key"];
    assert_eq!(key, &consumed.routing_key);
    let shown = shown(&source, &spans, &consumed);
    if updates() {
        std::fs::write(SHOWN, &shown).unwrap();
    }
    let documented = std::fs::read_to_string(Path::new(SHOWN)).unwrap_or_default();
    assert_eq!(normalized(&shown), normalized(&documented), "UPDATE_DOCS=1 writes {SHOWN}");
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the test asks for it")]
fn updates() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// A span as docs/traces.md shows it.
#[derive(Default, Serialize)]
struct Shown<'a> {
    service: &'a str,
    name: String,
    kind: &'a str,
    trace: String,
    span: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, Json>,
}

/// The whole way as JSON, with what source and consumer would send.
fn shown(source: &Other, spans: &[&Span], consumed: &Received) -> String {
    let published = Shown {
        service: "source",
        name: format!("publish {MO}"),
        kind: "PRODUCER",
        trace: source.trace_id.clone(),
        span: source.span_id.clone(),
        ..Shown::default()
    };
    let time = |nanoseconds: u64| {
        let seconds = i64::try_from(nanoseconds / 1_000_000_000).unwrap();
        let rest = u32::try_from(nanoseconds % 1_000_000_000).unwrap();
        Some(mo_router::event::Datetime::from_unix(seconds, rest).unwrap().to_string())
    };
    let ours = spans.iter().map(|span| Shown {
        service: &span.service,
        name: span.name.clone(),
        kind: &span.kind,
        trace: span.trace_id.clone(),
        span: span.span_id.clone(),
        parent: (!span.parent.is_empty()).then_some(&span.parent),
        links: (span.links.iter())
            .map(|(trace, span)| json!({ "trace": trace, "span": span }))
            .collect(),
        begun: time(span.time.0),
        ended: time(span.time.1),
        attributes: span.attributes.clone(),
    });
    let (trace, parent) = origin(consumed);
    let processed = Shown {
        service: "consumer",
        name: format!("process {ROUTED}"),
        kind: "CONSUMER",
        trace,
        span: Other::new().span_id,
        parent: Some(&parent),
        ..Shown::default()
    };
    let all: Vec<Shown<'_>> = [published].into_iter().chain(ours).chain([processed]).collect();
    serde_json::to_string_pretty(&all).unwrap() + "\n"
}

/// The same with ids in the order in which they come, and without what differs from run to run.
fn normalized(text: &str) -> Json {
    let mut value: Json = serde_json::from_str(text).unwrap_or_default();
    let mut ids = BTreeMap::new();
    normalize(&mut value, "", &mut ids);
    value
}

fn normalize(value: &mut Json, key: &str, ids: &mut BTreeMap<String, usize>) {
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| normalize(item, key, ids)),
        Json::Object(entries) => {
            // Ids in an order that does not depend on that of the keys.
            for key in ["trace", "span", "parent", "links", "attributes"] {
                if let Some(value) = entries.get_mut(key) {
                    normalize(value, key, ids);
                }
            }
            for (key, value) in entries {
                if !value.is_object() {
                    normalize(value, key, ids);
                }
            }
        }
        Json::String(text) if ["trace", "span", "parent"].contains(&key) => {
            let next = ids.len();
            *value = json!(ids.entry(text.clone()).or_insert(next).to_string());
        }
        other => {
            let differs = [
                "begun",
                "ended",
                "mo_router.due",
                "mo_router.lateness_ms",
                "mo_router.plugin.version",
            ];
            if differs.contains(&key) {
                *other = Json::Null;
            }
        }
    }
}

#[tokio::test]
async fn dead_letters_carry_their_trace_whatever_is_sampled() {
    let (scene, collector) = (Scene::shared().await, Collector::start().await);
    scene.client.exchange("nowhere", true).await;
    let plugins = [
        ("strict", "config.answer = 'reject'\nconfig.reason = 'not today'"),
        ("lost", "exchanges = ['nowhere']\nconfig.to = 'nowhere'"),
        ("forward", ""),
    ];
    let mut router = scene.router("", &plugins);
    started(&mut router, &collector, FAILURES).await;
    let source = Other::new();
    scene.client.publish(MO, [event(1, &[("traceparent", &source.traceparent("00"))])]).await;
    let letters = scene.client.take(DEAD, 2).await;
    let letter = |plugin| {
        let mut letters = letters.iter();
        letters.find(|letter| header(letter, "mo-router-plugin") == plugin).unwrap()
    };

    // The plugin rejected the event.
    let wanted = ["receive mo-router.strict", "call strict"];
    let strict = collector.named(&wanted).await;
    let dead = collector.named(&["publish mo-router.dead"; 2]).await;
    let of = |plugin: &str| {
        let is_it =
            |span: &&Span| span.attributes["messaging.rabbitmq.destination.routing_key"] == plugin;
        dead.iter().find(is_it).unwrap()
    };
    for span in &strict {
        assert_eq!(span.failure.as_deref(), Some("not today"));
        assert_eq!(span.trace_id, source.trace_id);
    }
    assert_eq!(strict[0].parent, source.span_id);
    assert_eq!(strict[0].attributes["mo_router.outcome"], "dead");
    assert_eq!(strict[1].attributes["error.type"], "reject");
    assert_eq!(of("strict").parent, strict[0].span_id);
    assert_eq!(of("strict").links, [(source.trace_id.clone(), source.span_id.clone())]);
    assert_eq!(origin(letter("strict")), of("strict").link_to());

    // No queue took what the plugin published.
    let lost = ["receive mo-router.lost", "call lost", "publish nowhere"];
    let lost = collector.named(&lost).await;
    assert_eq!(lost[2].attributes["error.type"], "returned");
    assert!(lost[2].failure.as_deref().unwrap().contains("no queue"), "{lost:?}");
    assert_eq!(lost[1].failure, None);
    assert_eq!(of("lost").parent, lost[0].span_id);
    assert_eq!(origin(letter("lost")), of("lost").link_to());

    // What went well was not to be recorded, and says so to whoever comes after.
    let routed = scene.routed(1).await.remove(0);
    assert_eq!(header(&routed, "traceparent"), source.traceparent("00"));
    assert!(collector.spans().iter().all(|span| !span.name.contains("forward")));
}

#[tokio::test]
async fn an_event_that_is_sent_back_goes_on_in_its_trace() {
    let (scene, collector) = (Scene::shared().await, Collector::start().await);
    let mut router = scene.router("", &[("strict", "config.answer = 'reject'")]);
    started(&mut router, &collector, FAILURES).await;
    scene.client.publish(MO, numbered([1])).await;
    let dead = collector.named(&["publish mo-router.dead"]).await.remove(0);
    scene.client.has(DEAD, 1).await;
    router.print(&["dead", "requeue", "--all"]).await;
    let again = collector.named(&["receive mo-router.strict"; 2]).await.remove(1);
    assert_eq!((again.trace_id, again.parent), (dead.trace_id, dead.span_id));
}

#[tokio::test]
async fn a_traceparent_that_is_malformed_begins_a_trace() {
    let (scene, collector) = (Scene::shared().await, Collector::start().await);
    let mut router = scene.router("", &[("forward", "")]);
    started(&mut router, &collector, ALL).await;
    let malformed = "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01";
    scene
        .client
        .publish(MO, [event(1, &[("traceparent", malformed), ("tracestate", "mo=1")])])
        .await;
    let routed = scene.routed(1).await.remove(0);
    let wanted = ["receive mo-router.forward", "call forward", "publish routed"];
    let spans = collector.named(&wanted).await;
    assert_eq!((spans[0].parent.as_str(), spans[0].state.as_str()), ("", ""));
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
    assert!(!malformed.to_lowercase().contains(&spans[0].trace_id));
    assert_eq!(origin(&routed), spans[2].link_to());
    assert_eq!(header(&routed, "tracestate"), "");
}

#[tokio::test]
async fn without_a_collector_nothing_is_added() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let traceparent = Other::new().traceparent("01");
    let headers = [("traceparent", traceparent.as_str()), ("tracestate", "mo=1")];
    scene.client.publish(MO, [event(1, &headers), event(2, &[])]).await;
    let routed = scene.routed(2).await;
    assert_eq!(header(&routed[0], "traceparent"), traceparent);
    assert_eq!(header(&routed[0], "tracestate"), "mo=1");
    assert_eq!(header(&routed[1], "traceparent"), "");
    assert!(!router.get("metrics").await.1.contains("trace_spans"));
}

/// Whether the router is ready, and says or does not say that traces are not sent.
async fn readyz_until(router: &Router, says: bool) {
    ask_until("what /readyz says of traces", || async {
        let (status, text) = router.get("readyz").await;
        assert_eq!(status, 200, "{text}");
        (text.contains("traces-not-sent: ") == says).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_is_unreachable_costs_spans_and_no_events() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    // Nobody listens there.
    let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{}", free_port());
    router.start_with_variables(&[&endpoint, ALL]);
    router.logged("ready").await;
    // More than wait for a collector.
    const EVENTS: u64 = 5000;
    scene.client.publish(MO, numbered(0..EVENTS)).await;
    let routed = scene.routed(EVENTS as usize).await;
    assert_eq!(numbers(&routed).len() as u64, EVENTS);
    readyz_until(&router, true).await;
    ask_until("lost spans", || async {
        let lost = router.metric("trace_spans_total{outcome=\"lost\"}").await;
        lost.filter(|lost| *lost > 0.0)
    })
    .await;
    assert_eq!(router.count_logged("traces are not sent"), 1, "{}", router.log());
    let status = router.print(&["status", "--address", &router.address().await]).await;
    assert!(status.contains("traces-not-sent"), "{status}");
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn a_collector_in_trouble_gets_the_spans_when_it_is_over() {
    let (scene, collector) = (Scene::shared().await, Collector::start().await);
    let mut router = scene.router("", &[("forward", "")]);
    collector.answer_next([
        Answer::Refuse(503, Some(1)),
        Answer::Refuse(429, Some(2)),
        Answer::Refuse(502, None),
    ]);
    started(&mut router, &collector, ALL).await;
    scene.client.publish(MO, numbered([1])).await;
    readyz_until(&router, true).await;
    collector.named(&["receive mo-router.forward", "call forward", "publish routed"]).await;
    readyz_until(&router, false).await;
    router.logged("traces are sent again").await;
    router.metric_until("trace_spans_total{outcome=\"lost\"}", 0.0).await;
    router.metric_until("trace_spans_total{outcome=\"sent\"}", 3.0).await;

    // It does not take a part of them, and then no request as it is.
    collector.answer_next([Answer::Part(1)]);
    scene.client.publish(MO, numbered([2])).await;
    router.metric_until("trace_spans_total{outcome=\"lost\"}", 1.0).await;
    readyz_until(&router, true).await;
    collector.answer_next([Answer::Refuse(400, None)]);
    scene.client.publish(MO, numbered([3])).await;
    router.metric_until("trace_spans_total{outcome=\"lost\"}", 4.0).await;
    assert_eq!(scene.routed(3).await.len(), 3);
}

#[tokio::test]
async fn a_slow_collector_holds_up_neither_events_nor_the_stop() {
    let (scene, collector) = (Scene::shared().await, Collector::start().await);
    let mut router = scene.router("", &[("forward", "")]);
    collector.answer_next([Answer::Late(Duration::from_secs(3600)); 100]);
    let more = ["OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20secret", "OTEL_SERVICE_NAME=r1"];
    let endpoint = collector.variable();
    let variables = [&[endpoint.as_str(), ALL], &more[..]].concat();
    router.start_with_variables(&variables);
    router.logged("ready").await;
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(scene.routed(100).await.len(), 100);
    let spans = collector.named(&["receive mo-router.forward"]).await;
    assert_eq!(spans[0].service, "r1");
    assert_eq!(collector.requests()[0]["authorization"], "Bearer secret");
    // It still waits for its first answer.
    assert!(router.stop().await.success());
    assert!(router.count_logged("the last spans were not sent in time") == 1, "{}", router.log());
}

#[tokio::test]
async fn the_last_spans_are_sent_before_a_stop_is_over() {
    let (scene, collector) = (Scene::shared().await, Collector::start().await);
    let mut router = scene.router("", &[("forward", "")]);
    started(&mut router, &collector, ALL).await;
    scene.client.publish(MO, numbered(0..10)).await;
    scene.routed(10).await;
    assert!(router.stop().await.success());
    let received = collector.spans();
    let received = received.iter().filter(|span| span.name == "receive mo-router.forward").count();
    // A busy machine may need longer for them than a stop waits.
    let is_told = router.count_logged("the last spans were not sent in time") == 1;
    assert!(received == 10 || (received < 10 && is_told), "{received}\n{}", router.log());
}
