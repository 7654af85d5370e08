//! Containment: how fast innocent events are routed while another plugin publishes one
//! poisonous message a second, as a ratio to the same without.
//!
//! `cargo bench --bench containment [-- EVENTS [ROUNDS]]`
//!
//! Each run gets a virtual host of its own. The innocent plugin's queue has been filled when
//! the router starts; the rate is taken from its first message to its last. The rows take
//! turns.

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

use measure::turns::{median, ratios};
use support::rabbitmq::RabbitMq;
use support::scene::{MO, Scene};
use support::traffic::{Client, Event};

/// The innocent plugin, and the exchange and queue that its messages go to.
const INNOCENT: &str = "innocent";
/// The key of the events that cause poison.
const KEY: &str = "employee.address.create";

/// What the poisonous plugin is told to do; none for the run without.
const ROWS: [(&str, Option<&str>); 5] = [
    ("none", None),
    ("406, published now", Some("config.header = 'CC=elsewhere'")),
    ("406, delayed", Some("config.header = 'CC=elsewhere'\nconfig.delay = '100'")),
    ("403, published now", Some("exchanges = ['internal']\nconfig.to = 'internal'")),
    ("404, published now", Some("exchanges = ['missing']\nconfig.to = 'missing'")),
];

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u32>().ok());
    let (events, rounds) = (numbers.next().unwrap_or(60_000), numbers.next().unwrap_or(3));
    let mut rates = vec![Vec::new(); ROWS.len()];
    for _ in 0..rounds {
        // One has a virtual host for each row, and not for many more.
        let broker = RabbitMq::start();
        for ((_, poison), rates) in ROWS.iter().zip(&mut rates) {
            rates.push(rate(&broker, events, *poison).await);
        }
    }
    println!("{events} innocent events, {rounds} rounds in turns\n");
    println!(
        "| poison, one a second | events/s | of none: median (least to greatest) |\n|---|---|---|"
    );
    for ((name, _), with) in ROWS.iter().zip(&rates) {
        let rate = median(with.clone());
        println!("| {name} | {rate:.0} | {} |", ratios(with, &rates[0]));
    }
}

/// Innocent messages per second.
async fn rate(broker: &RabbitMq, events: u32, poison: Option<&str>) -> f64 {
    let scene = Scene::on(broker).await;
    scene.client.internal_exchange("internal").await;
    scene.client.exchange(INNOCENT, true).await;
    scene.client.catch_all(INNOCENT).await;
    let innocent = format!(
        "subscriptions = ['employee.engagement.*']\nexchanges = ['{INNOCENT}']\nconfig.to = '{INNOCENT}'"
    );
    let poisonous = format!("subscriptions = ['{KEY}']\n{}", poison.unwrap_or_default());
    let plugins = [(INNOCENT, &innocent[..]), ("poisonous", &poisonous[..])];
    let mut router = scene.run("declare = 'passive'", &plugins).await;
    assert!(router.stop().await.success());
    scene.client.publish(MO, (0..events).map(|number| Event::numbered(number.into(), 1000))).await;

    let publishing = poison.map(|_| tokio::spawn(publish_poison(scene.url.clone())));
    router.start_ready().await;
    let begun = arrived(&scene, 1).await;
    let begin = Instant::now();
    arrived(&scene, events).await;
    let rate = f64::from(events - begun) / begin.elapsed().as_secs_f64();
    if let Some(publishing) = publishing {
        publishing.abort();
    }
    router.kill().await;
    rate
}

async fn publish_poison(url: String) {
    let client = Client::connect(&url).await;
    let body =
        r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2024-07-01T00:00:00Z"}"#;
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        client.publish(MO, [Event::new(KEY, body)]).await;
    }
}

/// Waits until so many innocent messages have arrived; how many there are.
async fn arrived(scene: &Scene, count: u32) -> u32 {
    support::ask_until("the innocent messages", || async {
        let depth = scene.client.depth(INNOCENT).await;
        (depth >= count).then_some(depth)
    })
    .await
}
