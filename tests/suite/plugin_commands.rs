//! `mo-router plugin check` and `plugin test`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::plugins::{build, hostile, hostile_text};

/// A folder with these files, where nothing is known of elsewhere.
pub fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = TempDir::new().expect("a folder");
    for (name, content) in files {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().expect("it is in the folder")).expect("made");
        std::fs::write(file, content).expect("written");
    }
    dir
}

/// Runs a command there.
pub fn call(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mo-router"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("MO_ROUTER_PLUGINS_CACHE_DIR", dir.join("cache"))
        .output()
        .expect("it runs")
}

/// All that a command has written.
pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn check_says_what_a_plugin_is_and_tries_it() {
    let dir = folder(&[("good.wasm", &hostile("well-behaved"))]);
    let output = call(dir.path(), &["plugin", "check", "good.wasm", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let report: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["kind"], "a core module with component type information");
    assert_eq!(report["interface"], "1.0.0");
    assert_eq!(report["loaded"]["subscriptions"], serde_json::json!(["#"]));
    let samples = report["samples"].as_array().expect("samples");
    assert!(samples.len() > 10);
    assert!(samples.iter().all(|sample| sample["outcome"]["publishes"] == 1), "{samples:?}");
    assert!(
        text(&call(dir.path(), &["plugin", "check", "good.wasm"])).contains("publishes 1 message")
    );
}

#[test]
fn check_says_how_long_calls_take_and_what_would_be_slow() {
    // Counts to fifty million in every call.
    let counts = hostile_text("well-behaved").replace(
        "    (i32.const 4096)))",
        "(local $left i32) (local.set $left (i32.const 50000000))
         (loop (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
         (i32.const 4096)))",
    );
    let dir = folder(&[("quick.wasm", &hostile("well-behaved")), ("slow.wasm", &build(&counts))]);
    std::fs::write(dir.path().join("mo-router.toml"), "limits.timeout = \"1min\"\n")
        .expect("written");
    let quick = call(dir.path(), &["plugin", "check", "quick.wasm"]);
    assert!(quick.status.success() && text(&quick).contains("a call takes"), "{}", text(&quick));
    let quick = call(dir.path(), &["plugin", "check", "quick.wasm", "--json"]);
    let report: Json = serde_json::from_slice(&quick.stdout).expect("JSON");
    assert!(report["pace"]["median_us"].as_f64().is_some_and(|median| median > 0.0), "{report}");
    assert!(report["pace"]["calls"].as_u64().is_some_and(|calls| calls > 0), "{report}");

    // It warns of it, and that is no failure.
    let slow = call(dir.path(), &["plugin", "check", "slow.wasm"]);
    assert!(slow.status.success(), "{}", text(&slow));
    for expected in ["SLOW", "events a second at most: do once, outside of route"] {
        assert!(text(&slow).contains(expected), "{expected} in\n{}", text(&slow));
    }
}

#[test]
fn check_fails_on_what_does_not_load_or_breaks() {
    let loops = hostile_text("well-behaved")
        .replace("    (i32.const 4096)))", "(loop (br 0)) (unreachable)))");
    // What MO sends rarely, and no sample of every plugin's is.
    let own = loops.replace("\\10\\08\\00\\00\\01", "\\10\\08\\00\\00\\0f");
    let own =
        own.replace("(data (i32.const 2064) \"#\")", "(data (i32.const 2064) \"employee.role.#\")");
    assert!(own.contains("\\0f") && own.contains("role"));
    let files = [
        ("loops.wasm", build(&loops)),
        ("own.wasm", build(&own)),
        ("script.wasm", b"#!/bin/sh\n".to_vec()),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, file)| (*name, &file[..])).collect();
    let dir = folder(&files);
    std::fs::write(dir.path().join("mo-router.toml"), "[limits]\ntimeout = \"20ms\"\n")
        .expect("written");
    for (file, expected) in [
        ("loops.wasm", "BREAKS: took longer than 20ms ([limits] timeout)"),
        ("own.wasm", "BREAKS: took longer than 20ms ([limits] timeout)"),
        ("script.wasm", "the file is text, but not WebAssembly text"),
        ("missing.wasm", "reading missing.wasm"),
    ] {
        let output = call(dir.path(), &["plugin", "check", file]);
        assert!(!output.status.success());
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
}

/// Forwards each event in an hour.
fn waits() -> Vec<u8> {
    let text = hostile_text("well-behaved").replace(
        "    (i32.const 4096)))",
        "    (i32.store8 (i32.const 8240) (i32.const 2))
             (i64.store (i32.const 8248) (i64.const 3600000)) (i32.const 4096)))",
    );
    build(&text)
}

const CASES: &[u8] = br#"
[[case]]
name = "it leaves an hour later"
at = "2030-01-01T12:00:00Z"
events = [
    { routing_key = "employee.it.create", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b", time = "2029-01-01T00:00:00Z" } },
]
publishes = [
    { routing_key = "employee.it.create", at = "2030-01-01T13:00:00Z", due = "2030-01-01T13:00:00Z" },
]

[[case]]
name = "what is no event is a dead letter"
events = [ { routing_key = "employee.it.create", body = {} } ]
publishes = [ { dead = { reason = "the body has no uuid" } } ]
"#;

#[test]
fn cases_pass_on_a_virtual_clock() {
    let json = br#"{"plugin": {"exchanges": ["elsewhere"]}, "case": [{"name": "nothing in, nothing out", "events": []}]}"#;
    let dir = folder(&[
        ("build/waits.wasm", &waits()),
        ("waits.cases.toml", CASES),
        ("build/waits.cases.json", json),
    ]);
    for path in [".", "build/waits.wasm"] {
        let output = call(dir.path(), &["plugin", "test", path]);
        assert!(output.status.success(), "{}", text(&output));
        assert!(text(&output).contains("3 of 3 cases passed"), "{}", text(&output));
    }
}

#[test]
fn a_case_that_fails_shows_the_difference() {
    let wrong = String::from_utf8_lossy(CASES).replace("13:00:00Z\", due", "14:00:00Z\", due");
    let dir = folder(&[("waits.wasm", &waits()), ("waits.cases.toml", wrong.as_bytes())]);
    let output = call(dir.path(), &["plugin", "test", "waits.wasm"]);
    assert!(!output.status.success());
    for expected in [
        "FAIL  waits: it leaves an hour later",
        "-     \"at\": \"2030-01-01T14:00:00Z\"",
        "+     \"at\": \"2030-01-01T13:00:00Z\"",
        "ok    waits: what is no event is a dead letter",
        "1 of 2 cases passed",
    ] {
        assert!(text(&output).contains(expected), "{expected} in\n{}", text(&output));
    }
}

#[test]
fn no_cases_is_an_error() {
    let dir = folder(&[("waits.wasm", &waits())]);
    let output = call(dir.path(), &["plugin", "test", "."]);
    assert!(!output.status.success());
    assert!(text(&output).contains("NAME.cases.toml"), "{}", text(&output));
}
