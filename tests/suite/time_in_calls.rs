//! Time within a call passes in the same way in the router, in tests and in a replay.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::event::Failure;
use mo_router::plugins::Host;
use mo_router::scaffold::{self, Language};

use super::plugin_commands::{call, folder, text};
use crate::support::languages;
use crate::support::plugins::{build, event, hostile, hostile_text, load_on, settings};

const EVENT: &str = r#"{"routing_key": "employee.it.create", "body": {"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b"}}"#;

/// Forwards each event after 50 ms by both of its clocks, for which it `waits`; traps if they
/// do not show it.
fn patient(waits: &str) -> Vec<u8> {
    let read = |clock: u32, at: u32| {
        format!("(drop (call $time (i32.const {clock}) (i64.const 0) (i32.const {at})))")
    };
    let [wall, monotonic, wall_then, monotonic_then] =
        [read(0, 6400), read(1, 6408), read(0, 6416), read(1, 6424)];
    let passed = |before: u32, after: u32| {
        format!(
            "(if (i64.lt_s (i64.sub (i64.load (i32.const {after})) (i64.load (i32.const {before})))
                           (i64.const 50000000)) (then (unreachable)))"
        )
    };
    let route = format!(
        "{wall} {monotonic} {waits} {wall_then} {monotonic_then} {} {} (i32.const 4096)))",
        passed(6400, 6416),
        passed(6408, 6424)
    );
    // What the adapter allocates must not lie where the event does.
    let text = hostile_text("well-behaved")
        .replace(
            "(result i32) (i32.const 32768))",
            "(result i32)
               (global.get $next)
               (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7))
                                          (i32.const -8))))
             (global $next (mut i32) (i32.const 32768))",
        )
        .replace(
            "(module\n",
            r#"(module
                (import "wasi_snapshot_preview1" "poll_oneoff"
                    (func $poll (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "clock_time_get"
                    (func $time (param i32 i64 i32) (result i32)))
                ;; A subscription: a clock (0), the monotonic one (1), 50 ms from now.
                (data (i32.const 6160) "\01")
                (data (i32.const 6168) "\80\f0\fa\02\00\00\00\00")
            "#,
        )
        .replace("    (i32.const 4096)))", &route);
    build(&text)
}

const SLEEPS: &str =
    "(drop (call $poll (i32.const 6144) (i32.const 7168) (i32.const 1) (i32.const 7424)))";
/// Reads the monotonic clock until it shows 50 ms more.
const READS: &str = "
    (loop
      (drop (call $time (i32.const 1) (i64.const 0) (i32.const 6432)))
      (br_if 0 (i64.lt_s (i64.sub (i64.load (i32.const 6432)) (i64.load (i32.const 6408)))
                         (i64.const 50000000))))
    (loop
      (drop (call $time (i32.const 0) (i64.const 0) (i32.const 6432)))
      (br_if 0 (i64.lt_s (i64.sub (i64.load (i32.const 6432)) (i64.load (i32.const 6400)))
                         (i64.const 50000000))))";

#[test]
fn a_plugin_that_waits_works_in_the_router_in_tests_and_in_a_replay() {
    let cases = format!(
        "{{\"case\": [{{\"name\": \"it waits\", \"events\": [{EVENT}, {EVENT}], \"publishes\": [{{\"plugin\": \"p\"}}, {{\"plugin\": \"p\"}}]}}]}}"
    );
    let events = format!("{EVENT}\n{EVENT}\n");
    for (what, waits) in [("sleeps", SLEEPS), ("reads", READS)] {
        let dir = folder(&[
            ("plugins/p.wasm", &patient(waits)),
            ("plugins/p.cases.json", cases.as_bytes()),
            ("events", events.as_bytes()),
            ("mo-router.toml", b"limits.timeout = '1min'\nhttp.listen = '127.0.0.1:0'\n"),
        ]);
        let tested = call(dir.path(), &["plugin", "test", "plugins"]);
        assert!(tested.status.success(), "{what}: {}", text(&tested));
        let replayed = call(dir.path(), &["replay", "events"]);
        let lines = String::from_utf8_lossy(&replayed.stdout).into_owned();
        assert!(
            lines.lines().count() == 2 && !lines.contains("dead"),
            "{what}: {}",
            text(&replayed)
        );
        // The same each time, and an event's time is its own.
        assert_eq!(call(dir.path(), &["replay", "events"]).stdout, replayed.stdout, "{what}");
        assert_eq!(lines.matches("\"at\":\"1970-01-01T00:00:00Z\"").count(), 2, "{what}: {lines}");

        let mut router = Command::new(env!("CARGO_BIN_EXE_mo-router"))
            .arg("run")
            .current_dir(dir.path())
            .env_clear()
            .env("MO_ROUTER_PLUGINS_CACHE_DIR", dir.path().join("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut input = router.stdin.take().expect("its input is ours");
        input.write_all(events.as_bytes()).expect("it reads");
        drop(input);
        let run = router.wait_with_output().expect("it ends");
        let lines = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(lines.lines().count() == 2 && !lines.contains("dead"), "{what}: {}", text(&run));
    }
}

#[tokio::test]
async fn sleeping_beyond_the_time_limit_breaks_the_call_on_a_virtual_clock_too() {
    let clock = Clock::starting_at("2031-05-01T12:00:00Z".parse().expect("a time"));
    let host = Arc::new(Host::new(None, clock).expect("WebAssembly runs here"));
    let mut settings = settings();
    settings.limits.timeout = Duration::from_millis(200);
    let plugin = load_on(&host, hostile("sleeps"), &settings).await.expect("it loads");
    match plugin.instance().route(&event(), 1).await {
        Err(Failure::Broken(reason, _)) => {
            assert!(reason.contains("took longer than 200ms ([limits] timeout)"), "{reason}");
        }
        other => panic!("it wakes: {other:?}"),
    }
}

const RUST: &str = r#"
mod router;

use router::{Event, Failure, Publication, now, random};

fn subscriptions() -> Vec<String> {
    vec!["employee.#".to_owned()]
}

fn route(_: Event) -> Result<Vec<Publication>, Failure> {
    let headers = vec![
        ("now".to_owned(), now().seconds.to_string().into()),
        ("differ".to_owned(), (random() != random()).to_string().into()),
    ];
    Ok(vec![Publication { headers, ..Default::default() }])
}

#[cfg(test)]
mod tests {
    use super::router::{Datetime, host};
    use super::*;

    #[test]
    fn it_says_when() {
        assert!(now().seconds > 1_700_000_000);
        host::at(Datetime { seconds: 5, nanoseconds: 0 });
        let sent = route(Event::default()).unwrap();
        assert_eq!(sent[0].headers[0].1.text(), Some("5"));
    }
}
"#;

const NOON: &str = r#"
[[case]]
name = "it is noon"
at = "2026-06-02T12:00:00Z"
events = [ { routing_key = "employee.it.create", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b" } } ]
publishes = [ { headers = { now = "1780401600", differ = "true" } } ]
"#;

/// Rust has no clock for its target.
#[test]
fn a_plugin_in_rust_asks_the_router_for_the_time_and_for_randomness() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = scaffold::write("clock", Language::Rust, parent.path()).expect("a new project");
    std::fs::write(folder.join("src/lib.rs"), RUST).expect("written");
    std::fs::write(folder.join("clock.cases.toml"), NOON).expect("written");
    languages::build(&folder);
}
