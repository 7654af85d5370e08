//! Commands on a hundred thousand dead letters.
//!
//! `cargo bench --bench dead [-- LETTERS]`

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

use std::time::{Duration, Instant};

use support::letters::{publication, put};
use support::rabbitmq::RabbitMq;
use support::scene::{DEAD, ROUTED, Scene};

#[tokio::main]
async fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(100_000);
    let broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let router = scene.router("", &[]);
    let run = async |arguments: &[&str]| {
        let start = Instant::now();
        let output = router.command(arguments).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        start.elapsed()
    };
    run(&["dead", "list"]).await;
    println!("| {count} letters | |\n|---|---|");
    let fill = async |plugin: &str| {
        put(&scene.client, count, |number| publication(number, plugin, ROUTED, "full")).await;
        while scene.client.depth(DEAD).await != count as u32 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    fill("a").await;
    for arguments in [
        &["dead", "list"][..],
        &["dead", "list", "--group"],
        &["dead", "list", "--plugin", "none"],
        &["dead", "list", "--skip", "50000"],
        &["dead", "show", "0123456789abcde"],
    ] {
        let start = Instant::now();
        router.command(arguments).output().await.unwrap();
        println!("| `{}` | {:.2?} |", arguments.join(" "), start.elapsed());
    }
    let rate = |took: Duration| count as f64 / took.as_secs_f64();
    let took = run(&["dead", "requeue", "--all"]).await;
    println!("| `dead requeue --all` | {took:.2?}, {:.0} a second |", rate(took));
    fill("b").await;
    let took = run(&["dead", "discard", "--all", "--yes"]).await;
    println!("| `dead discard --all` | {took:.2?}, {:.0} a second |", rate(took));
}
