//! Replacing plugins: from the file's rename to the first event that the new
//! version routes, how long the swap holds events up, and how long a router with
//! many plugins takes to start, also with a backlog.
//!
//! `cargo bench --bench reload` does all of it; `-- latency`, `-- stall`, `-- first`, `-- start` or
//! `-- backlog` a part.

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

use std::time::Duration;

use mo_router::scaffold::Language;
use tokio::time::Instant;
use uuid::Uuid;

use measure::backlog::{backlog, routed_at_least};
use measure::wanted;
use support::languages::{self, has_tools, project};
use support::memory::memory;
use support::plugins::marked;
use support::rabbitmq::RabbitMq;
use support::router::Router;
use support::scene::Scene;
use support::steady::{Passage, Steady};
use support::traffic::numbered;

const NAME: &str = "changing";

/// What a plugin puts on each event, in its first version and in its second: of
/// one length, so that it can be replaced in the file.
const STAMPS: [&str; 2] = ["the first version of a plugin...", "the second version of a plugin.."];

#[tokio::main]
async fn main() {
    let broker = broker().await;
    let rust = versions(Language::Rust);
    if wanted("latency") {
        println!("| from the rename to the first event | median | longest of 20 |\n|---|---|---|");
        latency(&broker, "Rust", &rust).await;
        if has_tools("python") {
            latency(&broker, "Python, its code cached", &versions(Language::Python)).await;
        }
    }
    if wanted("stall") {
        stall(&broker, &rust).await;
    }
    if wanted("first") && has_tools("python") {
        first_load(&broker, &versions(Language::Python)[0]).await;
    }
    if wanted("start") {
        start(&broker, "20 in Rust", &(0..20).map(|n| marked(&rust[0], n)).collect::<Vec<_>>())
            .await;
        start(&broker, "20 in all languages", &of_all_languages()).await;
    }
    if wanted("backlog") {
        println!(
            "\n| 100 plugins with a backlog each | ready | most memory until then | in the end | \
             worked off |\n|---|---|---|---|---|"
        );
        // A broker has eight virtual hosts.
        let broker = self::broker().await;
        for events in [0, 1_000, 5_000] {
            start_with_backlog(&broker, &rust[0], events).await;
        }
    }
}

async fn broker() -> RabbitMq {
    tokio::task::spawn_blocking(RabbitMq::start).await.unwrap()
}

/// Two versions of a plugin that forwards and says which it is.
fn versions(language: Language) -> [Vec<u8>; 2] {
    let (file, nothing, stamp) = match language {
        Language::Rust => (
            "src/lib.rs",
            "Publication::default()",
            format!(
                "Publication {{ headers: vec![(\"stamp\".to_owned(), {:?}.into())], \
                 ..Publication::default() }}",
                STAMPS[0]
            ),
        ),
        Language::Python => {
            let stamp = format!("Publication(headers=[(\"stamp\", {:?})])", STAMPS[0]);
            ("plugin.py", "Publication()", stamp)
        }
        other => panic!("{other:?} is not measured"),
    };
    let first = project(language, |folder| {
        let path = folder.join(file);
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(source.contains(nothing), "{source}");
        std::fs::write(path, source.replacen(nothing, &stamp, 1)).unwrap();
    });
    let mut second = first.clone();
    let (old, new) = (STAMPS[0].as_bytes(), STAMPS[1].as_bytes());
    let mut found = 0;
    for at in 0..=second.len() - old.len() {
        if second[at..].starts_with(old) {
            second[at..at + old.len()].copy_from_slice(new);
            found += 1;
        }
    }
    assert!(found > 0, "the stamp is not in the file");
    [first, second]
}

/// A router whose plugin has been replaced once in either direction, so that the
/// code of both versions is in the cache.
async fn changing(scene: &Scene, versions: &[Vec<u8>; 2]) -> Router {
    let mut router = scene.router("", &[]);
    router.put(NAME, &versions[1]);
    router.start_ready().await;
    router.put(NAME, &versions[0]);
    router.logged("plugin replaced").await;
    router
}

/// Replaces the plugin so many times while events pass; gives when each file was
/// renamed, and what became of the events.
async fn replace(
    scene: &Scene,
    versions: &[Vec<u8>; 2],
    per_second: u64,
    times: usize,
) -> (Vec<Instant>, Vec<Passage>) {
    let mut router = changing(scene, versions).await;
    let steady = Steady::start(scene, per_second).await;
    steady.pass(per_second as usize).await;
    let mut renamed = Vec::new();
    for number in 1..=times {
        let next = router.path("next");
        std::fs::write(&next, &versions[number % 2]).unwrap();
        renamed.push(Instant::now());
        steady
            .replace(async {
                std::fs::rename(&next, router.plugin(NAME)).unwrap();
                router.logged_times("plugin replaced", number + 1).await;
            })
            .await;
        steady.pass(per_second as usize / 10).await;
    }
    let passages = steady.stop(scene).await;
    assert!(router.stop().await.success());
    (renamed, passages)
}

