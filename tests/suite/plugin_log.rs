//! What plugins log: from which level on, what is cut, and `mo-router plugin logs`.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::support::plugins::{build, hostile_text};
use crate::support::router::Router;
use crate::support::{ask_until, within_reason};

const UUID: &str = "0174ad1c-7b4c-4b5a-9b1e-2f1a6a1b0c0d";

/// Logs so many lines of so many bytes with each event, which it forwards.
fn logging(lines: u32, level: u32, bytes: u32) -> Vec<u8> {
    let text = hostile_text("log-flood")
        .replace("(i32.const 1000)", &format!("(i32.const {lines})"))
        .replace("(i32.const 120) (i32.const 4096)", "(i32.const 120) (i32.const 8192)")
        .replace(
            "(call $log (i32.const 2) (i32.const 65536) (i32.const 4096) (i32.const 65536) (i32.const 4096))",
            &format!(
                "(call $log (i32.const {level}) (i32.const 65536) (i32.const 3) (i32.const 65536) (i32.const {bytes}))"
            ),
        );
    assert!(text.contains(&format!("(i32.const {bytes}))")), "the text is another one");
    build(&text)
}

const DEBUG: u32 = 1;
const INFO: u32 = 2;

fn event(number: u32) -> String {
    let body = json!({ "uuid": UUID, "time": "2024-07-01T00:00:00+02:00", "number": number });
    json!({ "routing_key": "employee.it.create", "message_id": format!("m{number}"), "body": body })
        .to_string()
        + "\n"
}

/// What the router logs when it has routed one event and ends.
async fn log(router: &Router) -> String {
    let mut process = router.reading(Stdio::piped());
    process.stdin.take().unwrap().write_all(event(1).as_bytes()).await.unwrap();
    let output = within_reason("the end", process.wait_with_output()).await.unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn levels_are_set_by_plugin() {
    for (set, level, is_logged) in [
        ("", DEBUG, false),
        ("log_level = 'debug'", DEBUG, true),
        ("log_level = 'info'", DEBUG, false),
        ("", INFO, true),
        ("log_level = 'warn'", INFO, false),
        ("log_level = 'off'", INFO, false),
    ] {
        let router = Router::new(&format!("[plugin.speaks]\n{set}\n"), &[]);
        router.put("speaks", &logging(1, level, 10));
        let log = log(&router).await;
        assert_eq!(log.contains("xxxxxxxxxx"), is_logged, "{set:?}: {log}");
        // The event that it belongs to.
        let about = format!("uuid={UUID} routing_key=\"employee.it.create\" message_id=\"m1\"");
        assert_eq!(log.contains(&about), is_logged, "{set:?}: {log}");
        assert!(!log.contains("DEBUG mo_router") || is_logged, "{log}");
    }
}

#[tokio::test]
async fn what_is_cut_or_suppressed_is_counted_and_said_at_once() {
    let router = Router::new("", &[]);
    router.put("long", &logging(1, INFO, 5000));
    router.put("much", &logging(1000, INFO, 10));
    let log = log(&router).await;
    assert!(log.contains("x… (904 more bytes are cut)"), "{log}");
    let suppressed: Vec<u64> = log
        .lines()
        .filter_map(|line| line.split_once("suppressed=")?.1.split_whitespace().next())
        .map(|number| number.parse().expect("a number"))
        .collect();
    let written = log.matches("xxxxxxxxxx plugin=\"much\"").count() as u64;
    assert_eq!(suppressed.len(), 2, "{log}");
    assert_eq!(suppressed[0], 1);
    assert_eq!(written + suppressed.iter().sum::<u64>(), 1000);
}

/// The router, reading events from where the test writes them, and its HTTP address.
async fn running(router: &Router) -> (Child, String) {
    let mut process = router.reading(Stdio::null());
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut address = None;
    loop {
        let line = within_reason("the log", log.next_line()).await.unwrap().expect("it goes on");
        if let Some((_, found)) = line.split_once("address=") {
            address = Some(found.to_owned());
        }
        if line.contains(" ready") {
            break;
        }
    }
    // What it logs later is read too, or it would wait.
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (process, address.expect("the log has it"))
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = within_reason("a line", lines.next_line()).await.unwrap().expect("it goes on");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test]
async fn the_running_router_shows_what_a_plugin_logged_and_about_which_event() {
    let router = Router::new("", &[]);
    router.put("speaks", &logging(2, INFO, 10));
    let (mut process, address) = running(&router).await;
    let mut input = process.stdin.take().unwrap();
    let logs = |more: &[&'static str]| {
        let arguments = ["plugin", "logs", "speaks", "--address", &address].map(str::to_owned);
        let more = more.iter().map(ToString::to_string);
        arguments.into_iter().chain(more).collect::<Vec<String>>()
    };
    let print = async |more: &[&'static str]| {
        let arguments = logs(more);
        router.print(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    assert_eq!(print(&[]).await, "");
    input.write_all(event(1).as_bytes()).await.unwrap();
    let shown = ask_until("the first two lines", || async {
        let shown = print(&["--json"]).await;
        (shown.lines().count() == 2).then_some(shown)
    })
    .await;
    let first: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!((&first["message"], &first["level"]), (&"xxxxxxxxxx".into(), &"INFO".into()));
    assert_eq!(
        first["event"],
        json!({ "routing_key": "employee.it.create", "uuid": UUID, "message_id": "m1", "attempt": 1 })
    );
    let text = print(&["--lines", "1"]).await;
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(&format!("INFO  [employee.it.create {UUID}] xxx: xxxxxxxxxx")), "{text}");

    let arguments = logs(&["--follow", "--json", "-n", "1"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut follow = router.command(&arguments);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(line(&mut lines).await["number"], 2);
    input.write_all(event(2).as_bytes()).await.unwrap();
    for number in [3, 4] {
        let line = line(&mut lines).await;
        assert_eq!((&line["number"], &line["event"]["message_id"]), (&number.into(), &"m2".into()));
    }
    // An answer that waits does not keep the router from stopping.
    drop(input);
    assert!(within_reason("the end", process.wait()).await.unwrap().success());

    let (_process, address) = running(&router).await;
    let unknown = router.call(&["plugin", "logs", "unknown", "--address", &address]).await;
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no plugin \"unknown\" was loaded"));
}

#[tokio::test]
async fn lines_that_are_no_longer_kept_are_counted() {
    let router = Router::new("", &[]);
    router.put("speaks", &logging(1000, INFO, 10));
    let (mut process, address) = running(&router).await;
    let mut input = process.stdin.take().unwrap();
    input.write_all(event(1).as_bytes()).await.unwrap();
    // 200 at once, and then some a second; the rest is told.
    let arguments = ["plugin", "logs", "speaks", "--address", &address];
    ask_until("what was suppressed", || async {
        let shown = router.print(&arguments).await;
        (shown.lines().count() >= 202 && shown.contains("the rest is suppressed: 1\n"))
            .then_some(())
    })
    .await;
}
