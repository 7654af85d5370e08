//! The bridge's rate: events of 15 keys from an endpoint that takes 20 ms for a request, through
//! RabbitMQ's confirms, to the last acknowledgement.
//!
//! `cargo bench --bench mo -- EVENTS`

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

use std::time::Duration;

use mo_router::mo::keys::KNOWN;
use tokio::time::Instant;
use uuid::Uuid;

use support::ask_until;
use support::mo::{Endpoint, Faults};
use support::rabbitmq::RabbitMq;
use support::scene::Scene;

/// How long the endpoint takes for a request.
const DELAY: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() {
    let events = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let events: usize = events.unwrap_or(10_000);
    let broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let endpoint = Endpoint::start().await;
    let settings = format!("[mo]\nenabled = true\nurl = {:?}\n", endpoint.url());
    println!("| keys | events | events/s | requests |\n|---|---|---|---|");
    let mut router = scene.router(&settings, &[("drop", "config = { answer = 'drop' }")]);
    router.start_ready().await;
    for key in KNOWN {
        ask_until("its listener", || async { endpoint.listener(key) }).await;
    }
    endpoint.set_faults(Faults { delay: DELAY, ..Faults::default() });
    for keys in [1, KNOWN.len()] {
        let before = endpoint.requests().0;
        for key in KNOWN.iter().take(keys).cycle().take(events) {
            endpoint.emit(key, &Uuid::new_v4().to_string());
        }
        let begun = Instant::now();
        ask_until("all to be acknowledged", || async {
            (endpoint.world().pending() == 0).then_some(())
        })
        .await;
        let rate = events as f64 / begun.elapsed().as_secs_f64();
        let requests = endpoint.requests().0 - before;
        println!("| {keys} | {events} | {rate:.0} | {requests} |");
    }
}