async fn latency(broker: &RabbitMq, name: &str, versions: &[Vec<u8>; 2]) {
    let scene = Scene::on(broker).await;
    let (renamed, passages) = replace(&scene, versions, 500, 20).await;
    let mut took: Vec<Duration> = renamed
        .iter()
        .enumerate()
        .map(|(number, renamed)| {
            let stamp = STAMPS[(number + 1) % 2];
            let is_first = |passage: &&Passage| {
                passage.came > *renamed && passage.received.headers["stamp"] == stamp
            };
            passages.iter().find(is_first).expect("events pass").came - *renamed
        })
        .collect();
    took.sort();
    println!("| {name} | {} | {} |", millis(took[took.len() / 2]), millis(took[took.len() - 1]));
}

async fn stall(broker: &RabbitMq, versions: &[Vec<u8>; 2]) {
    println!(
        "\n| 2,000 events/s | events | 99 of 100 took at most | the slowest |\n|---|---|---|---|"
    );
    for reloads in [200, 0] {
        let scene = Scene::on(broker).await;
        let passages = match reloads {
            0 => {
                let mut router = changing(&scene, versions).await;
                let steady = Steady::start(&scene, 2000).await;
                steady.pass(50_000).await;
                let passages = steady.stop(&scene).await;
                assert!(router.stop().await.success());
                passages
            }
            _ => replace(&scene, versions, 2000, reloads).await.1,
        };
        let mut took: Vec<Duration> = passages.iter().map(|passage| passage.took).collect();
        took.sort();
        println!(
            "| {reloads} reloads | {} | {} | {} |",
            took.len(),
            millis(took[took.len() * 99 / 100]),
            millis(took[took.len() - 1]),
        );
    }
}

/// A start with a plugin whose code is in no cache, so that it is compiled.
async fn first_load(broker: &RabbitMq, plugin: &[u8]) {
    let scene = Scene::on(broker).await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let mut router = scene.router("", &[]);
        router.put(NAME, &marked(plugin, Uuid::new_v4().as_u128() as u32));
        let begin = Instant::now();
        router.start_ready().await;
        took.push(begin.elapsed());
        assert_eq!(router.count_logged("cached=false"), 1);
        assert!(router.stop().await.success());
    }
    took.sort();
    println!(
        "\nFrom start to ready, one in Python for the first time: {}, at most {}",
        millis(took[2]),
        millis(took[4])
    );
}

async fn start(broker: &RabbitMq, name: &str, plugins: &[Vec<u8>]) {
    let scene = Scene::on(broker).await;
    let mut router = scene.router("", &[]);
    for (number, plugin) in plugins.iter().enumerate() {
        router.put(&format!("plugin-{number}"), plugin);
    }
    router.start_ready().await;
    assert!(router.stop().await.success());
    let mut took = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        router.start_ready().await;
        took.push(begin.elapsed());
        assert_eq!(router.count_logged("cached=true"), plugins.len());
        assert!(router.stop().await.success());
    }
    took.sort();
    println!("\nFrom start to ready, {name}: {}, at most {}", millis(took[2]), millis(took[4]));
}

/// A start of many plugins, each of which has so many events waiting.
async fn start_with_backlog(broker: &RabbitMq, plugin: &[u8], events: u64) {
    const PLUGINS: u32 = 100;
    let scene = Scene::on(broker).await;
    let mut router = scene.router("", &[]);
    for number in 0..PLUGINS {
        router.put(&format!("plugin-{number}"), &marked(plugin, number));
    }
    backlog(&scene, &mut router, numbered(0..events)).await;
    let begin = Instant::now();
    router.start_ready().await;
    let ready = begin.elapsed();
    let until_ready = memory(router.id(), "VmHWM:") >> 20;
    let all = events * u64::from(PLUGINS);
    routed_at_least(&scene, all).await;
    let per_second = all as f64 / begin.elapsed().as_secs_f64();
    let in_the_end = memory(router.id(), "VmHWM:") >> 20;
    println!(
        "| {events} events | {} | {until_ready} MiB | {in_the_end} MiB | {per_second:.0}/s |",
        millis(ready)
    );
    assert!(router.stop().await.success());
}

/// Twenty plugins, as many of each language.
fn of_all_languages() -> Vec<Vec<u8>> {
    let all = languages::all();
    let plugins: Vec<Vec<u8>> =
        all.into_iter().map(|(_, language)| project(language, |_| ())).collect();
    (0..20).map(|number| marked(&plugins[number as usize % plugins.len()], number)).collect()
}

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}
