//! `mo-router plugin dev`

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mo_router::scaffold::{self, Language};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::plugin_commands::{call, folder, text};
use crate::support::languages::{has_tools, make};
use crate::support::plugins::{CODE, build, hostile, hostile_text, stamped};
use crate::support::within_reason;

const EVENT: &str = r#"{"routing_key": "employee.it.create", "body": {"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b"}}"#;

/// It builds for nobody else: what is tried at once may be built otherwise than what is installed.
const MAKEFILE: &str = "build/p.wasm: source\n\t[ \"$$PLUGIN_DEV\" = 1 ] && mkdir -p build && cp source build/p.wasm\n";

/// Starts it for the project in a folder.
fn started(dir: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    spawned(command(dir))
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mo-router"));
    command
        .args(["plugin", "dev", "project"])
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("MO_ROUTER_PLUGINS_CACHE_DIR", dir.join("cache"));
    command
}

fn spawned(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    (process, lines)
}

/// What it prints until it waits for the next change.
async fn round(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let mut text = String::new();
    loop {
        let line = within_reason("a line", lines.next_line()).await.unwrap().expect("it goes on");
        text += &line;
        text += "\n";
        if line.starts_with("waiting for a change") {
            return text;
        }
    }
}

fn put(dir: &Path, name: &str, content: &[u8]) {
    std::fs::write(dir.join("part~"), content).unwrap();
    std::fs::rename(dir.join("part~"), dir.join(name)).unwrap();
}

