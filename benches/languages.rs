//! What plugins of each language take: building them, the file, compiling it, starting it, a call.
//!
//! `make languages` prints the tables of docs/performance.md. The plugins are what
//! `mo-router plugin new` writes, and the example in AssemblyScript; then the one that integrators
//! begin with, with a package, a second source file, unit tests and cases
//! (`tests/authors/reminder`); then how soon `plugin dev` shows what a change does. `-- new`,
//! `-- reminder` and `-- dev` do a part, and names of languages after them a part of that:
//! `-- reminder TypeScript` prints one row.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and one that fails ends"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time, and nothing repeats it")]

mod measure;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests' support, of which this needs a part")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mo_router::clock::Clock;
use mo_router::event::Event;
use mo_router::plugins::Host;
use mo_router::scaffold::{self, Language};

use tokio::runtime::Runtime;

use measure::wanted;
use support::languages::{all, has_tools, make};
use support::plugins::{self, event, event_of, host, load_on, settings};
use support::reminder;

/// As the router itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each figure is the median of so many.
const TIMES: usize = 5;
/// Calls that are measured together.
const CALLS: u32 = 10_000;

fn main() {
    // As the router runs a plugin: on one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    if wanted("new") {
        new_projects(&runtime);
    }
    if wanted("reminder") {
        reminders(&runtime);
    }
    if wanted("dev") {
        developing();
    }
}

/// Whether the command line names this language, or none.
fn is_asked(language: &str) -> bool {
    let parts = ["new", "reminder", "dev"];
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-') && !parts.contains(&word.as_str()))
        .peekable();
    words.peek().is_none() || words.any(|word| word.eq_ignore_ascii_case(language))
}

/// The languages that are asked for, and whose tools can be had.
fn asked() -> Vec<(&'static str, Language)> {
    all().into_iter().filter(|(name, _)| is_asked(name)).collect()
}

fn new_projects(runtime: &Runtime) {
    println!("| | building | file | compiling, cold | loading, cached | starting | one call |");
    println!("|---|---|---|---|---|---|---|");
    let mut plugins: Vec<_> = asked().into_iter().map(|(name, one)| (name, built(one))).collect();
    if is_asked("AssemblyScript") && has_tools("assemblyscript") {
        plugins.push(("AssemblyScript", example("mark-urgent")));
    }
    for (name, (plugin, building)) in plugins {
        let size = bytesize::ByteSize(plugin.len() as u64).display().si();
        let [cold, cached, starting, call] = runtime.block_on(figures(plugin, event())).map(shown);
        let building = shown(building);
        println!("| {name} | {building} | {size} | {cold} | {cached} | {starting} | {call} |");
    }
}

/// As an integrator would: packages, `make`, `make test`, a change, both again.
fn reminders(runtime: &Runtime) {
    println!(
        "\n| the reminder | packages | make | make test | both after a change | file | compiling, cold \
         | loading, cached | starting | one call |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for (name, language) in asked() {
        let parent = tempfile::tempdir().unwrap();
        let begin = Instant::now();
        let Some(folder) = reminder::project(language, parent.path()) else { continue };
        let packages = begin.elapsed();
        let timed = |targets: &[&str]| {
            let begin = Instant::now();
            make(&folder, &[targets, &["CARGO_TARGET_DIR=target"]].concat());
            begin.elapsed()
        };
        let (building, testing) = (timed(&["all"]), timed(&["test"]));
        edit(language, &folder);
        let again = timed(&["all", "test"]);
        let [packages, building, testing, again] = [packages, building, testing, again].map(shown);
        let plugin = std::fs::read(folder.join("build/reminder.wasm")).unwrap();
        let size = bytesize::ByteSize(plugin.len() as u64).display().si();
        let event = event_of("employee.engagement.edit");
        let [cold, cached, starting, call] = runtime.block_on(figures(plugin, event)).map(shown);
        println!(
            "| {name} | {packages} | {building} | {testing} | {again} | {size} | {cold} | {cached} \
             | {starting} | {call} |"
        );
    }
}

/// How long an author looks at what is said before the next change, at least. The next build may begin
/// meanwhile.
const LOOKING: Duration = Duration::from_secs(20);

