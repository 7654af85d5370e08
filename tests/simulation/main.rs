//! Simulated runs of one plugin's sessions, thousands of them, each from a seed: the
//! real supervisor, session and core against a simulated broker, delay store and plugin
//! that misbehave at random, on tokio's paused clock. Everything that a run does follows
//! from its seed.
//!
//! ```text
//! cargo test --release --test simulation                          # the default seeds
//! SIMULATIONS=100000 cargo test --release --test simulation       # more of them
//! SEED=1234 cargo test --release --test simulation                # one: what happened, if it fails
//! SEED=1234 cargo test --release --test simulation -- --nocapture # the same, also if it passes
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that fails panics, and what it prints is shown then"
)]

mod broker;
mod channel;
mod chaos;
mod check;
mod plan;
mod plugin;
mod run;
mod stall;
mod store;
mod world;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use plan::Plan;
use run::Outcome;

/// Seeds that every run of the tests tries.
const SIMULATIONS: u64 = 4000;

#[test]
fn simulation_keeps_every_promise() {
    if let Some(seed) = variable("SEED") {
        return show(seed);
    }
    let simulations = variable("SIMULATIONS").unwrap_or(SIMULATIONS);
    let begun = tokio::time::Instant::now();
    let (next, ran, events) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failed = std::sync::Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= simulations || failed.lock().unwrap().len() > 9 {
                        return;
                    }
                    let outcome = run::run(Plan::of(seed), false);
                    ran.fetch_add(1, Relaxed);
                    events.fetch_add(outcome.events, Relaxed);
                    if let Some(violation) = outcome.violation {
                        failed.lock().unwrap().push((seed, violation));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let took = begun.elapsed().as_secs_f64();
    let (ran, events) = (ran.into_inner(), events.into_inner());
    let rate = ran as f64 / took;
    println!("{ran} simulations, {events} events, {took:.1} s: {rate:.0}/s on {threads} threads");
    let seeds: String = failed
        .iter()
        .map(|(seed, violation)| {
            format!("\n  SEED={seed} cargo test --release --test simulation   # {violation}")
        })
        .collect();
    assert!(failed.is_empty(), "promises broken; to see how:{seeds}");
}

#[test]
fn simulation_repeats_exactly() {
    for seed in 0..20 {
        let trace = || run::run(Plan::of(seed), false).trace;
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

/// One run, with what happened.
fn show(seed: u64) {
    let Outcome { violation, log, .. } = run::run(Plan::of(seed), true);
    println!("{}", log.join("\n"));
    assert_eq!(violation, None, "SEED={seed}");
}

#[expect(clippy::disallowed_methods, reason = "what to run, not what a run does")]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
