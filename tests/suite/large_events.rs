//! Events so large that the memory that they may take counts, not their number.

use serde_json::json;

use crate::page_api::{JSON, ask};
use crate::support::letters;
use crate::support::memory::memory;
use crate::support::rabbitmq::RabbitMq;
use crate::support::road::Road;
use crate::support::router::TOKEN;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Event, Received};
use crate::support::within_reason;

const UUID: &str = "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60";

/// A key of MO's form, that tells an event from others.
fn key(number: usize) -> String {
    format!("employee.large-{number}.edit")
}

/// An event about one person, with so much after it that nobody reads.
fn large(number: usize, size: usize) -> Event {
    let mut body = format!(r#"{{"uuid": "{UUID}", "time": "2024-07-01T00:00:00+02:00"}}"#);
    body.push_str(&" ".repeat(size));
    let mut event = Event::new(&key(number), body);
    event.properties = event.properties.with_delivery_mode(2);
    event
}

fn keys(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.routing_key.as_str()).collect()
}

#[tokio::test]
async fn a_backlog_of_large_events_takes_no_more_memory_than_allowed() {
    const EVENTS: usize = 150;
    const SIZE: usize = 6 << 20;

    let scene = Scene::shared().await;
    let mut router =
        scene.run("prefetch_bytes = '8 MiB'", &[("plugin", "config.body = '{}'")]).await;
    assert!(router.stop().await.success());
    for number in 0..EVENTS {
        scene.client.publish(MO, [large(number, SIZE)]).await;
    }
    for number in EVENTS..2 * EVENTS {
        scene.client.publish(MO, [large(number, 0)]).await;
    }

    router.start();
    let routed = scene.routed(2 * EVENTS).await;
    let expected: Vec<String> = (0..2 * EVENTS).map(key).collect();
    assert_eq!(keys(&routed), expected, "each once, in their order");
    assert_eq!(scene.client.depth(DEAD).await, 0);
    let most = memory(router.id(), "VmHWM:") >> 20;
    println!("{} MiB of events, {most} MiB of memory at most", (EVENTS * SIZE) >> 20);
    assert!(most < 400, "{most} MiB for events that may take 8 MiB");
    assert!(router.stop().await.success());
}

/// It has nothing in flight that would wake its session.
#[tokio::test]
async fn more_large_events_than_are_kept_come_at_once_to_a_plugin_with_nothing_to_do() {
    const EVENTS: usize = 300;
    const SIZE: usize = 20 << 10;

    let scene = Scene::shared().await;
    let mut router =
        scene.run("prefetch_bytes = '256 KiB'", &[("plugin", "config.body = '{}'")]).await;
    // All of it is there when the router looks.
    router.signal("STOP");
    for number in 0..EVENTS {
        scene.client.publish(MO, [large(number, SIZE)]).await;
    }
    router.signal("CONT");
    let routed = scene.routed(EVENTS).await;
    let expected: Vec<String> = (0..EVENTS).map(key).collect();
    assert_eq!(keys(&routed), expected, "each once, in their order");
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn a_page_of_large_dead_letters_is_not_held_as_a_whole() {
    const LETTERS: u64 = 30;
    const SIZE: u64 = 6 << 20;

    let scene = Scene::shared().await;
    let mut router = scene.run("", &[("forward", "")]).await;
    router.json(&["dead", "list"]).await;
    for number in 0..LETTERS {
        let mut letter = letters::publication(number, "forward", ROUTED, "it was full");
        letter.body = vec![b'x'; SIZE as usize];
        scene.client.publish(DEAD, [letter]).await;
    }
    let before = memory(router.id(), "VmHWM:") >> 20;
    let answer = ask(&router, "GET /api/dead?limit=30", &[], "").await;
    assert_eq!(answer.json()["letters"].as_array().unwrap().len() as u64, LETTERS);
    let most = memory(router.id(), "VmHWM:") >> 20;
    println!(
        "{before} MiB before, {most} MiB at most, with {} MiB of letters",
        (LETTERS * SIZE) >> 20
    );
    assert!(most < before + 100, "{before} MiB before, {most} MiB with a list of letters");
    assert!(router.stop().await.success());
}

/// The broker says that none is left as soon as they are on their way.
#[tokio::test]
async fn each_dead_letter_is_read_however_long_it_takes_to_come() {
    const LETTERS: u64 = 3;
    const SIZE: usize = 2 << 20;

    let scene = Scene::shared().await;
    let road = Road::narrow(&scene.url, SIZE / 2).await;
    let router = scene.router("", &[]);
    router.json(&["dead", "list"]).await;
    for number in 0..LETTERS {
        let mut letter = letters::publication(number, "forward", ROUTED, "it was full");
        letter.body = vec![b'x'; SIZE];
        scene.client.publish(DEAD, [letter]).await;
    }
    scene.client.has(DEAD, LETTERS as u32).await;
    let mut requeue = router.command(&["dead", "requeue", "--all"]);
    let requeue = requeue.env("MO_ROUTER_AMQP_URL", road.url()).output();
    let output = within_reason("the letters to come", requeue).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 sent back\n", "{output:?}");
    assert_eq!(scene.routed(LETTERS as usize).await.len() as u64, LETTERS);
}

/// The first are not confirmed for half a minute, and the others wait for them meanwhile.
#[tokio::test]
async fn large_dead_letters_that_wait_to_be_sent_back_take_no_more_memory_than_allowed() {
    const LETTERS: u64 = 80;
    const STUCK: u64 = 3;
    const SIZE: u64 = 6 << 20;

    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    scene.client.exchange("stuck", true).await;
    scene.client.catch_all("stuck").await;
    let router = scene.run("", &[("forward", "")]).await;
    router.json(&["dead", "list"]).await;
    // A new broker may lose the first message.
    letters::put(&scene.client, 1, |number| letters::publication(number, "p", ROUTED, "r")).await;
    router.print(&["dead", "discard", "--all", "--yes"]).await;
    for number in 0..LETTERS {
        let exchange = if number < STUCK { "stuck" } else { ROUTED };
        let mut letter = letters::publication(number, "forward", exchange, "it was full");
        letter.body = vec![b'x'; SIZE as usize];
        scene.client.publish(DEAD, [letter]).await;
    }
    scene.client.has(DEAD, LETTERS as u32).await;
    broker.tell_queue("suspend", &scene.virtual_host(), "stuck");

    let before = memory(router.id(), "VmHWM:") >> 20;
    let body = json!({"group": {"plugin": "forward", "reason": "it was full"}}).to_string();
    let authorized = [JSON, &format!("Authorization: Bearer {TOKEN}")];
    let answer = ask(&router, "POST /api/dead/requeue", &authorized, &body).await.json();
    assert_eq!((&answer["sent_back"], &answer["failed"]), (&77.into(), &3.into()), "{answer}");
    let most = memory(router.id(), "VmHWM:") >> 20;
    println!(
        "{before} MiB before, {most} MiB at most, with {} MiB of letters",
        (LETTERS * SIZE) >> 20
    );
    assert!(most < before + 250, "{before} MiB before, {most} MiB while letters waited");
}