/// A new project under `plugin dev`: from saving a change that makes it answer otherwise to the end of
/// what is said of it; also where that change comes at once after the one before.
fn developing() {
    println!(
        "\n| plugin dev | shown after | at most | changed at once | at most |\n|---|---|---|---|---|"
    );
    for (name, language) in asked() {
        let parent = tempfile::tempdir().unwrap();
        let folder = scaffold::write("new-plugin", language, parent.path()).unwrap();
        make(&folder, &["all"]);
        let mut process = Command::new(env!("CARGO_BIN_EXE_mo-router"))
            .args(["plugin", "dev"])
            .current_dir(&folder)
            .env_remove("MAKEFLAGS") // of the `make` that runs this
            .env("MO_ROUTER_PLUGINS_CACHE_DIR", plugins::CODE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut round = || -> Vec<String> {
            lines.by_ref().take_while(|line| !line.starts_with("waiting for a change")).collect()
        };
        round();
        let source = folder.join(source(language).0);
        let text = std::fs::read_to_string(&source).unwrap();
        let begins_ahead = folder.join("build/ahead").exists();
        let mut number = 0;
        let [after, at_once] = [LOOKING, Duration::ZERO].map(|looking| {
            let mut took = [(); TIMES].map(|()| {
                if begins_ahead {
                    std::thread::sleep(looking);
                }
                // What was built before is not taken again.
                let skipped = ["edit", "refresh"][number % 2];
                let skipped = format!("{skipped} {number}.{}", std::process::id());
                number += 1;
                let text = ['"', '\''].iter().fold(text.clone(), |text, quote| {
                    text.replace(&format!("refresh{quote}"), &format!("{skipped}{quote}"))
                });
                let begin = Instant::now();
                std::fs::write(&source, text).unwrap();
                let said = round();
                assert!(said.last().unwrap().contains("answers changed"), "{said:?}");
                begin.elapsed()
            });
            took.sort();
            format!("{} | {}", shown(took[TIMES / 2]), shown(took[TIMES - 1]))
        });
        process.kill().and_then(|()| process.wait()).unwrap();
        println!("| {name} | {after} | {at_once} |");
    }
}

/// A new project's plugin, and how long its first build takes where another has been built
/// before: tools and their caches are there.
fn built(language: Language) -> (Vec<u8>, Duration) {
    new(language, |_| ());
    let begin = Instant::now();
    // What was built before is not taken again.
    let plugin = new(language, |folder| edit(language, folder));
    (plugin, begin.elapsed())
}

/// Changes the plugin's source, so that it is built again.
fn edit(language: Language, folder: &Path) {
    let (file, comment) = source(language);
    let source = std::fs::OpenOptions::new().append(true).open(folder.join(file));
    writeln!(source.unwrap(), "{comment} {}", std::process::id()).unwrap();
}

/// Where a new project decides, and how the language begins a comment.
fn source(language: Language) -> (&'static str, &'static str) {
    match language {
        Language::Rust => ("src/lib.rs", "//"),
        Language::Python => ("plugin.py", "#"),
        Language::JavaScript => ("plugin.js", "//"),
        Language::TypeScript => ("plugin.ts", "//"),
        Language::Go => ("filter/filter.go", "//"),
        Language::C => ("plugin.c", "//"),
        Language::Cpp => ("plugin.cpp", "//"),
        Language::Zig => ("src/plugin.zig", "//"),
    }
}

/// A new project's plugin. Nothing of it is shared with other projects, as the tests do.
fn new(language: Language, edit: impl FnOnce(&Path)) -> Vec<u8> {
    let parent = tempfile::tempdir().unwrap();
    let folder = scaffold::write("new-plugin", language, parent.path()).unwrap();
    edit(&folder);
    make(&folder, &["all", "CARGO_TARGET_DIR=target"]);
    std::fs::read(folder.join("build/new-plugin.wasm")).unwrap()
}

/// An example's plugin, and how long it takes to build.
fn example(name: &str) -> (Vec<u8>, Duration) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    make(&folder, &["clean"]);
    let begin = Instant::now();
    make(&folder, &["all"]);
    let plugin = std::fs::read(folder.join(format!("build/{name}.wasm"))).unwrap();
    (plugin, begin.elapsed())
}

/// Compiling, loading from the cache, starting, and calling.
async fn figures(plugin: Vec<u8>, event: Event) -> [Duration; 4] {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("code");
    let mut figures: [Vec<Duration>; 4] = Default::default();
    for _ in 0..TIMES {
        let cold = load_on(&host(), plugin.clone(), &settings()).await.unwrap();
        figures[0].push(cold.compile_time);

        let with_cache = || Host::new(Some(cache.clone()), Clock::system()).unwrap();
        load_on(&Arc::new(with_cache()), plugin.clone(), &settings()).await.unwrap();
        let again = Arc::new(with_cache());
        let cached = load_on(&again, plugin.clone(), &settings()).await.unwrap();
        assert!(cached.cached);
        figures[1].push(cached.compile_time);

        let begin = Instant::now();
        let mut instance = cached.instantiate().await.unwrap();
        figures[2].push(begin.elapsed());

        for _ in 0..CALLS / 10 {
            instance.route(&event, 1).await.unwrap();
        }
        let begin = Instant::now();
        for _ in 0..CALLS {
            instance.route(&event, 1).await.unwrap();
        }
        figures[3].push(begin.elapsed() / CALLS);
    }
    figures.map(|mut figures| {
        figures.sort();
        figures[TIMES / 2]
    })
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 0.1 => format!("{seconds:.1} s"),
        seconds if seconds >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds >= 1e-4 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{:.1} µs", seconds * 1e6),
    }
}
