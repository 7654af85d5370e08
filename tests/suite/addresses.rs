//! Where brokers are: several of them, addresses of IPv6, virtual hosts with any name.

use std::net::TcpListener;

use crate::support::ports::free_port;
use crate::support::rabbitmq::RabbitMq;
use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::numbered;

#[tokio::test]
async fn brokers_are_tried_in_turn() {
    let start = || tokio::task::spawn_blocking(RabbitMq::start);
    let (first, second) = tokio::join!(start(), start());
    let (mut first, second) = (first.unwrap(), second.unwrap());
    let (one, two) = (Scene::on(&first).await, Scene::on(&second).await);
    let (_, vhost) = one.url.rsplit_once('/').unwrap();
    assert!(two.url.ends_with(vhost), "the same virtual host at both");
    let mut router = one.router("", &[("forward", "")]);
    let hosts = format!("127.0.0.1:1,127.0.0.1:{},127.0.0.1:{}", first.port(), second.port());
    router.set("url", &format!("amqp://guest:guest@{hosts}/{vhost}"));
    router.start_ready().await;
    one.client.publish(MO, numbered(0..10)).await;
    one.routed(10).await;

    first.kill();
    let published = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tick.tick().await;
            two.client.publish(MO, numbered(0..1)).await;
        }
    };
    // What is published before the queue is bound is nobody's.
    tokio::select! {
        _ = two.routed(10) => {}
        () = published => unreachable!(),
    }
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn an_address_of_ipv6_and_a_virtual_host_with_any_name() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("SKIPPED: this machine has no IPv6");
        return;
    }
    let port = free_port();
    let configuration = format!("listeners.tcp.six = ::1:{port}\n");
    let started = tokio::task::spawn_blocking(move || RabbitMq::configured(&configuration, ""));
    let mut broker = started.await.unwrap();
    let name = "a/b c%d";
    broker.control(&["add_vhost", name]);
    broker.control(&["set_permissions", "-p", name, "guest", ".*", ".*", ".*"]);
    let scene = Scene::on(&broker).await;
    let url = format!("amqp://guest:guest@127.0.0.1:{}/a%2Fb%20c%25d", broker.port());
    let scene = Scene { client: crate::support::traffic::Client::connect(&url).await, ..scene };
    for exchange in [MO, ROUTED] {
        scene.client.exchange(exchange, true).await;
    }
    scene.client.catch_all(ROUTED).await;
    let mut router = scene.router("", &[("forward", "")]);
    router.set("url", &format!("amqp://guest:guest@[::1]:{port}/a%2Fb%20c%25d"));
    router.start_ready().await;
    scene.client.publish(MO, numbered(0..10)).await;
    scene.routed(10).await;
    assert!(router.stop().await.success());
}
