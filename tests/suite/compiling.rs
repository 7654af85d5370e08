//! Files are compiled in a process of its own, within limits: what a file makes of the
//! compiler reaches neither the router nor its other plugins.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::event::Publication;
use mo_router::plugins::{Host, Kind, MachineFault};
use mo_router::settings::PluginSettings;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use uuid::Uuid;

use crate::support::memory::memory;
use crate::support::monsters::{by_structure, large, slow};
use crate::support::plugins::{
    build, event, hostile, hostile_text, load_on, marked, settings, stamped,
};
use crate::support::router::{ROUTER, Router};
use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::threads::threads;
use crate::support::traffic::numbered;
use crate::support::{ask_until, within_reason};

/// Longer than compiling takes on any machine.
const HOUR: Duration = Duration::from_secs(3600);

/// A host without a cache that compiles as the router does.
fn host() -> Arc<Host> {
    let host = Host::new(None, Clock::system()).expect("a host");
    Arc::new(host.compiling_by(ROUTER.into()))
}

async fn refused(content: Vec<u8>, settings: &PluginSettings) -> String {
    match load_on(&host(), content, settings).await {
        Ok(_) => panic!("it loads"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compiled_apart_is_the_same_plugin() {
    let module = hostile("well-behaved");
    let component = wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("a component");
    let text = wasmprinter::print_bytes(&component).expect("text").into_bytes();
    let cache = TempDir::new().expect("a folder");
    for (content, kind) in
        [(module, Kind::Module), (component, Kind::Component), (text, Kind::Component)]
    {
        for cached in [false, true] {
            let host = Host::new(Some(cache.path().join("code")), Clock::system()).expect("a host");
            let host = Arc::new(host.compiling_by(ROUTER.into()));
            let plugin = load_on(&host, content.clone(), &settings()).await.expect("it loads");
            assert_eq!((plugin.kind, plugin.cached), (kind, cached));
            let answer = plugin.instance().route(&event(), 1).await;
            assert_eq!(answer, Ok(vec![Publication::default()]));
        }
        let plugin = load_on(&host(), content, &settings()).await.expect("it loads");
        assert_eq!(plugin.instance().route(&event(), 1).await, Ok(vec![Publication::default()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_too_much_is_refused_before_it_is_compiled() {
    let reason = refused(hostile("nested-components"), &settings()).await;
    assert!(reason.contains("instances of modules and components; the limit is 400"), "{reason}");
    for (name, content, expected) in by_structure() {
        let reason = refused(content, &settings()).await;
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_much_to_compile_is_refused_with_the_limit() {
    let mut little_time = settings();
    little_time.limits.compile_timeout = Duration::from_secs(1);
    let reason = refused(slow(20), &little_time).await;
    // A busy machine may not give it that second within five.
    assert!(reason.contains("[limits] compile_timeout)"), "{reason}");
    let mut little_memory = settings();
    little_memory.limits.compile_memory = 256 << 20;
    little_memory.limits.compile_timeout = HOUR;
    let reason = refused(large(10_000), &little_memory).await;
    assert!(
        reason.contains("takes more than 256.0 MiB of memory ([limits] compile_memory)"),
        "{reason}"
    );
}

/// What `/proc` says of a process.
fn proc(id: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default()
}

#[tokio::test]
async fn the_compiler_is_confined() {
    let mut compiler = Command::new(ROUTER)
        .args(["compile-plugin", "--memory=300000000", "--seconds=7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let id = compiler.id().expect("it runs");
    let status = ask_until("a confined process", || async {
        let status = proc(id, "status");
        status.contains("Seccomp:\t2").then_some(status)
    })
    .await;
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = proc(id, "limits");
    for (limit, value) in [
        ("Max address space", "300000000"),
        ("Max cpu time", "7"),
        ("Max core file size", "0"),
        ("Max file size", "0"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap_or_default();
        assert!(line[limit.len()..].split_whitespace().next() == Some(value), "{line}");
    }
    let stat = proc(id, "stat");
    let nice = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16));
    assert_eq!(nice, Some("19"), "{stat}");
    drop(compiler.stdin.take());
    assert!(within_reason("the compiler", compiler.wait()).await.expect("it ends").success());
}

#[tokio::test]
async fn the_compiler_gets_no_environment() {
    let dir = TempDir::new().expect("a folder");
    let seen = dir.path().join("seen");
    let lines = format!("set > {0}\npwd >> {0}\ncat > /dev/null", seen.display());
    let host = host_with(&dir, &lines);
    assert!(load_on(&host, hostile("well-behaved"), &settings()).await.is_err());
    let seen = std::fs::read_to_string(seen).expect("it ran");
    assert!(seen.contains("MIMALLOC_ARENA_RESERVE") && seen.ends_with("\n/\n"), "{seen}");
    // It could not look that up itself: a container's share of the processors stands in files.
    let threads = std::thread::available_parallelism().expect("the system says it");
    assert!(seen.contains(&format!("RAYON_NUM_THREADS='{threads}'")), "{seen}");
    assert!(!seen.contains("HOME=") && !seen.contains("CARGO"), "{seen}");
}

/// A host whose compiler is a script.
fn host_with(dir: &TempDir, lines: &str) -> Arc<Host> {
    let host = Host::new(None, Clock::system()).expect("a host");
    Arc::new(host.compiling_by(script(dir.path(), lines)))
}

/// A file that can be run. Another process writes it: while one of this process's threads has it
/// open, another one may fork, and then nobody can run the file for a moment.
fn script(dir: &Path, lines: &str) -> PathBuf {
    let script = dir.join("compiler");
    let mut install = std::process::Command::new("install");
    install.args(["-m", "700", "/dev/stdin"]).arg(&script).stdin(Stdio::piped());
    let mut install = install.spawn().expect("it starts");
    let mut input = install.stdin.take().expect("its input is ours");
    write!(input, "#!/bin/sh\n{lines}\n").expect("written");
    drop(input);
    assert!(install.wait().expect("it ends").success());
    script
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_crashes_or_hangs_is_told() {
    let dir = TempDir::new().expect("a folder");
    for (lines, expected) in [
        ("cat > /dev/null; kill -SEGV $$", "the compiler failed (signal: 11"),
        (
            "cat > /dev/null; echo broken >&2; exit 7",
            "the compiler failed (exit status: 7): broken",
        ),
        ("exec sleep 1000", "compiling it takes longer than 1s (5 times [limits] compile_timeout)"),
        ("cat > /dev/null; echo nonsense", "the compiler's reply"),
    ] {
        let host = host_with(&dir, lines);
        let mut settings = settings();
        if lines.contains("sleep") {
            settings.limits.compile_timeout = Duration::from_millis(200);
        }
        let error = load_on(&host, hostile("well-behaved"), &settings).await.err();
        let reason = format!("{:#}", error.expect("it does not load"));
        assert!(reason.contains(expected), "{lines}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_machine_is_short_of_is_no_fault_of_the_file() {
    let dir = TempDir::new().expect("a folder");
    let is_short = "the machine or the container is short of them";
    for (lines, expected) in [
        ("echo 'kind: IOError(Os { code: 11, kind: WouldBlock })' >&2; exit 101", is_short),
        ("echo 'memory allocation of 1000 bytes failed' >&2; kill -ABRT $$", is_short),
        // Of somebody who sends it to all of the service.
        ("kill -TERM $$", "ended from outside (signal: 15 (SIGTERM))"),
    ] {
        let host = host_with(&dir, &format!("cat > /dev/null; {lines}"));
        let loaded = load_on(&host, hostile("well-behaved"), &settings()).await;
        let error = loaded.err().expect("it does not load");
        assert!(error.is::<MachineFault>(), "{lines}: {error:#}");
        let reason = format!("{error:#}");
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_speaks_of_memory_is_refused_for_good() {
    for words in
        ["out of memory", "Cannot allocate memory (os error 12)", "memory allocation of 7 "]
    {
        let import = format!("(import {words:?} \"f\" (func))");
        let module = hostile_text("well-behaved");
        let content = build(&module.replacen("(module\n", &format!("(module\n{import}\n"), 1));
        let error = load_on(&host(), content, &settings()).await.err().expect("it does not load");
        let reason = format!("{error:#}");
        // It is told with its own words.
        assert!(!error.is::<MachineFault>() && reason.contains(words), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_machine_that_is_too_busy_it_is_compiled_at_a_higher_priority() {
    let dir = TempDir::new().expect("a folder");
    let starved =
        format!("case \"$*\" in *--nice=19*) exec sleep 1000;; esac; exec {ROUTER} \"$@\"");
    let plugin = load_on(&host_with(&dir, &starved), hostile("well-behaved"), &settings()).await;
    let answer = plugin.expect("it loads").instance().route(&event(), 1).await;
    assert_eq!(answer, Ok(vec![Publication::default()]));
}

/// A mark that no other file has, in this run or another.
fn new_mark() -> u32 {
    Uuid::new_v4().as_u128() as u32
}

/// What a router has in memory when it has routed a hundred events by this file, in KiB.
///
/// It reads JSON Lines and so has no connections to a broker: each has two buffers of 4 MiB, and
/// how much of them is in memory depends on what came before.
async fn memory_with(file: &[u8], cached: &str) -> u64 {
    const EVENTS: u64 = 100;

    let router = Router::new("[limits]\ntimeout = '1min'\ncompile_timeout = '1h'\n", &[]);
    router.put("large", file);
    let mut process = router.reading(Stdio::piped());
    let mut input = process.stdin.take().expect("its input");
    let mut routed = BufReader::new(process.stdout.take().expect("its output")).lines();
    for event in numbered(0..EVENTS) {
        let body: Value = serde_json::from_slice(&event.body).expect("JSON");
        let line = json!({ "routing_key": event.key, "body": body });
        input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }
    let mut numbers = BTreeSet::new();
    while numbers.len() < EVENTS as usize {
        let line = within_reason("what is routed", routed.next_line()).await.expect("a line");
        let line: Value = serde_json::from_str(&line.expect("it goes on")).expect("JSON");
        assert_eq!(line["plugin"], "large", "{line}");
        assert!(numbers.insert(line["body"]["number"].as_u64()), "a second time: {line}");
    }
    let used = memory(process.id().expect("it runs"), "VmRSS:") >> 10;
    drop(input);
    let output = within_reason("the end of input to end the router", process.wait_with_output());
    let output = output.await.expect("its log");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains(cached), "{log}");
    used
}

/// The allocator keeps some of what was given back, more or less of it: the least of several counts.
#[tokio::test(flavor = "multi_thread")]
async fn compiling_leaves_no_memory_behind() {
    let (mut compiled, mut cached) = (u64::MAX, u64::MAX);
    for _ in 0..3 {
        // Nobody has its code: the mark is new.
        let file = marked(&large(1000), new_mark());
        compiled = compiled.min(memory_with(&file, "cached=false").await);
        cached = cached.min(memory_with(&file, "cached=true").await);
    }
    println!("{compiled} KiB after compiling, {cached} KiB with cached code");
    // Compiling it in the router leaves several times as much.
    assert!(compiled < cached * 11 / 10, "{compiled} KiB, {cached} KiB");
}

/// So many compile. On a busy machine, one of them may be between two attempts.
async fn compile(router: &Router, count: usize) {
    let compiling = || async {
        let compilers = compilers(router.id());
        assert!(compilers <= count, "{}", router.log());
        (compilers == count).then_some(())
    };
    ask_until("files to be compiled", compiling).await;
}

/// Replaces, removes and routes, while a file is being compiled that takes for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_compiles_for_ever_holds_up_no_other() {
    let scene = Scene::shared().await;
    let limits = "[limits]\ntimeout = '1min'\ncompile_timeout = '1h'\n";
    let mut router = scene.router(limits, &[]);
    router.put("good", &stamped("A"));
    router.put("other", &stamped("A"));
    router.start_ready().await;
    let nearly_for_ever = slow(40);
    router.put("slow", &nearly_for_ever);
    ask_until("it to be compiled", || async { (compilers(router.id()) == 1).then_some(()) }).await;

    router.put("good", &stamped("B"));
    router.logged("plugin replaced").await;
    std::fs::remove_file(router.plugin("other")).expect("removed");
    router.logged("plugin removed").await;
    let new = marked(&stamped("C"), new_mark());
    router.put("new", &new);
    router.logged_times("plugin consumes", 3).await;
    scene.client.publish(MO, numbered(0..100)).await;
    let routed = scene.client.take(ROUTED, 200).await;
    let by =
        |stamp: &str| routed.iter().filter(|message| message.headers["stamp"] == stamp).count();
    assert_eq!((by("B"), by("C")), (100, 100));
    compile(&router, 1).await;

    // With a second one there is no room for a third: what is known to the cache needs none.
    router.put("slow-too", &marked(&nearly_for_ever, 2));
    ask_until("two to be compiled", || async { (compilers(router.id()) == 2).then_some(()) }).await;
    router.put("slow-as-well", &marked(&nearly_for_ever, 3));
    router.put("good", &stamped("A"));
    router.logged_times("plugin replaced", 2).await;
    std::fs::remove_file(router.plugin("new")).expect("removed");
    router.logged_times("plugin removed", 2).await;
    compile(&router, 2).await;
    for waits in ["slow-as-well", "slow-too"] {
        std::fs::remove_file(router.plugin(waits)).expect("removed");
    }
    ask_until("one to be given up", || async { (compilers(router.id()) == 1).then_some(()) }).await;

    // A newer file ends it.
    router.put("slow", &stamped("D"));
    router.logged_times("plugin consumes", 4).await;
    ask_until("it to be given up", || async { (compilers(router.id()) == 0).then_some(()) }).await;
    router.put("slow", &marked(&nearly_for_ever, 1));
    ask_until("it to be compiled", || async { (compilers(router.id()) == 1).then_some(()) }).await;
    // A stop does not wait for it.
    assert!(router.stop().await.success());
}

/// How many processes compile for this router.
fn compilers(router: u32) -> usize {
    let children = threads(router, "children");
    let mut ids: Vec<&str> = children.iter().flat_map(|line| line.split_whitespace()).collect();
    ids.sort_unstable();
    ids.dedup();
    let compiles = |id: &&&str| {
        std::fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains("compile-plugin"))
    };
    ids.iter().filter(compiles).count()
}

#[tokio::test]
async fn check_compiles_apart_too() {
    let router = Router::new("", &[]);
    router.put("nested", &hostile("nested-components"));
    let output = router.call(&["check"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("the limit is 400"), "{said}");
    let file = router.plugin("nested").display().to_string();
    let output = router.call(&["plugin", "check", &file]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("the limit is 400"), "{said}");
}
