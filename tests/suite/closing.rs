//! What is settled when a channel is closed, and in which order the rest comes again.

use mo_router::amqp::topology::{self, PluginQueue};
use mo_router::amqp::{Broker, Inbox, Prefetch, Receipt};
use mo_router::settings::{Amqp, BrokerUrls};
use mo_router::transport::Inbox as _;

use crate::support::scene::{MO, Scene};
use crate::support::traffic::numbered;
use crate::support::within_reason;

/// The broker as the router has it.
fn broker(scene: &Scene) -> Broker {
    let url = BrokerUrls::read(&scene.url).unwrap();
    Broker::new(Amqp { url, exchange: MO.to_owned(), ..Amqp::default() })
}

const EVENTS: u64 = 3000;

async fn inbox(broker: &Broker) -> Inbox {
    let prefetch = Prefetch::new(u16::try_from(EVENTS).unwrap(), usize::MAX / 4);
    Inbox::open(broker, "plugin", prefetch, false, broker.opening()).await.unwrap()
}

async fn next(inbox: &mut Inbox) -> (u64, Receipt) {
    let delivery = within_reason("a delivery", inbox.next()).await.unwrap().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&delivery.message.body).unwrap();
    (body["number"].as_u64().unwrap(), delivery.receipt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_does_not_come_again() {
    let scene = Scene::shared().await;
    let broker = broker(&scene);
    let subscriptions = ["#".to_owned()];
    let queue = PluginQueue {
        plugin: "plugin",
        subscriptions: &subscriptions,
        single_active_consumer: false,
    };
    topology::declare(&broker, &queue).await.unwrap();
    scene.client.publish(MO, numbered(0..2 * EVENTS)).await;
    let mut first = inbox(&broker).await;
    let mut receipts = Vec::new();
    for number in 0..EVENTS {
        let (taken, receipt) = next(&mut first).await;
        assert_eq!(taken, number);
        receipts.push(receipt);
    }
    // The last first: each has a frame of its own, and there are more than a quorum queue's client
    // in the broker passes on at once.
    for receipt in receipts.into_iter().rev() {
        first.settle(receipt);
        first.flush();
    }
    within_reason("the inbox to close", first.close()).await;

    let mut second = inbox(&broker).await;
    for number in EVENTS..2 * EVENTS {
        assert_eq!(next(&mut second).await.0, number);
    }
}
