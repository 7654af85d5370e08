//! Brokers and routers that end with SIGKILL while events pass: repeats are
//! allowed, losses are not.

use std::ops::Range;

use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Client, Received, all_of, numbered};

/// How many events pass while something is killed.
const EVENTS: u64 = 20_000;

/// A router that has just begun to route a queue full of events.
async fn under_load(scene: &Scene, lines: &str) -> Router {
    let mut router = declared(scene, lines).await;
    load(scene, &mut router).await;
    router
}

/// A router that has declared its queue, and does not run.
async fn declared(scene: &Scene, lines: &str) -> Router {
    let mut router = scene.run(lines, &[("forward", "")]).await;
    assert!(router.stop().await.success());
    router
}

/// Fills the queue of a router and starts it.
async fn load(scene: &Scene, router: &mut Router) {
    scene.client.publish(MO, numbered(0..EVENTS)).await;
    router.start();
    some_are_routed(scene, 1000).await;
}

/// Waits until some of the events have been routed, and others have not.
async fn some_are_routed(scene: &Scene, some: u32) {
    let routed = crate::support::ask_until("events to be routed", || async {
        let routed = scene.client.depth(ROUTED).await;
        (routed >= some).then_some(routed)
    })
    .await;
    assert!(u64::from(routed) < EVENTS, "all are routed, so that nothing would be interrupted");
}

/// Takes until all events are there, and says how many came twice.
async fn account(scene: &Scene, what: &str, events: u64) {
    let routed: Vec<Received> = scene.client.take_until(ROUTED, all_of(events)).await;
    println!("{what}: {events} events, {} repeats", routed.len() as u64 - events);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

/// Waits until all that was in a queue has been delivered.
async fn drained(scene: &Scene, queue: &str) {
    crate::support::ask_until("an empty queue", || async {
        (scene.client.depth(queue).await == 0).then_some(())
    })
    .await;
}

/// Publishes though the broker goes away: what it did not confirm is sent again.
async fn publish_through(url: String, events: Range<u64>) {
    let mut client = Client::connect(&url).await;
    for start in events.step_by(100) {
        while client.try_publish(MO, numbered(start..start + 100)).await.is_err() {
            client = Client::connect(&url).await;
        }
    }
}

#[tokio::test]
async fn the_broker_is_not_there_at_first() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    broker.kill();
    let mut router = scene.router("", &[("forward", "")]);
    router.start();
    router.logged("cannot be reached").await;
    broker.restart();
    router.logged("ready").await;
    let mut scene = scene;
    scene.reconnect().await;
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(scene.routed(100).await.len(), 100);
}

#[tokio::test]
async fn a_plugin_is_removed_while_the_broker_is_away() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let mut scene = Scene::on(&broker).await;
    let router = scene.run("queue_type = 'classic'", &[("forward", "")]).await;
    broker.settle();
    broker.kill();
    std::fs::remove_file(router.plugin("forward")).unwrap();
    router.logged("cannot be reached").await;
    broker.restart();
    router.logged("plugin removed; its queue keeps its messages").await;
    scene.reconnect().await;
    scene.client.publish(MO, numbered(0..10)).await;
    assert_eq!(scene.client.depth("mo-router.forward").await, 0);
}

#[tokio::test]
async fn the_broker_is_killed_under_load() {
    for queue_type in ["quorum", "classic"] {
        let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
        let mut scene = Scene::on(&broker).await;
        let mut router = declared(&scene, &format!("queue_type = '{queue_type}'")).await;
        broker.settle();
        load(&scene, &mut router).await;
        let publisher = tokio::spawn(publish_through(scene.url.clone(), EVENTS..EVENTS + 5000));
        some_are_routed(&scene, 2000).await;
        broker.kill();
        broker.restart();
        scene.reconnect().await;
        publisher.await.unwrap();
        account(&scene, &format!("broker killed, {queue_type} queue"), EVENTS + 5000).await;
        drained(&scene, "mo-router.forward").await;
        assert!(router.stop().await.success());
        assert_eq!(scene.client.depth("mo-router.forward").await, 0);
    }
}

#[tokio::test]
async fn the_router_is_killed_under_load() {
    let scene = Scene::shared().await;
    let mut router = under_load(&scene, "").await;
    for round in 2..=4 {
        router.kill().await;
        router.start();
        some_are_routed(&scene, round * 1000).await;
    }
    account(&scene, "router killed three times", EVENTS).await;
    assert!(router.stop().await.success());
    assert_eq!(scene.client.depth("mo-router.forward").await, 0);
}

#[tokio::test]
async fn stopping_under_load_loses_and_repeats_nothing() {
    let scene = Scene::shared().await;
    let mut router = under_load(&scene, "").await;
    assert!(router.stop().await.success());
    let before = scene.client.depth(ROUTED).await;
    assert!(u64::from(before) < EVENTS, "nothing was left to do");
    router.start();
    let routed = scene.client.take_until(ROUTED, all_of(EVENTS)).await;
    assert_eq!(routed.len() as u64, EVENTS, "some came twice");
    drained(&scene, "mo-router.forward").await;
    assert!(router.stop().await.success());
    let left = ["mo-router.forward", ROUTED, DEAD].map(|queue| scene.client.depth(queue));
    assert_eq!(futures::future::join_all(left).await, [0, 0, 0]);
}

#[tokio::test]
async fn an_event_that_takes_the_router_down_is_given_up() {
    let scene = Scene::shared().await;
    let script = "limits.attempts = 1000\nconfig = { answer = 'retry', only = '\"number\":1,' }";
    let mut router = scene.run("delivery_limit = 2", &[("stuck", script)]).await;
    scene.client.publish(MO, numbered([1])).await;
    // Delivered once, and twice again.
    for _ in 0..3 {
        drained(&scene, "mo-router.stuck").await;
        router.kill().await;
        crate::support::ask_until("the broker to notice", || async {
            let (waiting, dead) =
                (scene.client.depth("mo-router.stuck").await, scene.client.depth(DEAD).await);
            (waiting + dead == 1).then_some(())
        })
        .await;
        router.start_ready().await;
    }
    let letters = router.json(&["dead", "list"]).await;
    let letter = &letters[0];
    assert!(letter["reason"].as_str().unwrap().contains("gave it up"), "{letter}");
    assert_eq!((&letter["plugin"], &letter["exchange"]), (&"stuck".into(), &MO.into()));
    scene.client.publish(MO, numbered([2])).await;
    assert_eq!(scene.routed(1).await[0].number(), 2);
}
