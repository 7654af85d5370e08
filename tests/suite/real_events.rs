//! What a real MO sent, through every example. `examples/mo-events.jsonl` has the messages,
//! `tests/expected` what each example makes of them, to be read:
//! `UPDATE=1 cargo test --release --test suite real_events` writes it anew.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStderr;
use uuid::Uuid;

use crate::support::languages::has_tools;
use crate::support::plugins::{built, compile};
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::Event;
use crate::support::{ask_until, within_reason};

/// The messages, which are a recording.
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/mo-events.jsonl");

/// Each example with its language, and its settings as its README has them.
const EXAMPLES: [(&str, &str, &str); 8] = [
    ("employee-filter", "rust", ""),
    ("mo-delay", "rust", ""),
    ("redact", "rust", "exchanges = ['os2mo_public', 'os2mo_partners']"),
    ("managers-only", "python", ""),
    (
        "split-services",
        "javascript",
        "exchanges = ['people', 'units']\nconfig.employee = 'people'\nconfig.org_unit = 'units'",
    ),
    ("merge-edits", "go", ""),
    ("route-by-action", "c", ""),
    ("mark-urgent", "assemblyscript", ""),
];

fn expected(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(format!("{example}.jsonl"))
}

/// What an example publishes, a line each, without the ids.
async fn replayed(example: &str, settings: &str) -> String {
    let router =
        Router::new(&format!("amqp.exchange = {MO:?}\n[plugin.{example}]\n{settings}\n"), &[]);
    let plugin = std::fs::read(built(&Path::new("examples").join(example))).unwrap();
    compile(&plugin);
    router.put(example, &plugin);
    let lines = router.print(&["replay", EVENTS]).await;
    let without_id = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("JSON Lines");
        line.as_object_mut().expect("an object").remove("message_id");
        format!("{line}\n")
    };
    lines.lines().map(without_id).collect()
}

#[tokio::test]
async fn every_example_does_with_them_what_its_reader_expects() {
    let updates = updates();
    let mut different = Vec::new();
    for (example, language, settings) in EXAMPLES {
        if language != "rust" && !has_tools(language) {
            continue;
        }
        let lines = replayed(example, settings).await;
        let file = expected(example);
        if updates {
            std::fs::write(&file, &lines).unwrap();
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != lines {
            different.push(example);
        }
    }
    assert!(
        different.is_empty(),
        "{different:?} differ: see `UPDATE=1 cargo test --release --test suite real_events`"
    );
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the test asks for it")]
fn updates() -> bool {
    std::env::var_os("UPDATE").is_some()
}

#[tokio::test]
async fn published_from_a_recording_their_bytes_are_what_came() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let sent = router.print(&["publish", "--file", EVENTS, "--json"]).await;
    assert!(sent.contains("\"published\":68"), "{sent}");
    let recording = std::fs::read_to_string(EVENTS).unwrap();
    let mut originals: Vec<_> = recording.lines().map(key_and_body).collect();
    let came = scene.routed(originals.len()).await;
    let mut came: Vec<_> = came.into_iter().map(|one| (one.routing_key, one.body)).collect();
    originals.sort();
    came.sort();
    assert_eq!(came, originals);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

fn key_and_body(line: &str) -> (String, Vec<u8>) {
    let line: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    (text("routing_key"), text("body_text").into_bytes())
}

/// An event with a property of every kind, and a body that a JSON library would write
/// otherwise.
fn peculiar() -> Event {
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("small", AMQPValue::ShortShortInt(-5)),
        ("since", AMQPValue::Timestamp(1_767_225_600)),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("price", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("mo-router-hops", AMQPValue::ShortShortInt(1)),
    ] {
        headers.insert(name.into(), value);
    }
    let body = format!("{{\"uuid\" : \"{}\",  \"n\": 1e2, \"n\": \"\\u00e5\"}}", Uuid::nil());
    let mut event = Event::new("employee.it.create", body);
    event.properties = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("600000".into())
        .with_message_id("m".into())
        .with_timestamp(1)
        .with_type("t".into())
        .with_app_id("a".into());
    event
}

/// Waits for a line that a command writes to standard error.
async fn said(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) {
    loop {
        let line = within_reason(text, lines.next_line()).await.unwrap().expect("more lines");
        if line.contains(text) {
            return;
        }
    }
}

#[tokio::test]
async fn a_recording_is_what_came_and_goes_on_over_a_restart_of_the_broker() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let mut scene = Scene::on(&broker).await;
    let router = scene.router("", &[]);
    let mut tail = router.command(&["tail", "--record", "recording", "--count", "3"]);
    let mut tail = tail.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stderr.take().unwrap()).lines();
    said(&mut lines, "listening to exchange").await;
    scene.client.publish(MO, [peculiar()]).await;
    let recording = || async {
        let text = std::fs::read_to_string(router.path("recording")).unwrap_or_default();
        text.contains('\n').then_some(text)
    };
    let first = ask_until("the recording", recording).await;

    broker.kill();
    said(&mut lines, "no longer listening").await;
    broker.restart();
    said(&mut lines, "listening again").await;
    scene.reconnect().await;
    scene.client.publish(MO, [peculiar()]).await;
    // What is sent from the recording is recorded as what was recorded first.
    router.put_file("first", first.as_bytes());
    router.print(&["publish", "--file", "first"]).await;
    assert!(within_reason("the tail", tail.wait()).await.unwrap().success());
    let whole = std::fs::read_to_string(router.path("recording")).unwrap();
    let without_time = |line: &str| {
        let start = line.find("\"received\"").unwrap();
        let end = start + line[start..].find(',').unwrap();
        format!("{}{}", &line[..start], &line[end..])
    };
    let lines: Vec<_> = whole.lines().map(without_time).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains(&String::from_utf8(peculiar().body).unwrap()), "{}", lines[0]);
    assert!(lines.iter().all(|line| *line == lines[0]), "{lines:#?}");
}