#[tokio::test]
async fn every_change_is_built_and_tried_and_what_is_answered_otherwise_shown() {
    let cases = r#"
        [[case]]
        name = "stamped"
        events = [ { routing_key = "employee.it.create", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b" } } ]
        publishes = [ { headers = { stamp = "one" } } ]
    "#;
    let dir = folder(&[
        ("project/Makefile", MAKEFILE.as_bytes()),
        ("project/source", &stamped("one")),
        ("project/p.cases.toml", cases.as_bytes()),
        ("project/events.jsonl", format!("{EVENT}\n{EVENT}\n").as_bytes()),
    ]);
    let project = dir.path().join("project");
    let (_process, mut lines) = started(dir.path());

    let first = round(&mut lines).await;
    assert!(first.contains("ok    p: stamped"), "{first}");
    assert!(first.contains("1 of 1 cases passed; 3 answers"), "{first}");

    put(&project, "source", &stamped("two"));
    let second = round(&mut lines).await;
    assert!(second.contains("FAIL  p: stamped"), "{second}");
    assert!(second.contains("0 of 1 cases passed; answers changed in 2 places"), "{second}");
    assert!(second.contains("--- p: project/events.jsonl, before"), "{second}");
    let signed = |sign: &str, stamp: &str| {
        let lines = second.lines().filter(|line| line.starts_with(sign) && line.contains(stamp));
        lines.count()
    };
    let stamps = ["\"stamp\":\"one\"", "\"stamp\":\"two\""];
    assert_eq!((signed("-", stamps[0]), signed("+", stamps[1])), (3, 3), "{second}");

    // The cases are followed as well; the answers are as they were.
    put(&project, "p.cases.toml", cases.replace("\"one\"", "\"two\"").as_bytes());
    let third = round(&mut lines).await;
    assert!(third.contains("1 of 1 cases passed; no answer of 3 changed"), "{third}");

    put(&project, "Makefile", MAKEFILE.replace("cp source", "false && cp source").as_bytes());
    put(&project, "source", &stamped("three"));
    let mut fourth = round(&mut lines).await;
    while !fourth.contains("the build failed: \"make\" ended with exit status: 2") {
        // It may have seen one of the two files first.
        fourth = round(&mut lines).await;
    }
    put(&project, "Makefile", MAKEFILE.as_bytes());
    let fifth = round(&mut lines).await;
    assert!(fifth.contains("\"stamp\":\"three\"") && fifth.contains("2 places"), "{fifth}");
}

/// The build names it; until it did, nobody knows.
#[tokio::test]
async fn what_the_build_says_that_lies_beside_is_followed_too() {
    let makefile = "build/p.wasm: ../shared/source\n\tmkdir -p build && cp $< $@ && echo ../shared >build/beside\n";
    let dir = folder(&[
        ("project/Makefile", makefile.as_bytes()),
        ("project/events.jsonl", format!("{EVENT}\n").as_bytes()),
        ("shared/source", &stamped("one")),
    ]);
    let (_process, mut lines) = started(dir.path());
    let first = round(&mut lines).await;
    assert!(first.contains("1 answers"), "{first}");
    assert!(
        first.ends_with("waiting for a change in project, and in what build/beside names\n"),
        "{first}"
    );
    for stamp in ["two", "three"] {
        put(&dir.path().join("shared"), "source", &stamped(stamp));
        let next = round(&mut lines).await;
        assert!(next.contains(&format!("\"stamp\":\"{stamp}\"")), "{next}");
    }
}

/// The next build can begin before there is anything new to build. There is one at a time, while it
/// waits for a change; it ends with `plugin dev`.
#[tokio::test]
async fn what_a_build_leaves_to_begin_the_next_one_is_begun() {
    // The build takes the one that has begun, which then ends; every other one does not. Hidden files
    // are no sources.
    let makefile = "all: build/p.wasm\n\tcp ahead build/ahead\n\
                    build/p.wasm: source\n\tmkdir -p build && cp $< $@\n\t\
                    ! grep -q take $< || ! read pid <.waits || kill $$pid\n";
    let ahead = "echo $$ >.waits; echo begun >>.begun; read line; echo ended >>.begun";
    let dir = folder(&[
        ("project/Makefile", makefile.as_bytes()),
        ("project/source", &stamped("one")),
        ("project/ahead", ahead.as_bytes()),
    ]);
    let project = dir.path().join("project");
    let begun = || std::fs::read_to_string(project.join(".begun")).unwrap_or_default();
    let (mut process, mut lines) = started(dir.path());
    round(&mut lines).await;
    let told = |expected: &'static str| {
        within_reason(expected, async move {
            while begun() != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    told("begun\n").await;
    for (stamp, expected) in [("two", "begun\n"), ("take", "begun\nbegun\n")] {
        put(&project, "source", &stamped(stamp));
        round(&mut lines).await;
        told(expected).await;
    }
    process.kill().await.unwrap();
    told("begun\nbegun\nended\n").await;
}

/// Plugins are in a sandbox, and nothing else of their folder is run, unless it has a build.
#[tokio::test]
async fn without_a_build_nothing_is_begun() {
    let dir = folder(&[
        ("project/p.wasm", &stamped("one")),
        ("project/events.jsonl", format!("{EVENT}\n").as_bytes()),
        ("project/build/ahead", b"touch ran"),
    ]);
    let (_process, mut lines) = started(dir.path());
    for count in 2..=4 {
        let said = round(&mut lines).await;
        assert!(said.contains("0 of 0 cases passed"), "{said}");
        put(
            &dir.path().join("project"),
            "events.jsonl",
            format!("{EVENT}\n").repeat(count).as_bytes(),
        );
    }
    assert!(!dir.path().join("project/ran").exists());
}

/// What is tried is compiled in another way than by the router, and what is said of it is the same,
/// whatever a plugin does.
#[tokio::test]
async fn whatever_a_plugin_does_is_told_as_of_the_router() {
    let (refused, loaded): (Vec<_>, Vec<_>) =
        whatever().into_iter().partition(|(name, _)| REFUSED.contains(&&name[..]));
    let dir = project_of(&loaded);
    let (tried, log) = tried_once(dir.path()).await;
    let of_router = call(dir.path(), &["plugin", "test", "project"]);
    let of_router = String::from_utf8(of_router.stdout).unwrap();
    let [said, of_router] = [&tried, &of_router].map(|text| text.split_once("\n0 of "));
    assert!(said.is_some(), "{tried}");
    assert_eq!(said.map(|(cases, _)| cases), of_router.map(|(cases, _)| cases));
    for expected in ["FAIL  well-behaved", "FAIL  tail-calls", "recursed deeper", "took longer"] {
        assert!(tried.contains(expected), "{expected}: {tried}");
    }
    // It is slower, and takes more stack: where that may be the reason, it does not count.
    let again = |plugin: &str| {
        let lines = log.lines().filter(|line| line.contains("once more, with optimised code"));
        lines.filter(|line| line.contains(&format!("plugin=\"{plugin}"))).count()
    };
    assert_eq!(["recursion", "loop-in-route", "well-behaved"].map(again), [1, 1, 0], "{log}");
    assert!((1..DEPTHS.len()).contains(&again("deep-")), "{log}");

    for plugin in refused {
        let dir = project_of(std::slice::from_ref(&plugin));
        let (tried, _) = tried_once(dir.path()).await;
        let of_router = text(&call(dir.path(), &["plugin", "test", "project"]));
        let (_, reason) = of_router.rsplit_once("mo-router: ").expect("it is refused");
        assert_eq!(tried.split_once("waiting for").unwrap().0, reason);
    }
}

/// How often a plugin calls itself, for which the stack is enough or not.
const DEPTHS: [u32; 8] = [1_000, 4_000, 8_000, 12_000, 16_000, 24_000, 32_000, 48_000];

/// What the router does not load.
const REFUSED: [&str; 6] = [
    "long-pattern",
    "loop-in-start",
    "loop-in-subscriptions",
    "many-patterns",
    "memory-from-the-start",
    "nested-components",
];

/// What takes all the time that it gets.
const SLOW: [&str; 5] =
    ["chatters", "loop-in-route", "loop-in-start", "loop-in-subscriptions", "sleeps"];

/// Names and files of plugins that do all that a plugin should not.
fn whatever() -> Vec<(String, Vec<u8>)> {
    let hostiles = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile"));
    let hostiles = hostiles.unwrap().map(|entry| {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        let file = hostile(&name);
        (name, file)
    });
    let calling = |functions: &str, call: &str| {
        let route =
            "  (func (export \"os2mo:router/filter@1.0.0#route\") (param i32) (result i32)\n";
        let text = hostile_text("well-behaved");
        let (before, after) = text.split_once(route).unwrap();
        build(&format!("{before}{functions}{route}(drop {call}){after}"))
    };
    let deep = DEPTHS.map(|depth| {
        let down = "(func $down (param i32) (result i32)
          (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))))";
        (format!("deep-{depth}"), calling(down, &format!("(call $down (i32.const {depth}))")))
    });
    // The baseline compiler does not know them.
    let tail = "(func $last (result i32) (i32.const 1))
                (func $tail (result i32) (return_call $last))";
    let tail = ("tail-calls".to_owned(), calling(tail, "(call $tail)"));
    hostiles.chain(deep).chain([tail]).collect()
}

/// A project of plugins, each with a case that fails and shows what came of its event.
fn project_of(plugins: &[(String, Vec<u8>)]) -> TempDir {
    let dir = folder(&[]);
    let project = dir.path().join("project");
    std::fs::create_dir(&project).unwrap();
    for (name, file) in plugins {
        // What is not about time has time enough, however busy the machine.
        let timeout = if SLOW.contains(&&name[..]) { "300ms" } else { "1min" };
        let event = EVENT.replace(": ", " = ");
        let case = format!(
            "[plugin]\nsubscriptions = ['#']\nlimits.attempts = 1\nlimits.timeout = '{timeout}'\n[[case]]\nname = 'it'\npublishes = [{{ routing_key = 'never' }}]\n\
             events = [{event}]\n"
        );
        std::fs::write(project.join(format!("{name}.cases.toml")), case).unwrap();
        std::fs::write(project.join(format!("{name}.wasm")), file).unwrap();
    }
    dir
}

/// What is said of the first attempt, and what is logged.
async fn tried_once(dir: &Path) -> (String, String) {
    let log = dir.join("log");
    let mut command = command(dir);
    command.stderr(std::fs::File::create(&log).unwrap());
    let (mut process, mut lines) = spawned(command);
    let said = round(&mut lines).await;
    process.kill().await.unwrap();
    (said, std::fs::read_to_string(log).unwrap())
}

/// A new project with recorded events: what a change of its source makes it answer otherwise is
/// shown once. What its build leaves on the way is no other plugin.
async fn shows_each_difference_once(language: Language, source: &str) {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let project = scaffold::write("project", language, parent.path()).expect("a new project");
    std::fs::write(project.join("events.jsonl"), format!("{EVENT}\n")).expect("written");
    make(&project, &["all"]); // the first build may take longer than a line is waited for
    let mut command = Command::new(env!("CARGO_BIN_EXE_mo-router"));
    command
        .args(["plugin", "dev", "project"])
        .current_dir(parent.path())
        .env_remove("MAKEFLAGS") // of the `make` that runs these tests
        .env("MO_ROUTER_PLUGINS_CACHE_DIR", CODE);
    let (_process, mut lines) = spawned(command);

    // One of the case, one of the recording.
    let first = round(&mut lines).await;
    assert!(first.contains("1 of 1 cases passed; 2 answers"), "{first}");

    let text = std::fs::read_to_string(project.join(source)).expect("it is there");
    put(&project, source, text.replace("\"refresh\"", "\"create\"").as_bytes());
    let second = round(&mut lines).await;
    assert!(second.contains("0 of 1 cases passed; answers changed in 2 places"), "{second}");
    let places: Vec<&str> = second.lines().filter(|line| line.starts_with("--- ")).collect();
    let [case, recording] = &places[..] else { panic!("{second}") };
    assert!(case.starts_with("--- project: edits pass"), "{second}");
    assert_eq!(*recording, "--- project: project/events.jsonl, before", "{second}");
}

#[tokio::test]
async fn a_project_in_c_shows_each_difference_once() {
    if has_tools("c") {
        shows_each_difference_once(Language::C, "plugin.c").await;
    }
}

#[tokio::test]
async fn a_project_in_go_shows_each_difference_once() {
    if has_tools("go") {
        shows_each_difference_once(Language::Go, "filter/filter.go").await;
    }
}

#[tokio::test]
async fn a_project_in_zig_shows_each_difference_once() {
    if has_tools("zig") {
        shows_each_difference_once(Language::Zig, "src/plugin.zig").await;
    }
}
