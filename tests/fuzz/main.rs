//! Files that nobody would write, checked, compiled, loaded and run: modules and components
//! from `wasm-smith`, by themselves and inside of a plugin, whole and damaged. Whatever a file
//! is, it is loaded or refused, and the process is there afterwards and no larger than before.
//!
//! ```text
//! cargo test --release --test fuzz               # some
//! FUZZ=1000000 cargo test --release --test fuzz  # more of them
//! SEED=1234 cargo test --release --test fuzz     # one
//! FILE=x.wasm SEED=1234 cargo test --release --test fuzz  # which is written there, too
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that fails panics, and what it prints is shown then"
)]

mod files;
#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/wasm.rs"]
mod wasm;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use memory::memory;
use mo_router::clock::Clock;
use mo_router::event::{Event, Failure, Incoming};
use mo_router::plugins::{Host, PluginFile, is_whole};
use mo_router::settings::{InstanceMode, PluginSettings, Settings};

/// The router's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Files that every run of the tests tries.
const FILES: u64 = 1000;

/// Seeds that have found something: packages that depend on one another in a circle.
const FOUND: [u64; 1] = [122_379];

/// How many are tried at a time.
const AT_A_TIME: u64 = 4;

/// How much memory the process may have at the end, in KiB: the compiler keeps some of what
/// it needed, and the largest file needs most.
const MOST_MEMORY: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn any_file_is_loaded_or_refused() {
    let hosts = Arc::new(Hosts::new());
    if let Some(seed) = variable("SEED") {
        if let Some(path) = file_to_write() {
            std::fs::write(path, files::file(seed)).unwrap();
        }
        println!("seed {seed}: {}", try_file(&hosts, seed).await);
        return;
    }
    for seed in FOUND {
        try_file(&hosts, seed).await;
    }
    let (files, next) = (variable("FUZZ").unwrap_or(FILES), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..AT_A_TIME)
        .map(|_| tokio::spawn(try_files(Arc::clone(&hosts), files, Arc::clone(&next))))
        .collect();
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for task in tasks {
        for (outcome, count) in task.await.expect("no file takes the router down") {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    let resident = resident();
    println!("{files} files: {outcomes:?}; {resident} KiB resident");
    assert!(resident < MOST_MEMORY, "{resident} KiB");
    assert!(outcomes.contains_key("routes") && outcomes.contains_key("refused"), "{outcomes:?}");
}

/// Where files are compiled, and run.
struct Hosts {
    here: Arc<Host>,
    apart: Arc<Host>,
}

impl Hosts {
    fn new() -> Self {
        let host = || Host::new(None, Clock::system()).unwrap();
        let apart = host().compiling_by(env!("CARGO_BIN_EXE_mo-router").into());
        Self { here: host().into(), apart: apart.into() }
    }

    /// The router compiles every file in a process of its own, which takes longer than all the rest.
    /// Here that is for those that can take a process down: what says for which WIT a module was
    /// built is followed without an end by wit-parser if its packages depend on one another in a
    /// circle, as after damage they may.
    fn of(&self, content: &[u8]) -> &Arc<Host> {
        const WIT: &[u8] = b"component-type";
        let has_wit = content.windows(WIT.len()).any(|part| part == WIT);
        if has_wit && content != files::good_module() { &self.apart } else { &self.here }
    }
}

async fn try_files(
    hosts: Arc<Hosts>,
    files: u64,
    next: Arc<AtomicU64>,
) -> BTreeMap<&'static str, u64> {
    let mut outcomes = BTreeMap::new();
    loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed >= files {
            return outcomes;
        }
        let hosts = Arc::clone(&hosts);
        // A panic is of one file, which is to be named.
        let tried = tokio::spawn(async move { try_file(&hosts, seed).await }).await;
        *outcomes.entry(tried.unwrap_or_else(|_| panic!("SEED={seed}"))).or_default() += 1;
        if seed.is_multiple_of(10_000) && seed > 0 {
            println!("{seed} files, {} KiB resident", resident());
        }
    }
}

/// What became of one file.
async fn try_file(hosts: &Hosts, seed: u64) -> &'static str {
    let (name, path) = ("fuzz".into(), "plugins/fuzz.wasm".into());
    let content = files::file(seed);
    let host = hosts.of(&content);
    // As the folder does, in the router's own process.
    let is_whole = is_whole(&content);
    let file = PluginFile::new(name, path, content.into());
    let settings = settings(seed);
    // As `plugin check` does.
    let described = host.describe(&file, &settings.limits).await.is_ok();
    let plugin = match host.load(file, &settings).await {
        Ok(plugin) => plugin,
        Err(error) => {
            let reason = format!("{error:#}");
            assert!(!reason.contains("panic"), "SEED={seed}: {reason}");
            return "refused";
        }
    };
    assert!(described, "SEED={seed}: it loads and cannot be described");
    assert!(is_whole, "SEED={seed}: it loads and is not taken for whole");
    let mut instance = plugin.instance();
    match instance.route(&event(), 1).await {
        Ok(_) | Err(Failure::Retry(_) | Failure::Reject(_)) => "routes",
        Err(Failure::Broken(..)) => "breaks",
    }
}

fn settings(seed: u64) -> PluginSettings {
    let mut settings = Settings::default().of_plugin("fuzz");
    settings.limits.timeout = Duration::from_millis(100);
    settings.limits.memory = 32 << 20;
    if seed.is_multiple_of(3) {
        settings.instance = InstanceMode::Fresh;
    }
    settings
}

fn event() -> Event {
    let body =
        r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2024-07-01T00:00:00+02:00"}"#;
    let message = Incoming {
        routing_key: "employee.it.create".into(),
        body: body.into(),
        ..Incoming::default()
    };
    Event::parse(message, chrono_tz::UTC).expect("an event of MO")
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    memory(std::process::id(), "VmRSS:") >> 10
}

#[expect(clippy::disallowed_methods, reason = "what to run, not what a run does")]
fn file_to_write() -> Option<std::ffi::OsString> {
    std::env::var_os("FILE")
}

#[expect(clippy::disallowed_methods, reason = "what to run, not what a run does")]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
