//! A broker that blocks or freezes: people are told, and the router and its commands end all
//! the same.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::ask_until;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::{numbered, numbers};

const PUBLISH: [&str; 4] =
    ["publish", "employee.it.create", "--uuid", "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60"];

const BLOCKED: &str = "the broker blocks publishing: low on memory";

/// How much longer than allowed something may take because the machine is slow.
const SLOWNESS: Duration = Duration::from_secs(20);

/// A broker of its own, and a router that is ready and has so many seconds to stop.
async fn running(stop_timeout: &str) -> (RabbitMq, Scene, Router) {
    let broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let section = format!("[daemon]\nstop_timeout = '{stop_timeout}'");
    let router = scene.run(&section, &[("forward", "")]).await;
    (broker, scene, router)
}

/// The same with ten events that the router has taken, and a broker that is short of memory
/// and takes no messages.
async fn blocked(stop_timeout: &str) -> (RabbitMq, Scene, Router) {
    let (mut broker, scene, mut router) = running(stop_timeout).await;
    assert!(router.stop().await.success());
    scene.client.publish(MO, numbered(0..10)).await;
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]);
    router.start();
    ask_until("the broker to block", || async {
        let (status, reasons) = router.get("readyz").await;
        (status == 503 && reasons.contains(&format!("broker-blocked: {BLOCKED}"))).then_some(())
    })
    .await;
    (broker, scene, router)
}

#[tokio::test]
async fn a_broker_that_blocks_is_named_and_the_flow_goes_on_after_it() {
    let (mut broker, scene, router) = blocked("3s").await;
    // It is in the log a moment after.
    router.logged(BLOCKED).await;
    assert_eq!(router.count_logged(BLOCKED), 1);
    let shown = router.print(&["status", "--address", &router.address().await]).await;
    assert!(shown.contains(&format!("not ready: broker-blocked: {BLOCKED}")), "{shown}");

    let begun = Instant::now();
    let output = router.call(&PUBLISH).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains(BLOCKED), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10) + SLOWNESS);

    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    router.logged("the broker takes messages again").await;
    // And what the command could not have confirmed.
    assert!(scene.routed(10).await.len() >= 10);
    ask_until("readiness", || async { (router.get("readyz").await.0 == 200).then_some(()) }).await;
}

/// The broker tells only connections that publish, and this router publishes nothing.
#[tokio::test]
async fn a_router_without_events_says_that_the_broker_blocks() {
    let (mut broker, scene, router) = running("3s").await;
    for _ in 0..2 {
        broker.control(&["set_vm_memory_high_watermark", "0.000001"]);
        let reason = format!("broker-blocked: {BLOCKED}");
        ask_until("the router to be told", || async {
            let (status, reasons) = router.get("readyz").await;
            (status == 503 && reasons.contains(&reason)).then_some(())
        })
        .await;
        assert_eq!(router.metric("broker_blocked{connection=\"publish\"}").await, Some(1.0));
        broker.control(&["set_vm_memory_high_watermark", "0.6"]);
        ask_until("readiness", || async { (router.get("readyz").await.0 == 200).then_some(()) })
            .await;
    }
    // What it asked with went nowhere.
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn a_stop_ends_in_time_though_the_broker_blocks() {
    let (mut broker, scene, mut router) = blocked("3s").await;
    let begun = Instant::now();
    assert!(router.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(3) + SLOWNESS, "{:?}", begun.elapsed());
    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    router.start();
    scene.client.take_until("routed", |routed| numbers(routed).len() == 10).await;
}

#[tokio::test]
async fn a_second_signal_ends_the_router_at_once() {
    let (_broker, _scene, mut router) = blocked("1h").await;
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        router.signal(signal);
        router.logged("a second signal ends the router at once").await;
        router.signal(signal);
        assert_eq!(router.ended().await.code(), Some(code));
        router.start();
        router.logged(BLOCKED).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_frozen_ends_commands_and_stops() {
    let (mut broker, _scene, mut router) = running("3s").await;
    broker.freeze();
    let begun = Instant::now();
    let output = router.call(&PUBLISH).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("took longer than"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10) + SLOWNESS);

    let begun = Instant::now();
    assert!(router.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(3) + SLOWNESS, "{:?}", begun.elapsed());

    router.start();
    let unreachable = router.logged("the broker cannot be reached").await;
    assert!(unreachable.contains("took longer than"), "{unreachable}");
    broker.thaw();
    router.logged("plugin consumes").await;
}

#[tokio::test]
async fn a_broker_that_freezes_is_noticed() {
    let (mut broker, scene, router) = running("3s").await;
    broker.freeze();
    ask_until("that the broker is unreachable", || async {
        let (status, reasons) = router.get("readyz").await;
        (status == 503 && reasons.contains("broker-unreachable")).then_some(())
    })
    .await;
    broker.thaw();
    router.logged("the broker is available again").await;
    scene.client.publish(MO, numbered(0..10)).await;
    assert_eq!(scene.routed(10).await.len(), 10);
}

/// RabbitMQ says of a quorum queue that does not answer that it is empty.
#[tokio::test]
async fn dead_letters_that_the_broker_cannot_count_are_not_taken_for_none() {
    const METRIC: &str = "dead_letter_queue_messages";
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let router = scene.run("", &[("rejects", "config.answer = 'reject'")]).await;
    scene.client.publish(MO, numbered(0..10)).await;
    scene.client.has(DEAD, 10).await;
    router.metric_until(METRIC, 10.0).await;

    broker.tell_queue("suspend", &scene.virtual_host(), DEAD);
    let unknown = ask_until("the number of dead letters to be unknown", || async {
        let count = router.metric(METRIC).await;
        assert_ne!(count, Some(0.0));
        count.is_none().then_some(())
    });
    let (output, ()) = tokio::join!(router.call(&["dead", "list"]), unknown);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("asking how many messages"), "{error}");
    broker.tell_queue("resume", &scene.virtual_host(), DEAD);
    let letters = router.json(&["dead", "list"]).await;
    assert_eq!(letters.as_array().map(Vec::len), Some(10), "{letters}");
    router.metric_until(METRIC, 10.0).await;
}

/// As one whose leader is lost: the consumer is there still, for all that its session knows.
#[tokio::test]
async fn a_queue_that_does_not_answer_is_told_of() {
    let (mut broker, scene, router) = running("3s").await;
    broker.tell_queue("suspend", &scene.virtual_host(), "mo-router.forward");
    ask_until("that the plugin gets no events", || async {
        let (status, reasons) = router.get("readyz").await;
        let told = reasons.contains("plugin-waiting: plugin forward gets no events");
        (status == 503 && told).then_some(())
    })
    .await;
    broker.tell_queue("resume", &scene.virtual_host(), "mo-router.forward");
    ask_until("readiness", || async { (router.get("readyz").await.0 == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_broker_that_is_gone_is_no_trouble_of_the_store() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let router = scene.run("", &[("later", "config.delay = '15000'")]).await;
    broker.settle();
    scene.client.publish(MO, numbered(0..1)).await;
    router.metric_until("delayed_messages", 1.0).await;
    broker.kill();
    router.logged("the broker cannot be reached").await;
    // It is due meanwhile.
    router.logged("delayed messages are not being published for the moment").await;
    // It is counted when the connection ends, and not when there is another one.
    router.metric_until("broker_reconnects_total{connection=\"consume\"}", 1.0).await;
    broker.restart();
    router.metric_until("delayed_messages", 0.0).await;
    for of_the_store in ["published: ", "published again", "store-unavailable"] {
        assert_eq!(router.count_logged(of_the_store), 0, "{}", router.log());
    }
}
