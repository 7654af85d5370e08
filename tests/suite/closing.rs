//! What closing a channel does to what is on it, and to what shares the connection.

use std::sync::Arc;

use mo_router::amqp::topology::{self, PluginQueue};
use mo_router::amqp::{Broker, Inbox, Outbox, Prefetch};
use mo_router::event::{Message, Outgoing};
use mo_router::settings::{Amqp, BrokerUrls};
use mo_router::transport::{Fate, Inbox as _, Outbox as _};

use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::{Event, numbered};
use crate::support::within_reason;

/// The broker as the router has it.
fn broker(scene: &Scene) -> Arc<Broker> {
    let url = BrokerUrls::read(&scene.url).unwrap();
    Arc::new(Broker::new(Amqp { url, exchange: MO.to_owned(), ..Amqp::default() }))
}

async fn inbox(broker: &Broker) -> Inbox {
    let prefetch = Prefetch::new(u16::MAX, usize::MAX / 4);
    Inbox::open(broker, "plugin", prefetch, false, broker.opening()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_does_not_come_again() {
    const EVENTS: usize = 3000;
    let scene = Scene::shared().await;
    let broker = broker(&scene);
    let subscriptions = ["#".to_owned()];
    let queue = PluginQueue {
        plugin: "plugin",
        subscriptions: &subscriptions,
        single_active_consumer: false,
    };
    topology::declare(&broker, &queue).await.unwrap();
    scene.client.publish(MO, numbered(0..EVENTS as u64)).await;
    let mut first_inbox = inbox(&broker).await;
    let mut receipts = Vec::new();
    while receipts.len() < EVENTS {
        let delivery = within_reason("a delivery", first_inbox.next()).await.unwrap().unwrap();
        receipts.push(delivery.receipt);
    }
    // The last first: each has a frame of its own, and there are more than a quorum queue's client
    // in the broker passes on at once.
    for receipt in receipts.into_iter().rev() {
        first_inbox.settle(receipt);
        first_inbox.flush();
    }
    within_reason("the inbox to close", first_inbox.close()).await;

    scene.client.publish(MO, [Event::new("last", "\"\"")]).await;
    let mut second_inbox = inbox(&broker).await;
    let first = within_reason("a delivery", second_inbox.next()).await.unwrap().unwrap();
    assert_eq!(first.message.routing_key, "last", "nothing came twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_before_many_others_ends_its_channel_only() {
    const MESSAGES: usize = 20_000;
    let scene = Scene::shared().await;
    scene.client.internal_exchange("internal").await;
    let broker = broker(&scene);
    let mut outbox = Outbox::open(Arc::clone(&broker)).await.unwrap();
    let message = |exchange: &str| {
        let (exchange, routing_key) = (exchange.to_owned(), "employee".to_owned());
        let body = vec![b'x'; 1000].into();
        Outgoing::Message(Message { exchange, routing_key, body, ..Message::default() })
    };
    for number in 0..MESSAGES {
        let exchange = if number == 10 { "internal" } else { ROUTED };
        outbox.send(number as u64, message(exchange));
    }
    let mut refused = Vec::new();
    for _ in 0..MESSAGES {
        let completed = within_reason("a confirm", outbox.completed()).await.unwrap();
        if completed.fate != Fate::Confirmed {
            refused.push((completed.token, completed.fate));
        }
    }
    let [(10, Fate::Refused(reason))] = &refused[..] else { panic!("{refused:?}") };
    assert!(reason.contains("internal"), "{reason}");
    let lost: u64 = broker.connections().iter().map(|connection| connection.reconnects).sum();
    assert_eq!(lost, 0, "the connection, which others share, was not lost");
}
