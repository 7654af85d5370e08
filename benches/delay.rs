//! Delays: how fast they are accepted and released, beside plain forwarding and
//! beside mo-delay-agent's way; and ten million of them, pending.
//!
//! `cargo bench --bench delay` does all of it; `-- rates` or `-- pending` a part.
//! `MESSAGES` and `PENDING` in the environment set the sizes, `STORE=SQLite` or
//! `STORE=PostgreSQL` leaves the other out of the second part. A filled PostgreSQL is
//! measured when its own upkeep has caught up (autovacuum, which looks once a minute).

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

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mo_router::delay::{Filter, Import, Store};
use mo_router::event::{Datetime, Delayed, Message, Properties, headers};
use mo_router::settings::{self, ServerUrl};

use measure::backlog::{backlog, routed, with_plugin};
use measure::{size, wanted};
use support::ask_until;
use support::memory::memory;
use support::postgres::Server;
use support::rabbitmq::RabbitMq;
use support::router::Router;
use support::scene::{MO, ROUTED, Scene};
use support::traffic::{Client, Event};

/// As events are published, and stored, at a time.
const BATCH: u64 = 1000;

#[tokio::main]
async fn main() {
    if wanted("rates") {
        rates(size("MESSAGES", 100_000)).await;
    }
    if wanted("pending") {
        pending(size("PENDING", 10_000_000)).await;
    }
}

/// Forwarding, accepting and releasing, each of a backlog.
async fn rates(messages: u64) {
    let broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();

    let scene = Scene::on(&broker).await;
    let mut router = with_plugin(&scene, "employee-filter");
    backlog(&scene, &mut router, events(messages)).await;
    let forwarded = rate(&mut router, messages, || routed(&scene)).await;
    println!("forwarded: {forwarded:.0} messages/s");

    for home in ["SQLite", "PostgreSQL"] {
        let scene = Scene::on(&broker).await;
        let mut router = with_plugin(&scene, "mo-delay");
        let store = store_in(home, &server, &router);
        backlog(&scene, &mut router, events(messages)).await;
        let store = Store::open(&store).await.unwrap();
        let accepted = rate(&mut router, messages, || stored(&store)).await;
        println!(
            "accepted, {home}: {accepted:.0} messages/s, {:.2} of forwarding",
            accepted / forwarded
        );

        hurry(&store).await;
        scene.client.purge(ROUTED).await;
        let released = rate(&mut router, messages, || routed(&scene)).await;
        println!(
            "released, {home}: {released:.0} messages/s, {:.2} of forwarding",
            released / forwarded
        );
    }

    let scene = Scene::on(&broker).await;
    let few = messages / 5;
    let agent = Agent::new(&scene, server.database(), few);
    scene.client.publish(MO, events(few)).await;
    for (step, done) in [("accept", "accepted"), ("release", "released")] {
        let rate = few as f64 / agent.run(step).as_secs_f64();
        println!("{done}, mo-delay-agent's way: {rate:.0} messages/s");
    }
}

/// An empty store, which the router is told to use.
fn store_in(home: &str, server: &Server, router: &Router) -> settings::StoreUrl {
    if home == "SQLite" {
        return settings::StoreUrl::Sqlite(router.path("delays.db"));
    }
    let url = server.database();
    router.set("delay.store", &url);
    settings::StoreUrl::Postgres(ServerUrl::postgres(&url).unwrap())
}

/// Events that take effect far ahead.
fn events(messages: u64) -> impl Iterator<Item = Event> {
    (0..messages).map(|number| {
        let mut event = Event::numbered(number, 100_000);
        let body = String::from_utf8(event.body).unwrap();
        event.body = body.replace("2024-07-01", "2124-07-01").into_bytes();
        event
    })
}

/// Runs the router until all messages are done, of which `done` says how many are:
/// messages per second, from when some are.
async fn rate<F: Future<Output = u64>>(
    router: &mut Router,
    messages: u64,
    done: impl Fn() -> F,
) -> f64 {
    router.start();
    let done = &done;
    let some = |least: u64| ask_until("messages to be done", move || at_least(least, done()));
    let (before, start) = (some(1).await, Instant::now());
    let (after, took) = (some(messages).await, start.elapsed());
    router.stop().await;
    (after - before) as f64 / took.as_secs_f64()
}

async fn at_least(least: u64, number: impl Future<Output = u64>) -> Option<u64> {
    Some(number.await).filter(|number| *number >= least)
}

async fn stored(store: &Store) -> u64 {
    store.count(Filter::default(), Datetime::now()).await.unwrap().total
}

/// Makes all messages due.
async fn hurry(store: &Store) {
    let list = store.list(Filter::default(), None, usize::MAX).await.unwrap();
    let ids = list.iter().map(|stored| stored.id).collect();
    store.reschedule(ids, Datetime::now()).await.unwrap();
}

/// What mo-delay-agent does, done by `benches/agent.py`.
struct Agent {
    python: PathBuf,
    arguments: Vec<String>,
}

