use std::collections::BTreeMap;

use super::super::broker::Broker;
use super::super::properties::{content_header_size, from_amqp, to_amqp};
use super::super::topology::DEAD;
use super::*;
use crate::event::{DeadLetter, Message};

fn letter() -> DeadLetter {
    DeadLetter {
        reason: "no".into(),
        plugin: "p".into(),
        version: "v1".into(),
        attempts: 3,
        kind: DeadKind::Event,
        is_bare: false,
        body_size: None,
        since: Datetime::NO_DATE,
        message: Message {
            exchange: "os2mo".into(),
            routing_key: KEY.into(),
            properties: Properties {
                headers: BTreeMap::from([("own".into(), "kept".into())]),
                ..Properties::default()
            }
            .into(),
            body: "{}".into(),
        },
    }
}

const KEY: &str = "employee.it.create";

const FRAME_MAX: usize = 1 << 17;

fn written(letter: DeadLetter) -> Message {
    to_message(&letter, "other.p".into(), FRAME_MAX)
}

/// A message as the broker delivers it.
fn arrived(message: Message) -> Incoming {
    let Message { exchange, routing_key, properties, body } = message;
    let properties = from_amqp(&to_amqp(&properties)).into();
    Incoming { exchange, routing_key, properties, body, deliveries: 0 }
}

#[test]
fn a_letter_is_read_as_it_was_written() {
    let message = written(letter());
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), (DEAD, "p"));
    let read = Letter::read(arrived(message));
    assert_eq!(read.reason, "no");
    let json = serde_json::to_value(&read).unwrap();
    assert_eq!((&json["exchange"], &json["routing_key"]), (&"os2mo".into(), &KEY.into()));
    assert_eq!((read.attempts, read.version.as_str()), (3, "v1"));
    assert_eq!(read.properties, *letter().message.properties);
    assert_eq!(json["kind"], "event");
}

#[test]
fn an_unknown_kind_is_an_event() {
    for (text, expected) in [
        ("event", DeadKind::Event),
        ("publication", DeadKind::Publication),
        ("something else", DeadKind::Event),
    ] {
        let mut message = written(letter());
        message.properties.headers.insert(headers::KIND.into(), text.into());
        let read = Letter::read(arrived(message));
        assert_eq!(read.kind, expected, "{text}");
    }
}

/// The same message as the broker delivers it when a person has sent it back.
fn sent_back(letter: &Letter) -> Message {
    let message =
        letter.to_requeue(&Broker::new(crate::settings::Amqp::default()), FRAME_MAX).unwrap();
    let Message { exchange, routing_key, properties, body } = message;
    let message = restored(arrived(Message { exchange, routing_key, properties, body }));
    Message::from(message)
}

fn table(entries: &[(&str, Value)]) -> BTreeMap<String, Value> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// What a publisher sends who wants the message to go elsewhere.
fn forged() -> BTreeMap<String, Value> {
    let death = [
        ("queue", "victim".into()),
        ("reason", "expired".into()),
        ("exchange", "".into()),
        ("routing-keys", Value::List(vec!["victim".into()])),
    ];
    table(&[
        (headers::KIND, PUBLICATION.into()),
        (headers::EXCHANGE, "secret".into()),
        (headers::ROUTING_KEY, "stolen".into()),
        (headers::QUEUE, "victim".into()),
        (headers::PLUGIN, "victim".into()),
        (headers::HOPS, Value::Int8(3)),
        ("mo-router-original-CC", Value::List(vec!["victim".into()])),
        ("CC", Value::List(vec!["victim".into()])),
        ("x-death", Value::List(vec![Value::Table(table(&death))])),
        ("x-first-death-queue", "victim".into()),
        ("own", "kept".into()),
    ])
}

/// An event as the broker dead-letters it; it died in `queue`, to which `exchange` brought it.
fn by_broker(queue: &str, exchange: &str, mut headers: BTreeMap<String, Value>) -> Letter {
    let key = if exchange.is_empty() { queue } else { KEY };
    let death = [
        ("queue", queue.into()),
        ("reason", "expired".into()),
        ("exchange", exchange.into()),
        ("routing-keys", Value::List(vec![key.into()])),
    ];
    let mut deaths = vec![Value::Table(table(&death))];
    if let Some(Value::List(forged)) = headers.remove("x-death") {
        deaths.extend(forged);
    }
    headers.insert("x-death".into(), Value::List(deaths));
    Letter::read(arrived(Message {
        exchange: DEAD.into(),
        routing_key: "p".into(),
        properties: Properties { headers, ..Properties::default() }.into(),
        body: "{}".into(),
    }))
}

