//! Brokers and routers that end with SIGKILL while events pass: repeats are
//! allowed, losses are not.

use crate::support::ask_until;
use crate::support::load::Load;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Event, Received, all_of, numbered};

/// How many events wait when the router starts. More are published while it runs, so
/// that it is never done before it is interrupted.
const BACKLOG: u64 = 15_000;

/// How many more events are published a second.
const RATE: u64 = 2000;

/// A router that has declared its queue, and does not run.
async fn declared(scene: &Scene, lines: &str) -> Router {
    let mut router = scene.run(lines, &[("forward", "")]).await;
    assert!(router.stop().await.success());
    router
}

/// Fills the queue of a router, starts it, and keeps the events coming.
async fn load(scene: &Scene, router: &mut Router) -> Load {
    scene.client.publish(MO, numbered(0..BACKLOG)).await;
    router.start();
    let load = Load::start(&scene.url, BACKLOG, RATE, |number| Event::numbered(number, 100));
    some_are_routed(scene, 1000).await;
    load
}

/// Waits until some of the events have been routed.
async fn some_are_routed(scene: &Scene, some: u32) {
    ask_until("events to be routed", || async {
        (scene.client.depth(ROUTED).await >= some).then_some(())
    })
    .await;
}

/// Takes until all events are there, and says how many came twice.
async fn account(scene: &Scene, what: &str, events: u64) {
    let routed: Vec<Received> = scene.client.take_until(ROUTED, all_of(events)).await;
    println!("{what}: {events} events, {} repeats", routed.len() as u64 - events);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn the_broker_is_not_there_at_first() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    broker.settle();
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
        let load = load(&scene, &mut router).await;
        broker.kill();
        broker.restart();
        scene.reconnect().await;
        let events = load.stop().await;
        account(&scene, &format!("broker killed, {queue_type} queue"), events).await;
        scene.client.has("mo-router.forward", 0).await;
        assert!(router.stop().await.success());
        assert_eq!(scene.client.depth("mo-router.forward").await, 0);
    }
}

#[tokio::test]
async fn the_router_is_killed_under_load() {
    let scene = Scene::shared().await;
    let mut router = declared(&scene, "").await;
    let load = load(&scene, &mut router).await;
    for _ in 0..3 {
        router.kill().await;
        let before = scene.client.depth(ROUTED).await;
        router.start();
        some_are_routed(&scene, before + 1000).await;
    }
    let events = load.stop().await;
    account(&scene, "router killed three times", events).await;
    assert!(router.stop().await.success());
    assert_eq!(scene.client.depth("mo-router.forward").await, 0);
}

#[tokio::test]
async fn stopping_under_load_loses_and_repeats_nothing() {
    let scene = Scene::shared().await;
    let mut router = declared(&scene, "").await;
    let load = load(&scene, &mut router).await;
    assert!(router.stop().await.success());
    let events = load.stop().await;
    let before = scene.client.depth(ROUTED).await;
    assert!(u64::from(before) < events, "nothing was left to do");
    router.start();
    let routed = scene.client.take_until(ROUTED, all_of(events)).await;
    assert_eq!(routed.len() as u64, events, "some came twice");
    scene.client.has("mo-router.forward", 0).await;
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
        scene.client.has("mo-router.stuck", 0).await;
        router.kill().await;
        ask_until("the broker to notice", || async {
            let (waiting, dead) =
                (scene.client.depth("mo-router.stuck").await, scene.client.depth(DEAD).await);
            (waiting + dead == 1).then_some(())
        })
        .await;
        router.start_ready().await;
    }
    let letters = router.json(&["dead", "list"]).await;
    let letter = &letters[0];
    assert!(letter["reason"].as_str().unwrap().contains("gave up on it"), "{letter}");
    assert_eq!((&letter["plugin"], &letter["exchange"]), (&"stuck".into(), &MO.into()));
    scene.client.publish(MO, numbered([2])).await;
    assert_eq!(scene.routed(1).await[0].number(), 2);
}
