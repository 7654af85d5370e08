//! What it costs to look at the router: events are routed while nobody looks, while its metrics
//! are scraped each second, while five tails follow its decisions, while five pages are open, and
//! while traces are sent, in turns. And whether the page answers who uses it, meanwhile.
//!
//! `cargo bench --bench observed` does all of it; `-- cost` (as fast as it goes, from a backlog),
//! `-- steady` (5,000 events a second) or `-- page` a part. `ROUNDS` in the environment sets how
//! often the first two are repeated, `EVENTS` how many each run routes.

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

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use measure::backlog::{backlog, routed_at_least, with_plugin};
use measure::turns::{median, ratios};
use measure::{cpu_time, size, wanted};
use support::browser::Browser;
use support::collector::Collector;
use support::memory::memory;
use support::rabbitmq::RabbitMq;
use support::scene::Scene;
use support::steady::{Passage, Steady};
use support::traffic::numbered;

const PLUGIN: &str = "employee-filter";

/// Tails, and pages, that are open.
const LOOKERS: usize = 5;

/// Events a second where the rate is given.
const PER_SECOND: u64 = 5000;

/// Who looks.
#[derive(Clone, Copy)]
enum Looking {
    Nobody,
    Scraped,
    Tails,
    Pages,
    TracesOfOne(&'static str),
}

const ALL: [(&str, Looking); 6] = [
    ("nobody", Looking::Nobody),
    ("metrics, scraped each second", Looking::Scraped),
    ("five tails", Looking::Tails),
    ("five open pages", Looking::Pages),
    ("traces of one event in a hundred", Looking::TracesOfOne("0.01")),
    ("traces of all", Looking::TracesOfOne("1.0")),
];

/// Where a run's events come from.
#[derive(Clone, Copy)]
enum Load {
    /// All of them wait when the router starts.
    Backlog,
    /// [`PER_SECOND`] of them come each second.
    Steady,
}

/// One run's figures.
struct Figures {
    per_second: f64,
    cpu_micros: f64,
    /// In MiB, at most.
    memory: f64,
}

#[tokio::main]
async fn main() {
    for (part, load) in [("cost", Load::Backlog), ("steady", Load::Steady)] {
        if wanted(part) {
            cost(load, size("ROUNDS", 5), size("EVENTS", 100_000)).await;
        }
    }
    if wanted("page") {
        page(&broker().await).await;
    }
}

async fn broker() -> RabbitMq {
    tokio::task::spawn_blocking(RabbitMq::start).await.unwrap()
}

async fn cost(load: Load, rounds: u64, events: u64) {
    let mut figures: [Vec<Figures>; ALL.len()] = Default::default();
    for round in 0..rounds as usize {
        // One has a virtual host for each run of a round, and not for many more.
        let broker = broker().await;
        // Each comes first once.
        for turn in 0..ALL.len() {
            let which = (round + turn) % ALL.len();
            figures[which].push(run(&broker, ALL[which].1, load, events).await);
        }
    }
    let given = match load {
        Load::Backlog => "as fast as it goes".to_owned(),
        Load::Steady => format!("{PER_SECOND} a second"),
    };
    println!("\n{events} events, {given}, {rounds} rounds in turns\n");
    println!("| who looks | events/s | of nobody | CPU µs per event | of nobody | memory, MiB |");
    println!("|---|---|---|---|---|---|");
    let of = |which: usize, figure: fn(&Figures) -> f64| -> Vec<f64> {
        figures[which].iter().map(figure).collect()
    };
    let rate: fn(&Figures) -> f64 = |figures| figures.per_second;
    let cpu: fn(&Figures) -> f64 = |figures| figures.cpu_micros;
    for (which, (name, _)) in ALL.iter().enumerate() {
        println!(
            "| {name} | {:.0} | {} | {:.1} | {} | {:.0} |",
            median(of(which, rate)),
            ratios(&of(which, rate), &of(0, rate)),
            median(of(which, cpu)),
            ratios(&of(which, cpu), &of(0, cpu)),
            median(of(which, |figures| figures.memory)),
        );
    }
}

/// Routes events, and takes the figures from when somebody looks to the last of them.
async fn run(broker: &RabbitMq, looking: Looking, load: Load, events: u64) -> Figures {
    let scene = Scene::on(broker).await;
    let collector = Collector::blind().await;
    let mut router = with_plugin(&scene, PLUGIN);
    if let Load::Backlog = load {
        backlog(&scene, &mut router, numbered(0..events)).await;
    }

    match looking {
        Looking::TracesOfOne(sample) => {
            let sample = format!("MO_ROUTER_TELEMETRY_SAMPLE={sample}");
            router.start_with_variables(&[&collector.variable(), &sample]);
        }
        _ => router.start(),
    }
    router.logged("ready").await;
    let _lookers = look(looking, &router.address().await).await;
    let (done, took, cpu) = match load {
        Load::Backlog => of_backlog(&scene, router.id(), events).await,
        Load::Steady => of_stream(&scene, router.id(), events).await,
    };
    let memory = memory(router.id(), "VmHWM:") as f64 / f64::from(1 << 20);
    assert!(router.stop().await.success());
    Figures {
        per_second: done as f64 / took.as_secs_f64(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / done as f64,
        memory,
    }
}

/// Until a backlog is routed: how many events of it were, the time, and the router's CPU time.
async fn of_backlog(scene: &Scene, router: u32, events: u64) -> (u64, Duration, Duration) {
    let begun = routed_at_least(scene, 1).await;
    let (begin, cpu) = (Instant::now(), cpu_time(router));
    routed_at_least(scene, events).await;
    (events - begun, begin.elapsed(), cpu_time(router) - cpu)
}

/// The same of a stream of events, once its first second is over.
async fn of_stream(scene: &Scene, router: u32, events: u64) -> (u64, Duration, Duration) {
    let steady = Steady::start(scene, PER_SECOND).await;
    steady.pass(PER_SECOND as usize).await;
    let (begin, cpu) = (Instant::now(), cpu_time(router));
    steady.pass(events as usize).await;
    let (end, cpu) = (Instant::now(), cpu_time(router) - cpu);
    let passages = steady.stop(scene).await;
    let meanwhile = |passage: &&Passage| (begin..end).contains(&passage.came.into_std());
    (passages.iter().filter(meanwhile).count() as u64, end - begin, cpu)
}

/// Those who look, until this is dropped.
async fn look(looking: Looking, address: &str) -> JoinSet<()> {
    let mut lookers = JoinSet::new();
    let path = match looking {
        Looking::Nobody | Looking::TracesOfOne(_) => return lookers,
        Looking::Scraped => {
            let address = address.to_owned();
            lookers.spawn(async move {
                let mut second = tokio::time::interval(Duration::from_secs(1));
                loop {
                    second.tick().await;
                    read(get(&address, "/metrics", "close").await).await;
                }
            });
            return lookers;
        }
        Looking::Tails => "/api/tail",
        Looking::Pages => "/api/live",
    };
    for _ in 0..LOOKERS {
        let stream = get(address, path, "keep-alive").await;
        lookers.spawn(read(stream));
    }
    lookers
}

async fn get(address: &str, path: &str, connection: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200", "{path}");
    stream
}

/// Reads whatever comes.
async fn read(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Five tails are open, one of them in a browser, where somebody opens and closes a decision, and
/// writes into the filter.
async fn page(broker: &RabbitMq) {
    let scene = Scene::on(broker).await;
    let mut router = with_plugin(&scene, PLUGIN);
    router.start_ready().await;
    let steady = Steady::start(&scene, PER_SECOND).await;
    let address = router.address().await;
    let _tails = look(Looking::Tails, &address).await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&format!("http://{address}/#/tail")).await;
    browser.until("decisions", "return document.querySelectorAll('.decision').length > 100").await;
    let memory_before = memory(router.id(), "VmRSS:");

    println!("\n{PER_SECOND} events/s, {} tails", LOOKERS + 1);
    println!("the page answers {}", answers(&browser).await);
    // What the machine does to any page, with as many tails.
    let _sixth = look(Looking::Tails, &address).await;
    browser.open(EMPTY).await;
    println!("a page with nothing else on it answers {}", answers(&browser).await);
    println!(
        "memory of the router: {} MiB before, {} MiB at most",
        memory_before >> 20,
        memory(router.id(), "VmHWM:") >> 20
    );
    let passages = steady.stop(&scene).await;
    let mut took: Vec<Duration> = passages.iter().map(|passage| passage.took).collect();
    took.sort();
    println!(
        "{} events passed, 99 of 100 in at most {:.1?}",
        took.len(),
        took[took.len() * 99 / 100]
    );
    assert!(router.stop().await.success());
}

/// A page with what [`ANSWERS`] uses.
const EMPTY: &str =
    "data:text/html,<input name=topic><p class=decision><button class=summary>What</button></p>";

/// Uses a page, and says how soon it answers.
async fn answers(browser: &Browser) -> String {
    let took = browser.run_async(ANSWERS).await;
    let mut took: Vec<f64> =
        took.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect();
    took.sort_by(f64::total_cmp);
    let last = took.len() - 1;
    format!(
        "{} inputs in {:.0} ms (median), {:.0} ms (99 of 100), {:.0} ms at most",
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[last],
    )
}

/// From an input to the picture that follows it, in milliseconds, two hundred times: a task after
/// the next frame runs when that has been drawn.
const ANSWERS: &str = "
    const done = arguments[arguments.length - 1];
    const drawn = () => new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
    const pause = () => new Promise((then) => setTimeout(then, 30 + Math.random() * 100));
    (async () => {
        const took = [];
        for (let number = 0; number < 200; number += 1) {
            await pause();
            const begin = performance.now();
            if (number % 2) {
                const field = document.querySelector('input[name=topic]');
                field.value = `employee.${number}`;
                field.dispatchEvent(new Event('input', { bubbles: true }));
            } else {
                document.querySelector('.decision .summary').click();
            }
            await drawn();
            took.push(performance.now() - begin);
        }
        done(took);
    })();
";
