//! What closing a channel does to what is on it, and to what shares the connection.

use std::sync::Arc;

use mo_router::amqp::topology::{self, PluginQueue};
use mo_router::amqp::{Broker, Inbox, Outbox, Prefetch, Receipt};
use mo_router::event::{Message, Outgoing, Properties};
use mo_router::settings::{Amqp, BrokerUrls};
use mo_router::transport::{Fate, Inbox as _, Outbox as _};

use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::numbered;
use crate::support::within_reason;

/// The broker as the router has it.
fn broker(scene: &Scene) -> Arc<Broker> {
    let url = BrokerUrls::read(&scene.url).unwrap();
    Arc::new(Broker::new(Amqp { url, exchange: MO.to_owned(), ..Amqp::default() }))
}

const EVENTS: u64 = 3000;

async fn inbox(broker: &Broker, prefetch: u64) -> Inbox {
    let prefetch = Prefetch::new(u16::try_from(prefetch).unwrap(), usize::MAX / 4);
    Inbox::open(broker, "plugin", prefetch, false, broker.opening()).await.unwrap()
}

async fn next(inbox: &mut Inbox) -> (u64, Receipt) {
    let delivery = within_reason("a delivery", inbox.next()).await.unwrap().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&delivery.message.body).unwrap();
    (body["number"].as_u64().unwrap(), delivery.receipt)
}

/// Publishes events, takes the first of them, acknowledges each of those, and closes the inbox at
/// once; another one is given the others in their order, and none of the first.
async fn what_was_acknowledged_does_not_come_again(published: u64) {
    let scene = Scene::shared().await;
    let broker = broker(&scene);
    let subscriptions = ["#".to_owned()];
    let queue = PluginQueue {
        plugin: "plugin",
        subscriptions: &subscriptions,
        single_active_consumer: false,
    };
    topology::declare(&broker, &queue).await.unwrap();
    scene.client.publish(MO, numbered(0..published)).await;
    let mut first = inbox(&broker, EVENTS).await;
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

    scene.client.publish(MO, numbered([published])).await;
    let mut second = inbox(&broker, 5 * EVENTS).await;
    for number in EVENTS..=published {
        assert_eq!(next(&mut second).await.0, number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backlog_does_not_come_again() {
    what_was_acknowledged_does_not_come_again(4 * EVENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_last_does_not_come_again() {
    what_was_acknowledged_does_not_come_again(EVENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_before_many_others_ends_its_channel_only() {
    const MESSAGES: u64 = 20_000;
    let scene = Scene::shared().await;
    let broker = broker(&scene);
    let mut outbox = Outbox::open(Arc::clone(&broker)).await.unwrap();
    for number in 0..MESSAGES {
        let expiration = (number == 10).then(|| "never".to_owned());
        let properties = Box::new(Properties { expiration, ..Properties::default() });
        let (exchange, routing_key) = (ROUTED.to_owned(), "employee".to_owned());
        let body = vec![b'x'; 1000].into();
        let message = Message { exchange, routing_key, properties, body };
        outbox.send(number, Outgoing::Message(message));
    }
    let mut refused = Vec::new();
    for _ in 0..MESSAGES {
        let completed = within_reason("a confirm", outbox.completed()).await.unwrap();
        if completed.fate != Fate::Confirmed {
            refused.push((completed.token, completed.fate));
        }
    }
    let [(10, Fate::Undeliverable(reason))] = &refused[..] else { panic!("{refused:?}") };
    assert!(reason.contains("expiration"), "{reason}");
    let lost: u64 = broker.connections().iter().map(|connection| connection.reconnects).sum();
    assert_eq!(lost, 0, "the connection, which others share, was not lost");
}