impl Agent {
    fn new(scene: &Scene, database: String, messages: u64) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("agent");
        let python = folder.join("bin/python");
        if !python.exists() {
            succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder));
            succeed(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "pika",
                "psycopg2-binary",
            ]));
        }
        let arguments =
            vec![scene.url.clone(), database, MO.into(), ROUTED.into(), messages.to_string()];
        let agent = Self { python, arguments };
        agent.run("prepare");
        agent
    }

    /// Does one step; returns how long it took without what comes before and after.
    fn run(&self, step: &str) -> Duration {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/agent.py");
        let output = Command::new(&self.python)
            .arg(script)
            .arg(step)
            .args(&self.arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Duration::from_secs_f64(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
    }
}

fn succeed(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// Millions of pending messages: what they cost, and whether others are on time.
async fn pending(messages: u64) {
    let broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let only = std::env::var("STORE").ok();
    for home in ["SQLite", "PostgreSQL"] {
        if only.as_ref().is_some_and(|only| only != home) {
            continue;
        }
        let scene = Scene::on(&broker).await;
        let mut router = with_plugin(&scene, "mo-delay");
        let settings = store_in(home, &server, &router);
        let store = Store::open(&settings).await.unwrap();
        let start = Instant::now();
        fill(&store, messages).await;
        println!("{home}, {messages} pending: stored in {:.0?}", start.elapsed());
        if let settings::StoreUrl::Postgres(url) = &settings {
            let start = Instant::now();
            keep_up(&server, url.expose());
            println!("{home}, {messages} pending: upkeep took {:.0?} more", start.elapsed());
        }

        let start = Instant::now();
        router.start_ready().await;
        println!("{home}, {messages} pending: start to ready {:.2?}", start.elapsed());
        let start = Instant::now();
        assert_eq!(router.json(&["delayed", "count"]).await["total"], messages);
        println!("{home}, {messages} pending: `delayed count` {:.2?}", start.elapsed());

        let late = lateness(&scene.client, &store, 30_000).await;
        println!(
            "{home}, {messages} pending: 1,000 due per second: lateness p50 {:.1?}, p99 {:.1?}, worst {:.1?}",
            late[late.len() / 2],
            late[late.len() * 99 / 100],
            late[late.len() - 1]
        );
        println!(
            "{home}, {messages} pending: memory of the router {} MiB at most",
            memory(router.id(), "VmHWM:") >> 20
        );
        router.stop().await;
    }
}

/// Waits until autovacuum has seen nearly all that was stored, and rests.
fn keep_up(server: &Server, url: &str) {
    let (_, database) = url.rsplit_once('/').unwrap();
    let rests = "SELECT n_ins_since_vacuum < 0.02 * n_live_tup
                     AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum)
                 FROM pg_stat_user_tables WHERE relname = 'mo_router_delayed'";
    for _ in 0..600 {
        if server.sql(database, rests) == "t" {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("autovacuum does not come");
}

/// Messages due over ten years, in no order.
async fn fill(store: &Store, messages: u64) {
    let start = Datetime::now().saturating_add(Duration::from_secs(24 * 3600));
    for first in (0..messages).step_by(BATCH as usize) {
        let batch = (first..messages.min(first + BATCH)).map(|number| {
            let ahead = Duration::from_secs(rand::random_range(0..10 * 365 * 24 * 3600));
            delayed(number, start.saturating_add(ahead))
        });
        store.accept(Arc::new(batch.collect())).await.unwrap();
    }
}

fn delayed(number: u64, due: Datetime) -> Delayed {
    let event = Event::numbered(number, 1_000_000);
    let id = uuid::Uuid::from_u128(number.into()).to_string();
    let mut properties = Properties { message_id: Some(id), ..Properties::default() };
    properties.headers.insert(headers::DUE.into(), due.to_string().into());
    let message = Message {
        exchange: ROUTED.into(),
        routing_key: event.key,
        properties: properties.into(),
        body: event.body.into(),
    };
    let uuid = uuid::Uuid::from_u128(u128::from(number % 1_000_000)).to_string();
    Delayed { message, due, plugin: "mo-delay".into(), version: "bench".into(), key: None, uuid }
}

/// Adds messages that are due at 1,000 a second, and says how late they arrive,
/// the least late first.
async fn lateness(client: &Client, store: &Store, messages: u64) -> Vec<Duration> {
    let start = Datetime::now().saturating_add(Duration::from_secs(10));
    for first in (0..messages).step_by(BATCH as usize) {
        let due = |number| start.saturating_add(Duration::from_millis(number));
        let batch = (first..first + BATCH).map(|number| {
            let delayed = delayed(number, due(number));
            Import { id: delayed.message.id().to_owned(), delayed }
        });
        // Unlike what a router accepts itself, an import is told to the one that runs.
        store.import(Arc::new(batch.collect())).await.unwrap();
    }
    let mut late = Vec::new();
    let mut looked_at = 0;
    client
        .take_until(ROUTED, |received| {
            let now = Datetime::now();
            late.extend(received[looked_at..].iter().map(|message| {
                let due: Datetime = message.headers[headers::DUE].parse().unwrap();
                now.saturating_since(due)
            }));
            looked_at = received.len();
            looked_at as u64 == messages
        })
        .await;
    late.sort_unstable();
    late
}
