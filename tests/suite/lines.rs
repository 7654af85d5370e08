//! Without a broker: JSON Lines, and replay.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::plugins::{build, hostile, hostile_text};
use crate::support::router::Router;
use crate::support::within_reason;

const UUID: &str = "0174ad1c-7b4c-4b5a-9b1e-2f1a6a1b0c0d";
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/events.jsonl");

fn parse(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// What the router logs of these lines, to which it comes without any other plugin than those.
async fn logged_of(plugins: &[(&str, &str)], lines: &str) -> String {
    let router = Router::new("", plugins);
    let mut process = router.reading(Stdio::null());
    process.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let output = within_reason("the input to end the router", process.wait_with_output()).await;
    let output = output.unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn events_that_go_nowhere_are_told() {
    let line = |key: &str| format!("{}\n", json!({ "routing_key": key, "body": UUID }));
    let lines = [line("person"), line("engagement"), line("org_unit")].concat();
    let logged = logged_of(&[("picky", "subscriptions = ['person']")], &lines).await;
    let told = "2 of 3 events went to no plugin, because none subscribes to them; the first had \
                the routing key \"engagement\"";
    assert!(logged.contains(told), "{logged}");

    let logged = logged_of(&[], &line("person")).await;
    assert!(logged.contains("there is no plugin: put NAME.wasm into /"), "{logged}");
}

#[tokio::test]
async fn lines_in_lines_out() {
    let script = "config = { header = 'colour=blue', answer = 'reject', only = 'please reject' }";
    let router = Router::new("", &[("forward", script)]);
    let mut process = router.reading(Stdio::piped());
    let body = json!({ "uuid": UUID, "time": "2024-07-01T00:00:00+02:00" });
    let refused =
        json!({ "uuid": UUID, "time": "2024-07-01T00:00:00+02:00", "wish": "please reject" });
    let events = [
        json!({ "routing_key": "employee.it.create", "body": body }),
        json!({ "routing_key": "employee.it.create", "body": refused }),
        json!({ "routing_key": "engagement", "body": UUID }),
    ];
    let mut input = process.stdin.take().unwrap();
    for event in &events {
        input.write_all(format!("{event}\n").as_bytes()).await.unwrap();
    }
    drop(input);
    let output = within_reason("the end of input to end the router", process.wait_with_output())
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");

    let lines = parse(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(lines.len(), 3, "{lines:?}");
    let routed: Vec<_> = lines.iter().filter(|line| line.get("dead").is_none()).collect();
    assert_eq!(routed[0]["plugin"], "forward");
    assert_eq!(routed[0]["exchange"], "os2mo_routed");
    assert_eq!(routed[0]["routing_key"], "employee.it.create");
    assert_eq!(routed[0]["body"], body);
    assert_eq!(routed[0]["headers"], json!({ "colour": "blue" }));
    assert_eq!(routed[0]["due"], Value::Null);
    assert!(routed[0]["message_id"].is_string());
    assert_eq!(
        (&routed[1]["routing_key"], &routed[1]["body"]),
        (&"engagement".into(), &UUID.into())
    );
    let dead =
        lines.iter().find_map(|line| line.get("dead")).expect("the rejected one is a dead line");
    assert_eq!((&dead["reason"], &dead["body"]), (&"told to reject".into(), &refused));
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_a_dead_line() {
    let router = Router::new("", &[("forward", "")]);
    let mut process = router.reading(Stdio::piped());
    let good = json!({ "routing_key": "engagement", "body": UUID }).to_string();
    let lines = [b"\xff\xfe", &b"no JSON"[..], b"", good.as_bytes()].join(&b'\n');
    process.stdin.take().unwrap().write_all(&lines).await.unwrap();
    let output = within_reason("the end", process.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = parse(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(lines.len(), 3, "{lines:?}");
    let dead: Vec<&Value> = lines.iter().filter_map(|line| line.get("dead")).collect();
    assert_eq!((&dead[0]["line"], &dead[0]["body_base64"]), (&1.into(), &"//4=".into()));
    assert_eq!((&dead[1]["line"], &dead[1]["body_text"]), (&2.into(), &"no JSON".into()));
    assert!(dead[0]["reason"].as_str().unwrap().contains("UTF-8"), "{dead:?}");
}

#[tokio::test]
async fn an_idle_input_does_not_keep_the_router_from_stopping() {
    let router = Router::new("", &[("forward", "")]);
    let mut process = router.reading(Stdio::null());
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    loop {
        let line = within_reason("the router to be ready", log.next_line()).await.unwrap();
        if line.expect("it goes on").contains("ready") {
            break;
        }
    }
    let id = process.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(id).status().unwrap().success());
    assert!(within_reason("the router to stop", process.wait()).await.unwrap().success());
}

#[tokio::test]
async fn an_output_that_cannot_be_written_ends_the_run() {
    let router = Router::new("", &[("forward", ""), ("late", "config.delay = 1")]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut process = router.reading(full.into());
    let good = json!({ "routing_key": "engagement", "body": UUID }).to_string() + "\n";
    // Its input stays open.
    let mut input = process.stdin.take().unwrap();
    input.write_all(good.as_bytes()).await.unwrap();
    let output = within_reason("the end", process.wait_with_output()).await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("writing standard output"), "{error}");

    let mut process = router.reading(Stdio::piped());
    drop(process.stdout.take());
    let mut input = process.stdin.take().unwrap();
    input.write_all(good.as_bytes()).await.unwrap();
    let output = within_reason("the end", process.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn of_the_dead(lines: &[Value], plugin: &str) -> usize {
    lines.iter().filter(|line| line["dead"]["plugin"] == plugin).count()
}

#[tokio::test]
async fn replay_is_the_same_byte_for_byte_and_waits_for_no_time() {
    // A day of delays is over at once, or `print` would give up.
    let router = Router::new("", &[("forward", ""), ("late", "config.delay = 86400000")]);
    let first = router.print(&["replay", SAMPLES]).await;
    assert_eq!(router.print(&["replay", SAMPLES]).await, first);

    let lines = parse(&first);
    let samples = std::fs::read_to_string(SAMPLES)
        .unwrap()
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    let of = |plugin: &str| {
        let by = |line: &&Value| line["plugin"] == plugin || line["dead"]["plugin"] == plugin;
        lines.iter().filter(by).count()
    };
    for plugin in ["forward", "late"] {
        assert_eq!(of(plugin), samples, "each event is routed or dead");
    }
    let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    let due: Vec<_> = lines.iter().filter_map(|line| line["due"].as_str()).map(time).collect();
    assert_eq!(due.len(), samples - of_the_dead(&lines, "late"));
    assert!(due.is_sorted(), "{due:?}");
}

#[tokio::test]
async fn replay_shows_what_two_versions_do_differently() {
    let router = Router::new("", &[]);
    // Forwards, as the old one does, but to another key.
    let rerouting = hostile_text("well-behaved").replace(
        "    (i32.const 4096)))",
        "    (i32.store8 (i32.const 8204) (i32.const 1)) ;; a routing key,
             (i32.store (i32.const 8208) (i32.const 2064)) (i32.store (i32.const 8212) (i32.const 1))
             (i32.const 4096)))",
    );
    std::fs::write(router.path("old.wasm"), hostile("well-behaved")).unwrap();
    std::fs::write(router.path("new.wasm"), build(&rerouting)).unwrap();
    let events = [
        json!({ "routing_key": "employee.it.create", "body": { "uuid": UUID } }),
        json!({ "routing_key": "employee.it.create", "body": {} }),
    ];
    std::fs::write(router.path("events"), events.map(|event| event.to_string()).join("\n"))
        .unwrap();

    let differ = router.call(&["replay", "events", "--diff", "old.wasm", "new.wasm"]).await;
    assert_eq!(differ.status.code(), Some(1), "{}", String::from_utf8_lossy(&differ.stderr));
    let text = String::from_utf8(differ.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..2], ["--- old.wasm", "+++ new.wasm"]);
    let signed = |sign: &str| lines[2..].iter().filter(|line| line.starts_with(sign)).count();
    assert_eq!((signed("-"), signed("+"), signed(" ")), (1, 1, 1), "{text}");

    let differ =
        router.call(&["replay", "events", "--diff", "old.wasm", "new.wasm", "--json"]).await;
    assert_eq!(differ.status.code(), Some(1));
    let lines = parse(&String::from_utf8(differ.stdout).unwrap());
    let keys: Vec<_> =
        lines.iter().map(|line| (&line["only"], &line["line"]["routing_key"])).collect();
    assert_eq!(keys, [(&"old".into(), &"employee.it.create".into()), (&"new".into(), &"#".into())]);

    let agree = router.call(&["replay", "events", "--diff", "old.wasm", "old.wasm"]).await;
    assert!(agree.status.success() && agree.stdout.is_empty());
}

/// What the router makes of these lines, as `run` prints it.
async fn routed(router: &Router, lines: &str) -> Vec<Value> {
    let mut process = router.reading(Stdio::piped());
    process.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let output = within_reason("the input to end the router", process.wait_with_output()).await;
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse(&String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn what_has_passed_too_often_is_the_same_dead_letter_in_replay() {
    let router = Router::new("[amqp]\nmax_hops = 3", &[("forward", "")]);
    let line = |hops: u32| {
        let headers = json!({ "mo-router-hops": hops });
        let received = "2024-06-03T09:00:00Z";
        let event = json!({
            "received": received, "routing_key": "person", "body": UUID, "headers": headers
        });
        format!("{event}\n")
    };
    let lines = [line(3), line(4)].concat();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &lines).unwrap();
    let replayed = parse(&router.print(&["replay", file.path().to_str().unwrap()]).await);
    let live = routed(&router, &lines).await;
    let dead = |lines: &[Value]| -> Vec<Value> {
        lines.iter().filter_map(|line| line.get("dead")).cloned().collect()
    };
    let (replayed_dead, live_dead) = (dead(&replayed), dead(&live));
    assert_eq!((replayed.len(), replayed_dead.len()), (2, 1), "{replayed:?}");
    let reason = replayed_dead[0]["reason"].as_str().unwrap();
    let expected = "the message has passed the router 4 times, more than [amqp] max_hops (3)";
    assert!(reason.starts_with(expected), "{reason}");
    assert_eq!(replayed_dead, live_dead);
}