#[tokio::test]
async fn an_event_sent_back_is_delivered_as_at_first() {
    let read = Letter::read(arrived(written(letter())));
    let broker = Broker::new(crate::settings::Amqp::default());
    let back = read.to_requeue(&broker, FRAME_MAX).unwrap();
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("", "other.p"));
    let restored = sent_back(&read);
    assert_eq!((restored.exchange.as_str(), restored.routing_key.as_str()), ("os2mo", KEY));
    assert_eq!(restored.properties.headers, letter().message.properties.headers);

    // A letter of an older router does not say which queue its event came from.
    let mut message = written(letter());
    message.properties.headers.remove(headers::QUEUE);
    let back = Letter::read(arrived(message)).to_requeue(&broker, FRAME_MAX).unwrap();
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("", "mo-router.p"));
}

#[tokio::test]
async fn what_the_broker_dead_letters_is_an_event_whatever_its_headers_say() {
    let read = by_broker("other.p", "os2mo", forged());
    assert_eq!((read.kind, read.plugin.as_str()), (DeadKind::Event, "p"));
    assert_eq!(read.queue.as_deref(), Some("other.p"));
    assert!(read.reason.contains("(expired)"), "{}", read.reason);
    let broker = Broker::new(crate::settings::Amqp::default());
    let back = read.to_requeue(&broker, FRAME_MAX).unwrap();
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("", "other.p"));
    assert!(!back.properties.headers.contains_key("CC"), "{back:?}");
    let restored = sent_back(&read);
    assert_eq!((restored.exchange.as_str(), restored.routing_key.as_str()), ("os2mo", KEY));
    let kept: Vec<_> = restored.properties.headers.keys().collect();
    assert_eq!(kept, ["CC", "own"]);
}

#[tokio::test]
async fn what_is_sent_back_and_then_dead_lettered_by_the_broker_keeps_its_address() {
    let first = by_broker("other.p", "os2mo", BTreeMap::new());
    let broker = Broker::new(crate::settings::Amqp::default());
    let back = first.to_requeue(&broker, FRAME_MAX).unwrap();
    let again = by_broker("other.p", "", back.properties.headers);
    assert_eq!((&again.exchange[..], again.routing_key().as_str()), (&b"os2mo"[..], KEY));
}

#[tokio::test]
async fn a_publishers_own_deaths_are_set_aside_and_given_back() {
    let mut dead = letter();
    let event = Incoming {
        exchange: "os2mo".into(),
        routing_key: KEY.into(),
        properties: Properties { headers: forged(), ..Properties::default() }.into(),
        ..Incoming::default()
    };
    dead.message = restored(event).into();
    let original = dead.message.properties.headers.clone();
    let kept: Vec<_> = original.keys().map(String::as_str).collect();
    assert_eq!(kept, ["CC", headers::HOPS, "own", "x-death", "x-first-death-queue"]);

    let message = written(dead);
    let borne = &message.properties.headers;
    assert!(borne.keys().all(|name| !name.starts_with("x-") && name != "CC"), "{borne:?}");
    let read = Letter::read(arrived(message));
    assert_eq!((read.reason.as_str(), read.queue.as_deref()), ("no", Some("other.p")));
    let back = sent_back(&read);
    let mut expected = original;
    expected.remove(headers::HOPS);
    assert_eq!(back.properties.headers, expected);
}

#[test]
fn a_letter_that_died_among_the_letters_is_the_routers_still() {
    let mut message = written(letter());
    let death = table(&[("queue", DEAD.into()), ("reason", "expired".into())]);
    message.properties.headers.insert("x-death".into(), Value::List(vec![Value::Table(death)]));
    message.properties.headers.insert("x-first-death-queue".into(), DEAD.into());
    let read = Letter::read(arrived(message));
    assert_eq!((read.reason.as_str(), read.properties), ("no", *letter().message.properties));
}

#[tokio::test]
async fn a_delayed_publication_keeps_what_the_router_said_of_it() {
    let own = table(&[
        (headers::PLUGIN, "p".into()),
        (headers::VERSION, "v0".into()),
        (headers::DUE, "2030-01-01T00:00:00Z".into()),
    ]);
    let mut dead = letter();
    dead.kind = DeadKind::Publication;
    dead.message.properties.headers = own.clone();
    // Its hops alone are not kept: a person sends it back, and they are counted from zero.
    dead.message.properties.headers.insert(headers::HOPS.into(), Value::Int8(3));
    let read = Letter::read(arrived(written(dead)));
    assert_eq!(read.version, "v1");
    let broker = Broker::new(crate::settings::Amqp::default());
    let back = read.to_requeue(&broker, FRAME_MAX).unwrap();
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("os2mo", KEY));
    assert_eq!(back.properties.headers, own);
}

