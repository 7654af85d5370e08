//! What plugins of each language take: the file, compiling it, starting it, a call.
//!
//! `cargo bench --bench languages` prints the table of docs/performance.md. The
//! plugins are what `mo-router plugin new` writes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and one that fails ends"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time, and nothing repeats it")]

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests' support, of which this needs a part")]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mo_router::clock::Clock;
use mo_router::plugins::Host;

use support::languages::{all, project};
use support::plugins::{event, host, load_on, settings};

/// As the router itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each figure is the median of so many.
const TIMES: usize = 5;
/// Calls that are measured together.
const CALLS: u32 = 10_000;

fn main() {
    println!("| | file | compiling, cold | loading, cached | starting | one call |");
    println!("|---|---|---|---|---|---|");
    // As the router runs a plugin: on one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (name, language) in all() {
        let plugin = project(language, |_| ());
        let size = bytesize::ByteSize(plugin.len() as u64).display().si();
        let [cold, cached, starting, call] = runtime.block_on(figures(plugin)).map(shown);
        println!("| {name} | {size} | {cold} | {cached} | {starting} | {call} |");
    }
}

/// Compiling, loading from the cache, starting, and calling.
async fn figures(plugin: Vec<u8>) -> [Duration; 4] {
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

        let event = event();
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
