//! Forwarding: the router with one Rust plugin beside a bare lapin relay, on the
//! same broker, in turns.
//!
//! `cargo bench --bench forward [-- EVENTS [ROUNDS [PREFETCH]]]`
//!
//! With `BASELINE=/path/to/another/mo-router` in the environment that one takes its turns
//! too, and the two routers are compared round by round.
//!
//! Each run gets a queue that has been filled with persistent 90-byte events, and
//! ends when all of them are in the sink. CPU time is that of the process alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and one that fails ends"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time, and nothing repeats it")]

mod measure;
mod relay;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests' support, of which this needs a part")]
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use measure::cpu_time;
use measure::turns::{median, ratios};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

const PLUGIN: &str = "employee-filter";
const SINK: &str = "sink";

/// One run's figures.
#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    cpu_micros: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if arguments.first().is_some_and(|word| word == "relay") {
        return relay::run(&arguments[1], &arguments[2], &arguments[3], arguments[4].parse()?)
            .await;
    }
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |word| word.parse());
    let (events, rounds, prefetch) = (number(0, 100_000)?, number(1, 3)?, number(2, 1000)?);

    let broker = support::rabbitmq::RabbitMq::start();
    let url = broker.url();
    let (program, baseline) = (env!("CARGO_BIN_EXE_mo-router"), std::env::var("BASELINE").ok());
    let (mut router, mut relay, mut before) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        relay.push(run(&url, events, |queue| start_relay(&url, queue, prefetch)).await?);
        let mut turns = vec![(program, &mut router)];
        turns.extend(baseline.as_deref().map(|baseline| (baseline, &mut before)));
        // Whichever comes first finds the broker as the relay left it.
        let first = round as usize % turns.len();
        turns.rotate_left(first);
        for (program, figures) in turns {
            figures.push(run(&url, events, |_| start_router(program, &url, prefetch)).await?);
        }
    }
    println!("{events} events, prefetch {prefetch}, {rounds} rounds in turns; medians\n");
    println!("| | events/s | CPU µs per event |\n|---|---|---|");
    let rate: fn(&Figures) -> f64 = |figures| figures.per_second;
    let cpu: fn(&Figures) -> f64 = |figures| figures.cpu_micros;
    let medians = |figures| (median(all(figures, rate)), median(all(figures, cpu)));
    let (of_relay, of_router) = (medians(&relay), medians(&router));
    for (name, (rate, cpu)) in [("bare lapin relay", of_relay), ("mo-router", of_router)] {
        println!("| {name} | {rate:.0} | {cpu:.1} |");
    }
    println!("| ratio | {:.2} | {:.2} |", of_router.0 / of_relay.0, of_router.1 / of_relay.1);
    if baseline.is_some() {
        let ratio = |of| ratios(&all(&router, of), &all(&before, of));
        let (rate, cpu) = (ratio(rate), ratio(cpu));
        println!("\nof the baseline, round by round: rate {rate}; CPU {cpu}");
    }
    Ok(())
}

fn all(runs: &[Figures], figure: fn(&Figures) -> f64) -> Vec<f64> {
    runs.iter().map(figure).collect()
}

/// Fills a queue, has a process empty it into the sink, and takes the time.
async fn run(url: &str, events: u32, start: impl FnOnce(&str) -> Result<Child>) -> Result<Figures> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let queue = format!("mo-router.{PLUGIN}");
    prepare(&channel, &queue).await?;
    fill(&connection, events).await?;

    let mut process = start(&queue)?;
    let begun = wait_for(&channel, 1).await?;
    let (begin, cpu) = (Instant::now(), cpu_time(process.id()));
    wait_for(&channel, events).await?;
    let (took, cpu) = (begin.elapsed(), cpu_time(process.id()) - cpu);
    process.kill()?;
    process.wait()?;
    let done = f64::from(events - begun);
    Ok(Figures {
        per_second: done / took.as_secs_f64(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / done,
    })
}

/// A new queue bound to the source exchange, as the router declares it, and an
/// empty sink.
async fn prepare(channel: &Channel, queue: &str) -> Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    for exchange in ["os2mo_queue", "os2mo_routed"] {
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
            .await?;
    }
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", "mo-router.dead"),
        ("x-dead-letter-routing-key", PLUGIN),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(100));
    for (queue, exchange, arguments) in
        [(queue, "os2mo_queue", arguments), (SINK, "os2mo_routed", FieldTable::default())]
    {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, arguments).await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), exchange.into(), "#".into(), options, FieldTable::default())
            .await?;
    }
    Ok(())
}

async fn fill(connection: &Connection, events: u32) -> Result<()> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut confirms = FuturesUnordered::new();
    for number in 0..events {
        let body = format!(
            r#"{{"uuid": "{:08x}-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2024-07-01T00:00:00+02:00"}}"#,
            number
        );
        let confirm = channel
            .basic_publish(
                "os2mo_queue".into(),
                "employee.it.create".into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                BasicProperties::default().with_delivery_mode(2),
            )
            .await?;
        confirms.push(confirm);
        while confirms.len() > 1000 {
            confirms.next().await.context("confirms")??;
        }
    }
    while let Some(confirmation) = confirms.next().await {
        ensure!(confirmation?.is_ack(), "an event was refused");
    }
    Ok(())
}

/// Waits until the sink holds so many messages; gives how many it holds.
async fn wait_for(channel: &Channel, messages: u32) -> Result<u32> {
    let begin = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    loop {
        tick.tick().await;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let sink = channel.queue_declare(SINK.into(), passive, FieldTable::default()).await?;
        if sink.message_count() >= messages {
            return Ok(sink.message_count());
        }
        ensure!(begin.elapsed() < PATIENCE, "only {} of {messages} arrived", sink.message_count());
    }
}

fn start_relay(url: &str, queue: &str, prefetch: u32) -> Result<Child> {
    let relay = Command::new(std::env::current_exe()?)
        .args(["relay", url, queue, "os2mo_routed", &prefetch.to_string()])
        .spawn();
    relay.context("starting the relay")
}

fn start_router(program: &str, url: &str, prefetch: u32) -> Result<Child> {
    let folder = tempfile::tempdir()?.keep();
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/{PLUGIN}.wasm"));
    std::fs::create_dir(folder.join("plugins"))?;
    std::fs::copy(&plugin, folder.join(format!("plugins/{PLUGIN}.wasm")))
        .with_context(|| format!("{} is not there: run `make plugins`", plugin.display()))?;
    Command::new(program)
        .arg("run")
        .current_dir(&folder)
        .env("MO_ROUTER_AMQP_ENABLED", "true")
        .env("MO_ROUTER_AMQP_URL", url)
        .env("MO_ROUTER_AMQP_PREFETCH", prefetch.to_string())
        .env("MO_ROUTER_HTTP_LISTEN", "127.0.0.1:0")
        .stderr(Stdio::null())
        .spawn()
        .context("starting the router")
}