#[tokio::test]
async fn properties_that_leave_no_room_follow_the_body() {
    const FRAME_MAX: usize = 1 << 17;
    let broker = Broker::new(crate::settings::Amqp::default());
    let mut dead = letter();
    dead.message.properties.message_id = Some("7".into());
    dead.message.properties.headers.insert("large".into(), "x".repeat(130_800).into());
    let message = written(dead.clone());
    assert!(content_header_size(&message.properties) <= FRAME_MAX);
    let read = Letter::read(arrived(message));
    assert_eq!((read.reason.as_str(), &read.body[..]), ("no", &b"{}"[..]));
    assert_eq!(read.properties, *dead.message.properties);
    let back = read.to_requeue(&broker, FRAME_MAX).unwrap();
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("", "other.p"));
    assert!(content_header_size(&back.properties) <= FRAME_MAX);

    dead.kind = DeadKind::Publication;
    let back = Letter::read(arrived(written(dead.clone()))).to_requeue(&broker, FRAME_MAX).unwrap();
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("os2mo", KEY));
    assert_eq!(back.properties, dead.message.properties);
}

#[tokio::test]
async fn an_event_whose_headers_leave_no_room_is_sent_back_whole() {
    let empty = Properties {
        message_id: Some("id".into()),
        headers: table(&[("own", "".into()), ("CC", Value::List(vec!["victim".into()]))]),
        ..Properties::default()
    };
    let mut dead = letter();
    let broker = Broker::new(crate::settings::Amqp::default());
    for left in [0, 1, 60, 330] {
        let mut properties = empty.clone();
        let own = "x".repeat(FRAME_MAX - content_header_size(&empty) - left);
        properties.headers.insert("own".into(), own.into());
        assert_eq!(content_header_size(&properties), FRAME_MAX - left);
        dead.message.properties = properties.clone().into();
        let read = Letter::read(arrived(written(dead.clone())));
        let back = read.to_requeue(&broker, FRAME_MAX).unwrap();
        assert!(content_header_size(&back.properties) <= FRAME_MAX, "{left}");
        assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("", "other.p"));
        assert!(!back.properties.headers.contains_key("CC"), "it is not obeyed on its way");

        let Message { exchange, routing_key, properties: sent, body } = back;
        let restored = restored(arrived(Message { exchange, routing_key, properties: sent, body }));
        assert_eq!((restored.exchange.as_str(), restored.routing_key.as_str()), ("os2mo", KEY));
        assert_eq!((*restored.properties, &restored.body[..]), (properties, &b"{}"[..]), "{left}");
    }
}

/// It expires on its way, say.
#[tokio::test]
async fn an_event_whose_headers_leave_no_room_may_become_a_letter_of_the_broker() {
    let mut dead = letter();
    dead.message.properties.headers.insert("own".into(), "x".repeat(FRAME_MAX - 100).into());
    let read = Letter::read(arrived(written(dead.clone())));
    let broker = Broker::new(crate::settings::Amqp::default());
    let back = read.to_requeue(&broker, FRAME_MAX).unwrap();
    let death = [
        ("queue", "other.p".into()),
        ("reason", "expired".into()),
        ("exchange", "".into()),
        ("routing-keys", Value::List(vec!["other.p".into()])),
    ];
    let mut properties = back.properties;
    let deaths = Value::List(vec![Value::Table(table(&death))]);
    properties.headers.insert("x-death".into(), deaths);
    let (exchange, routing_key) = (DEAD.into(), "p".into());
    let again =
        Letter::read(arrived(Message { exchange, routing_key, properties, body: back.body }));
    assert_eq!(again.properties, *dead.message.properties);
    assert_eq!((&again.body[..], again.routing_key().as_str()), (&b"{}"[..], KEY));
}

#[test]
fn properties_that_the_broker_refuses_follow_the_body() {
    let mut dead = DeadLetter { is_bare: true, ..letter() };
    dead.message.properties.headers.insert("odd".into(), "odd".into());
    let properties = dead.message.properties.clone();
    let message = written(dead);
    assert!(!message.properties.headers.contains_key("odd"));
    let read = Letter::read(arrived(message));
    assert_eq!((&read.properties, &read.body[..]), (&*properties, &b"{}"[..]));
}

#[tokio::test]
async fn names_that_amqp_does_not_know_fit_a_letter_and_are_not_sent_back() {
    const FRAME_MAX: usize = 1 << 17;
    let mut dead = DeadLetter { kind: DeadKind::Publication, is_bare: true, ..letter() };
    let long = "x".repeat(2 * FRAME_MAX);
    (dead.plugin, dead.version) = (long.clone(), long.clone());
    (dead.message.exchange, dead.message.routing_key) = (long.clone(), long.clone());
    let message = to_message(&dead, long, FRAME_MAX);
    assert!(content_header_size(&message.properties) <= FRAME_MAX);

    let cut = DeadLetter { kind: DeadKind::Publication, ..letter() };
    let mut read = Letter::read(arrived(written(cut)));
    read.routing_key = vec![b'x'; 300];
    let broker = Broker::new(crate::settings::Amqp::default());
    let refused = read.to_requeue(&broker, FRAME_MAX).unwrap_err().to_string();
    assert_eq!(refused, "its routing key has 300 bytes, and AMQP allows 255: discard it");
}
