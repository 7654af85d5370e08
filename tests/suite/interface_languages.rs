//! The properties of 1.1.0 in each language: a new project, changed into a plugin of
//! `tests/plugins/mirror`, which reads an event's properties and headers of several types, and sets
//! its own.

use mo_router::event::{Event, Failure, Incoming, OwnProperties, Properties, Publication, Value};
use mo_router::scaffold::Language;

use crate::support::languages::{self, has_tools};
use crate::support::plugins;

fn table(entries: &[(&str, Value)]) -> Value {
    Value::Table(entries.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

fn event() -> Event {
    let text = |text: &str| Some(text.to_owned());
    let death = table(&[("count", Value::Int64(1)), ("queue", "q".into())]);
    let properties = Properties {
        content_type: text("application/json"),
        content_encoding: text("gzip"),
        priority: Some(3),
        message_id: text("m-1"),
        timestamp: Some(1_767_225_600),
        kind: text("event"),
        headers: [
            ("count", Value::Int(3)),
            ("deaths", Value::List(vec![death])),
            ("since", Value::Timestamp(5)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        ..Properties::default()
    };
    let message = Incoming {
        routing_key: "employee.it.create".into(),
        properties: properties.into(),
        body: r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b"}"#.into(),
        ..Incoming::default()
    };
    Event::parse(message, chrono_tz::UTC).expect("an event of MO")
}

/// What each of them answers.
fn expected() -> Publication {
    let text = |text: &str| Some(text.to_owned());
    let properties = OwnProperties {
        content_type: text("text/plain"),
        content_encoding: text(""),
        priority: Some(4),
        correlation_id: text("m-1"),
        expiration: text("60000"),
        timestamp: Some(1_767_225_601),
        kind: text("event!"),
        ..OwnProperties::default()
    };
    let queues = Value::List(vec!["q".into(), table(&[("n", Value::Int(1))])]);
    let headers = [
        ("text", "a".into()),
        ("count", Value::Int(4)),
        ("since", Value::Timestamp(5)),
        ("queues", queues),
    ];
    Publication {
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        properties: Some(Box::new(properties)),
        ..Publication::default()
    }
}

async fn answer(plugin: Vec<u8>, event: &Event) -> Result<Vec<Publication>, Failure> {
    let host = plugins::compiling_host();
    let plugin =
        plugins::load_on(&host, plugin, &plugins::settings()).await.expect("the plugin loads");
    assert_eq!(plugin.interface_version.to_string(), "1.1.0");
    plugin.instance().route(event, 1).await
}

/// A new project with this content in its main file reads and sets everything.
async fn reads_and_sets(language: Language, file: &str, content: &str) {
    let plugin = languages::project(language, |folder| {
        std::fs::write(folder.join(file), content).expect("written");
    });
    assert_eq!(answer(plugin, &event()).await, Ok(vec![expected()]), "{language:?}");
}

const RUST: &str = include_str!("../plugins/mirror/lib.rs");

#[tokio::test]
async fn rust() {
    reads_and_sets(Language::Rust, "src/lib.rs", RUST).await;
}

const PYTHON: &str = include_str!("../plugins/mirror/plugin.py");

/// What Python and JavaScript cannot convert is named.
async fn names_the_header(language: Language, file: &str, content: &str, expected: &str) {
    let plugin = languages::project(language, |folder| {
        std::fs::write(folder.join(file), content).expect("written");
    });
    match answer(plugin, &event()).await {
        Err(Failure::Broken(reason, _)) => assert!(reason.contains(expected), "{reason}"),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn python() {
    if !has_tools("python") {
        return;
    }
    reads_and_sets(Language::Python, "plugin.py", PYTHON).await;
    let wrong = PYTHON.replace("{\"n\": deaths[0][\"count\"]}", "{\"n\": object}");
    let expected = "publications[0].headers[3][1][1]['n']: expected None, bool, int, float, str, bytes, \
                    a list, a dict or types.Value_*, got type <class 'object'>";
    names_the_header(Language::Python, "plugin.py", &wrong, expected).await;
}

const JAVASCRIPT: &str = include_str!("../plugins/mirror/plugin.js");

#[tokio::test]
async fn javascript() {
    if !has_tools("javascript") {
        return;
    }
    reads_and_sets(Language::JavaScript, "plugin.js", JAVASCRIPT).await;
    let wrong = JAVASCRIPT.replace("{ n: deaths[0].count }", "{ n: () => 1 }");
    let expected = "publications[0].headers[3][1][1].n: expected null, a boolean, number, BigInt, \
                    string, Uint8Array, list or object, got function";
    names_the_header(Language::JavaScript, "plugin.js", &wrong, expected).await;
}

const TYPESCRIPT: &str = include_str!("../plugins/mirror/plugin.ts");

const TYPESCRIPT_TEST: &str = r"
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { filter } from './plugin';

test('it wants employees', () => assert.deepEqual(filter.subscriptions(), ['employee.#']));
";

#[tokio::test]
async fn typescript() {
    if !has_tools("javascript") {
        return;
    }
    let plugin = languages::project(Language::TypeScript, |folder| {
        std::fs::write(folder.join("plugin.ts"), TYPESCRIPT).expect("written");
        std::fs::write(folder.join("plugin.test.ts"), TYPESCRIPT_TEST).expect("written");
        // With the checks of TypeScript's compiler.
        languages::make(folder, &["unit-test"]);
    });
    assert_eq!(answer(plugin, &event()).await, Ok(vec![expected()]));
}

const GO: &str = include_str!("../plugins/mirror/filter.go");

#[tokio::test]
async fn go() {
    if !has_tools("go") {
        return;
    }
    reads_and_sets(Language::Go, "filter/filter.go", GO).await;
}

const C: &str = include_str!("../plugins/mirror/plugin.c");

#[tokio::test]
async fn c() {
    if !has_tools("c") {
        return;
    }
    reads_and_sets(Language::C, "plugin.c", C).await;
}

#[tokio::test]
async fn cpp() {
    if !has_tools("zig") {
        return;
    }
    let mirror = include_str!("../plugins/mirror/plugin.cpp");
    reads_and_sets(Language::Cpp, "plugin.cpp", mirror).await;
}

#[tokio::test]
async fn zig() {
    if !has_tools("zig") {
        return;
    }
    let mirror = include_str!("../plugins/mirror/plugin.zig");
    reads_and_sets(Language::Zig, "src/plugin.zig", mirror).await;
}
