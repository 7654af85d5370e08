//! What the sandbox costs: one filter called natively, in an instance that is kept,
//! in one that is made for each event, and through Extism; and what a hundred idle
//! plugins cost the router.
//!
//! `cargo bench --bench sandbox` does all of it; `-- calls` or `-- idle` a part.

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

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mo_router::event::{Event, Failure, Publication};
use mo_router::settings::InstanceMode;

use measure::turns::median;
use measure::{cpu_time, wanted};
use support::ask_until;
use support::memory::memory;
use support::plugins::{built, event, load, marked, settings};
use support::rabbitmq::RabbitMq;
use support::router::Router;
use support::scene::{MO, ROUTED, Scene};
use support::traffic;

/// As the router itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// All are measured in turns, so often.
const ROUNDS: usize = 5;
/// Calls in a round.
const CALLS: u32 = 100_000;
/// Calls in a round of what takes longer.
const SLOW_CALLS: u32 = 10_000;

/// Plugins that do nothing.
const IDLE: usize = 100;
/// Events that one beside them routes.
const EVENTS: u64 = 50_000;

fn main() {
    if wanted("calls") {
        // As the router runs a plugin: on one thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(calls());
    }
    if wanted("idle") {
        tokio::runtime::Runtime::new().unwrap().block_on(idle());
    }
}

async fn calls() {
    let extism = Extism::build();
    let mut rows = [
        ("natively", vec![]),
        ("kept instance", vec![]),
        ("fresh instance", vec![]),
        ("Extism, the event and the answer in JSON", vec![]),
        ("Extism, bytes that nobody reads", vec![]),
    ];
    for _ in 0..ROUNDS {
        let [json, bytes] = extism.call();
        let micros = [
            natively(),
            sandboxed(InstanceMode::Kept, CALLS).await,
            sandboxed(InstanceMode::Fresh, SLOW_CALLS).await,
            json,
            bytes,
        ];
        rows.iter_mut().zip(micros).for_each(|((_, figures), micros)| figures.push(micros));
    }
    println!("One event through the filter, medians of {ROUNDS} rounds in turns\n");
    println!("| | µs | of the kept instance |\n|---|---|---|");
    let rows = rows.map(|(name, figures)| (name, median(figures)));
    for (name, micros) in rows {
        println!("| {name} | {micros:.2} | {:.2} |", micros / rows[1].1);
    }
    println!();
}

/// The filter of `examples/employee-filter`.
fn filter(event: &Event) -> Result<Vec<Publication>, Failure> {
    match event.topic().service {
        Some("employee") => Ok(vec![Publication::default()]),
        _ => Ok(Vec::new()),
    }
}

fn natively() -> f64 {
    let event = event();
    // Called as one calls a plugin, without knowing which it is.
    let filter: fn(&Event) -> Result<Vec<Publication>, Failure> = black_box(filter);
    let begin = Instant::now();
    for _ in 0..CALLS {
        assert!(black_box(filter(black_box(&event))).is_ok());
    }
    micros(begin.elapsed(), CALLS)
}

async fn sandboxed(mode: InstanceMode, calls: u32) -> f64 {
    let mut settings = settings();
    settings.instance = mode;
    let plugin = load(employee_filter(), &settings).await.unwrap();
    let (event, mut instance) = (event(), plugin.instance());
    for _ in 0..calls / 10 {
        assert!(instance.route(&event, 1).await.is_ok());
    }
    let begin = Instant::now();
    for _ in 0..calls {
        assert!(instance.route(&event, 1).await.is_ok());
    }
    micros(begin.elapsed(), calls)
}

/// The program in `benches/extism`, which is built apart: it brings a wasmtime of
/// its own.
struct Extism {
    program: PathBuf,
    guest: PathBuf,
}

impl Extism {
    fn build() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/extism");
        let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/extism");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--release", "--target-dir", target]);
        let built_it = cargo.current_dir(&folder).status().expect("cargo runs");
        assert!(built_it.success(), "benches/extism cannot be built");
        let program = Path::new(target).join("release/extism-calls");
        Self { program, guest: built(Path::new("benches/extism/guest")) }
    }

    fn call(&self) -> [f64; 2] {
        let mut command = Command::new(&self.program);
        command.arg(&self.guest).arg(SLOW_CALLS.to_string()).stderr(Stdio::inherit());
        let output = command.output().expect("extism-calls runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let nanos: Vec<f64> = text.lines().map(|line| line.parse().expect("a number")).collect();
        [nanos[0] / 1000.0, nanos[1] / 1000.0]
    }
}

/// What one plugin costs the router, and what the others cost it.
struct Cost {
    /// Memory in use, in MiB.
    memory: f64,
    /// CPU time of an event, in µs.
    event: f64,
}

async fn idle() {
    let broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        alone.push(cost(&broker, 0).await);
        beside.push(cost(&broker, IDLE).await);
    }
    let of = |costs: &[Cost], figure: fn(&Cost) -> f64| median(costs.iter().map(figure).collect());
    let memory = [of(&alone, |cost| cost.memory), of(&beside, |cost| cost.memory)];
    println!("A plugin that routes {EVENTS} events, medians of 3 rounds in turns\n");
    println!("| | memory of the router, MiB | CPU µs per event |\n|---|---|---|");
    println!("| alone | {:.1} | {:.1} |", memory[0], of(&alone, |cost| cost.event));
    println!(
        "| beside {IDLE} idle ones | {:.1} | {:.1} |",
        memory[1],
        of(&beside, |cost| cost.event)
    );
    println!("\nAn idle plugin takes {:.2} MiB.", (memory[1] - memory[0]) / IDLE as f64);
}

/// Runs the router with one busy plugin and so many idle ones, each of which has
/// had an event, and so has its instance.
async fn cost(broker: &RabbitMq, idle: usize) -> Cost {
    let scene = Scene::on(broker).await;
    let names: Vec<String> = (0..idle).map(|number| format!("idle-{number}")).collect();
    let section = |name: &String| format!("[plugin.{name}]\nsubscriptions = ['wake']\n");
    let mut router = scene.router(&names.iter().map(section).collect::<String>(), &[]);
    for (number, name) in names.iter().enumerate() {
        router.put(name, &marked(&employee_filter(), number as u32));
    }
    router.put("busy", &employee_filter());
    router.start_ready().await;
    let wake = traffic::Event::new("wake", r#""cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60""#);
    scene.client.publish(MO, [wake]).await;
    for name in &names {
        router.status_until(name, |status| status["received"] == 1).await;
    }
    let before = cpu_time(router.id());
    for first in (0..EVENTS).step_by(1000) {
        scene.client.publish(MO, traffic::numbered(first..first + 1000)).await;
    }
    ask_until("all events", || async {
        (u64::from(scene.client.depth(ROUTED).await) == EVENTS).then_some(())
    })
    .await;
    let cost = Cost {
        memory: memory(router.id(), "VmRSS:") as f64 / f64::from(1 << 20),
        event: (cpu_time(router.id()) - before).as_secs_f64() * 1e6 / EVENTS as f64,
    };
    end(router, &scene).await;
    cost
}

async fn end(mut router: Router, scene: &Scene) {
    assert!(router.stop().await.success());
    scene.client.purge(ROUTED).await;
}

fn employee_filter() -> Vec<u8> {
    std::fs::read(built(Path::new("examples/employee-filter"))).unwrap()
}

fn micros(took: Duration, calls: u32) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(calls)
}
