//! The sandbox holds: whatever a plugin does, the call ends, the message names
//! what it did, and others go on.

use std::sync::Arc;
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::event::{Datetime, Due, Failure, Publication};
use mo_router::plugins::{Host, Kind};
use mo_router::settings::{InstanceMode, PluginSettings};

use crate::support::plugins::{
    build, build_for, build_version, event, host, hostile, hostile_text, load, load_on, settings,
};

/// Little time for each call.
fn impatient() -> PluginSettings {
    let mut settings = settings();
    settings.limits.timeout = Duration::from_millis(200);
    settings
}

/// What calling a hostile plugin comes to.
async fn breaks(name: &str, settings: &PluginSettings) -> String {
    let plugin = load(hostile(name), settings).await.expect("it loads");
    let mut instance = plugin.instance();
    let first = broken(instance.route(&event(), 1).await);
    // The next event finds a new instance, which does the same.
    assert_eq!(broken(instance.route(&event(), 2).await), first, "{name}");
    first
}

fn broken(answer: Result<Vec<Publication>, Failure>) -> String {
    match answer {
        Err(Failure::Broken(reason, _)) => reason,
        other => panic!("not broken: {other:?}"),
    }
}

/// Why content does not load.
async fn refused(content: impl Into<Vec<u8>>, settings: &PluginSettings) -> String {
    match load(content.into(), settings).await {
        Ok(_) => panic!("it loads"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_is_named_with_its_limit() {
    for (name, expected) in [
        ("loop-in-route", "took longer than 200ms ([limits] timeout)"),
        ("sleeps", "took longer than 200ms ([limits] timeout)"),
        ("chatters", "took longer than 200ms ([limits] timeout)"),
        ("memory-at-once", "asked for more than 128.0 MiB of memory ([limits] memory)"),
        ("memory-by-and-by", "asked for more than 128.0 MiB of memory ([limits] memory)"),
        ("garbage", "asked for more than 128.0 MiB of memory ([limits] memory)"),
        ("table", "asked for more than 128.0 MiB of memory ([limits] memory)"),
        ("recursion", "recursed deeper than its stack of 1 MiB"),
        ("million", "([limits] max_output, max_publications)"),
        (
            "many",
            "returned 2000 publications, more than the limit of 1000 ([limits] max_publications)",
        ),
        (
            "huge",
            "returned publications of 19.1 MiB, more than the limit of 16.0 MiB ([limits] max_output)",
        ),
        ("log-too-large", "to the router in one call, such as a message for the log"),
        ("same-bytes-again", "([limits] max_output, max_publications)"),
        ("trap-unreachable", "trapped: wasm `unreachable` instruction executed"),
        ("trap-division", "trapped: integer divide by zero"),
        ("trap-overflow", "trapped: integer overflow"),
        ("trap-conversion", "trapped: invalid conversion to integer"),
        ("trap-memory", "trapped: out of bounds memory access"),
        ("trap-table", "trapped: undefined element: out of bounds table access"),
        ("trap-null", "trapped: uninitialized element"),
        ("trap-signature", "trapped: indirect call type mismatch"),
        ("not-utf-8", "returned an invalid value: invalid utf-8"),
        ("logs-not-utf-8", "passed an invalid value to the router: invalid utf-8"),
        ("beyond-memory", "returned an invalid value: list pointer/length out of bounds"),
        ("no-such-case", "returned an invalid value: invalid expected discriminant"),
        ("no-such-time", "invalid due time: 0 seconds and 2000000000 nanoseconds"),
        ("nowhere-to-write", "did not allocate memory for the event"),
        ("exits", "the plugin called exit(3)"),
        ("last-words", "; stderr: thread panicked: no unit of the id"),
        ("random", "random bytes at once: requested len 2097152 exceeds limit 1048576"),
    ] {
        // What is not about time has time enough, however busy the machine.
        let settings = if expected.contains("timeout") { impatient() } else { settings() };
        let reason = breaks(name, &settings).await;
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_are_counted() {
    let text = hostile_text("well-behaved")
        .replace(
            "(module\n",
            "(module (import \"wasi:clocks/monotonic-clock@0.2.0\" \"subscribe-duration\"
               (func $timer (param i64) (result i32)))\n",
        )
        .replace(
            "    (i32.const 4096)))",
            "    (local $count i32)
                 (loop
                   (drop (call $timer (i64.const 1000000000000)))
                   (local.set $count (i32.add (local.get $count) (i32.const 1)))
                   (br_if 0 (i32.lt_u (local.get $count) (i32.const 1000000))))
                 (i32.const 4096)))",
        );
    let packages = [
        "package wasi:io@0.2.0; interface poll { resource pollable; }",
        "package wasi:clocks@0.2.0; interface monotonic-clock {
           use wasi:io/poll@0.2.0.{pollable};
           subscribe-duration: func(when: u64) -> pollable;
         }",
    ];
    let plugin = with_imports(&text, "import wasi:clocks/monotonic-clock@0.2.0;", &packages);
    let plugin = load(plugin, &settings()).await.expect("it loads");
    let reason = broken(plugin.instance().route(&event(), 1).await);
    assert!(reason.starts_with("holds more than 10000 streams, timers"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_a_reason_says_which_failure_it_is() {
    // An error, of the first or the second kind, with empty text.
    for (kind, expected) in [
        (0, Failure::Retry("the plugin answered `retry` without a reason".into())),
        (1, Failure::Reject("the plugin answered `reject` without a reason".into())),
    ] {
        let text = hostile_text("well-behaved").replace(
            "    (i32.const 4096)))",
            &format!(
                "(i32.store8 (i32.const 4096) (i32.const 1))
                 (i32.store8 (i32.const 4100) (i32.const {kind}))
                 (i32.store (i32.const 4108) (i32.const 0))
                 (i32.const 4096)))"
            ),
        );
        let plugin = load(build(&text), &settings()).await.expect("it loads");
        assert_eq!(plugin.instance().route(&event(), 1).await, Err(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_while_it_loads_is_refused() {
    for (name, expected) in [
        ("loop-in-subscriptions", "its subscriptions: took longer than 200ms ([limits] timeout)"),
        ("loop-in-start", "does not start: took longer than 200ms ([limits] timeout)"),
        (
            "memory-from-the-start",
            "does not start: it needs 2.0 GiB of memory to start; [limits] memory is 128.0 MiB",
        ),
        ("many-patterns", "subscribes to 5000 patterns"),
        ("long-pattern", "of 300 bytes: a pattern has 1 to 255"),
    ] {
        let settings = if expected.contains("timeout") { impatient() } else { settings() };
        let reason = refused(hostile(name), &settings).await;
        assert!(reason.starts_with("plugin test (plugins/test.wasm): "), "{name}: {reason}");
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_told_so_with_the_mend() {
    let good = hostile("well-behaved");
    let component = wit_component::ComponentEncoder::default()
        .module(&good)
        .and_then(|mut encoder| encoder.encode())
        .expect("a component");
    let program = std::fs::read(std::env::current_exe().expect("this program")).expect("its file");
    let untyped = wat::parse_str(hostile_text("well-behaved")).expect("a module");
    for (content, expected) in [
        (vec![], "the file is empty: copy it again"),
        (good[..3].to_vec(), "cut off after 3 bytes"),
        (good[..100].to_vec(), "cut off after 100 bytes"),
        (component[..200].to_vec(), "cut off after 200 bytes"),
        (program, "a native executable (ELF, as on Linux), not WebAssembly"),
        (b"MZ\x90\x00\x03\x00\x00\x00\xff".to_vec(), "a native executable (PE, as on Windows)"),
        (vec![0xcf, 0xfa, 0xed, 0xfe, 7], "a native executable (Mach-O, as on macOS)"),
        (
            b"def route(event):\n    return []\n".to_vec(),
            "the file is text, but not WebAssembly text",
        ),
        (b"(module (func $open".to_vec(), "not valid WebAssembly text: expected `)` at 1:20"),
        (vec![0x1f, 0x8b, 8, 0xff], "it begins with 1f 8b 08 ff, but a .wasm file begins with"),
        (b"\0asm\x09\0\0\0".to_vec(), "the file is damaged"),
        (
            untyped,
            "a core WebAssembly module without component type information: build it with \
             wit-bindgen's bindings for the world os2mo:router/plugin, or as a component",
        ),
        (
            b"(component)".to_vec(),
            "not a plugin: it exports nothing, but a plugin exports os2mo:router/filter@1.1.0: build \
             it for the world plugin of the router's wit folder",
        ),
    ] {
        let reason = refused(content, &settings()).await;
        assert!(reason.contains(expected), "{reason}");
    }
}

/// A plugin of `text` with `more` in its world.
fn with_imports(text: &str, more: &str, packages: &[&str]) -> Vec<u8> {
    let world =
        format!("package test:plugin; world wide {{ include os2mo:router/plugin@1.0.0; {more} }}");
    let packages: Vec<&str> = packages.iter().copied().chain([world.as_str()]).collect();
    build_for(text, "wide", &packages)
}

#[tokio::test(flavor = "multi_thread")]
async fn common_mistakes_are_told_with_the_mend() {
    let good = hostile_text("well-behaved");
    let forgotten = good.replace("#route", "#rout");
    let other = build_for(
        "(module (func (export \"test:other/thing#route\") (param i32)))",
        "other",
        &[
            "package test:other; interface thing { route: func(a: u32); } world other { export thing; }",
        ],
    );
    let http = good.replace(
        "(module\n",
        "(module (import \"wasi:http/outgoing-handler@0.2.0\" \"handle\" (func))\n",
    );
    let http = with_imports(
        &http,
        "import wasi:http/outgoing-handler@0.2.0;",
        &["package wasi:http@0.2.0; interface outgoing-handler { handle: func(); }"],
    );
    let unknown = good.replace("(module\n", "(module (import \"acme:db/sql\" \"query\" (func))\n");
    let unknown = with_imports(
        &unknown,
        "import acme:db/sql;",
        &["package acme:db; interface sql { query: func(); }"],
    );
    for (content, expected) in [
        (
            build(&forgotten),
            "the plugin lacks a function (failed to find export of interface \
             `os2mo:router/filter@1.0.0` function `route`): implement it and rebuild",
        ),
        (
            other,
            "it exports test:other/thing, but a plugin exports os2mo:router/filter@1.1.0: build it \
             for the world plugin of the router's wit folder",
        ),
        (
            build_version(&good, "1.2.0"),
            "built against os2mo:router@1.2.0, but this router supports os2mo:router@1.0.0 and 1.1.0: \
             update the router, or build the plugin against the router's wit folder",
        ),
        (
            build_version(&good, "2.0.0"),
            "built against os2mo:router@2.0.0, but this router supports os2mo:router@1.0.0 and 1.1.0: \
             build the plugin against the router's wit folder",
        ),
        (
            http,
            "imports wasi:http/outgoing-handler@0.2.0, which is not available, because plugins have no \
             network: return a publication, and let a program that consumes it make the request",
        ),
        (
            unknown,
            "imports acme:db/sql, which is not available: build it without; a plugin may import WASI \
             0.2, wasi:logging and wasi:config/store",
        ),
    ] {
        let reason = refused(content, &settings()).await;
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_patch_of_the_interface_works() {
    let older = build_version(&hostile_text("well-behaved"), "1.0.0");
    assert_eq!(
        load(older, &settings()).await.expect("it loads").interface_version.to_string(),
        "1.0.0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_be_a_module_a_component_or_text() {
    let module = hostile("well-behaved");
    let component = wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("a component");
    let text = wasmprinter::print_bytes(&component).expect("text");
    for (content, kind) in
        [(module, Kind::Module), (component, Kind::Component), (text.into_bytes(), Kind::Component)]
    {
        let plugin = load(content, &settings()).await.expect("it loads");
        assert_eq!(plugin.kind, kind);
        assert_eq!(plugin.subscriptions, ["#"]);
        assert_eq!(plugin.version.len(), 12);
        let answer = plugin.instance().route(&event(), 1).await;
        assert_eq!(answer, Ok(vec![Publication { due: Due::Now, ..Publication::default() }]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_sees_no_files_environment_or_arguments() {
    let plugin = load(hostile("looks-around"), &settings()).await.expect("it loads");
    assert_eq!(plugin.instance().route(&event(), 1).await, Ok(vec![]));
}

/// Two workers, one of which a guest wants for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_while_a_plugin_loops() {
    let host = host();
    let bad = load_on(&host, hostile("loop-in-route"), &settings()).await.expect("it loads");
    let good = load_on(&host, hostile("well-behaved"), &settings()).await.expect("it loads");
    let looping = tokio::spawn(async move { bad.instance().route(&event(), 1).await });
    let others = tokio::spawn(async move {
        let mut instance = good.instance();
        for _ in 0..1000 {
            instance.route(&event(), 1).await.expect("it goes on");
            tokio::task::yield_now().await;
        }
    });
    others.await.expect("the router lives");
    assert!(!looping.is_finished());
    looping.abort();
}

/// One worker: it is shared.
#[tokio::test(flavor = "current_thread")]
async fn a_plugin_that_loops_gives_its_thread_back() {
    let plugin = load(hostile("loop-in-route"), &settings()).await.expect("it loads");
    let mut instance = plugin.instance();
    let event = event();
    let routing = instance.route(&event, 1);
    tokio::pin!(routing);
    for _ in 0..10 {
        tokio::select! {
            biased;
            answer = &mut routing => panic!("it answers: {answer:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let plugin = load(hostile("sleeps"), &impatient()).await.expect("it loads");
    let mut instance = plugin.instance();
    let event = event();
    tokio::select! {
        biased;
        answer = instance.route(&event, 1) => panic!("it answers: {answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert!(broken(instance.route(&event, 1).await).contains("[limits] timeout"));
}

#[tokio::test]
async fn a_fresh_instance_remembers_nothing() {
    // Answers as many publications as it has had events.
    let counts = build(&hostile_text("well-behaved").replace(
        "(i32.const 4096)))",
        "(i32.store (i32.const 4104) (global.get $events))
         (global.set $events (i32.add (global.get $events) (i32.const 1)))
         (i32.const 4096))
         (global $events (mut i32) (i32.const 1)))",
    ));
    for (mode, expected) in [(InstanceMode::Kept, [1, 2, 3]), (InstanceMode::Fresh, [1, 1, 1])] {
        let mut settings = settings();
        settings.instance = mode;
        let mut instance = load(counts.clone(), &settings).await.expect("it loads").instance();
        for expected in expected {
            let answer = instance.route(&event(), 1).await.expect("it answers");
            assert_eq!(answer.len(), expected, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn a_plugin_reads_the_routers_clock() {
    // Answers one publication that is due now, by its clock.
    let text = hostile_text("well-behaved")
        .replace("(module\n", "(module (import \"wasi:clocks/wall-clock@0.2.0\" \"now\" (func $now (param i32)))\n")
        .replace(
            "    (i32.const 4096)))",
            "(call $now (i32.const 8248)) (i32.store8 (i32.const 8240) (i32.const 1)) (i32.const 4096)))",
        );
    let plugin = with_imports(
        &text,
        "import wasi:clocks/wall-clock@0.2.0;",
        &["package wasi:clocks@0.2.0;
           interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }"],
    );
    let clock = Clock::starting_at("2031-05-01T12:00:00Z".parse().expect("a time"));
    let host = Arc::new(Host::new(None, clock.clone()).expect("WebAssembly runs here"));
    let mut instance = load_on(&host, plugin, &settings()).await.expect("it loads").instance();
    for time in ["2031-05-01T12:00:00Z", "2042-01-01T00:00:00.5Z"] {
        let time: Datetime = time.parse().expect("a time");
        clock.set(time);
        let answer = instance.route(&event(), 1).await.expect("it answers");
        assert_eq!(answer[0].due, Due::At(time));
    }
}
