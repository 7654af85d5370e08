//! What is settled when a channel is closed, in which order the rest comes again, and that a
//! connection goes on whoever closes its channels.

use std::time::Duration;

use futures::FutureExt;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use mo_router::amqp::dead::{self, Selection};
use mo_router::amqp::topology::{self, PluginQueue};
use mo_router::amqp::{Broker, Inbox, Prefetch, Receipt};
use mo_router::settings::{Amqp, BrokerUrls};
use mo_router::transport::{Inbox as _, Received};
use tokio::sync::Notify;

use crate::support::letters::{publication, put};
use crate::support::rabbitmq::RabbitMq;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::numbered;
use crate::support::{ask_until, within_reason};

/// The broker as the router has it.
fn broker(scene: &Scene) -> Broker {
    broker_at(&scene.url)
}

fn broker_at(url: &str) -> Broker {
    let url = BrokerUrls::read(url).unwrap();
    Broker::new(Amqp { url, exchange: MO.to_owned(), ..Amqp::default() })
}

const EVENTS: u64 = 3000;

async fn inbox(broker: &Broker) -> Inbox {
    let prefetch = Prefetch::new(u16::try_from(EVENTS).unwrap(), usize::MAX / 4);
    Inbox::open(broker, "plugin", prefetch, false, broker.opening()).await.unwrap()
}

async fn next(inbox: &mut Inbox) -> (u64, Receipt) {
    let received = within_reason("a delivery", inbox.next()).await.unwrap();
    let Received::Delivery(delivery) = received else { panic!("{received:?}") };
    let body: serde_json::Value = serde_json::from_slice(&delivery.message.body).unwrap();
    (body["number"].as_u64().unwrap(), delivery.receipt)
}

/// An inbox that has taken the first half of a queue's events, and their receipts.
async fn half_taken(scene: &Scene, broker: &Broker) -> (Inbox, Vec<Receipt>) {
    let subscriptions = ["#".to_owned()];
    let queue = PluginQueue {
        plugin: "plugin",
        subscriptions: &subscriptions,
        single_active_consumer: false,
    };
    topology::declare(broker, &queue).await.unwrap();
    scene.client.publish(MO, numbered(0..2 * EVENTS)).await;
    let mut inbox = inbox(broker).await;
    let mut receipts = Vec::new();
    for number in 0..EVENTS {
        let (taken, receipt) = next(&mut inbox).await;
        assert_eq!(taken, number);
        receipts.push(receipt);
    }
    (inbox, receipts)
}

/// The last first: each has a frame of its own, and there are more than a quorum queue's client in
/// the broker passes on at once.
fn acknowledge(inbox: &mut Inbox, receipts: Vec<Receipt>) {
    for receipt in receipts.into_iter().rev() {
        inbox.settle(receipt);
        inbox.flush();
    }
}

async fn the_other_half_comes(broker: &Broker) {
    let mut inbox = inbox(broker).await;
    for number in EVENTS..2 * EVENTS {
        assert_eq!(next(&mut inbox).await.0, number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_does_not_come_again() {
    let scene = Scene::shared().await;
    let broker = broker(&scene);
    let (mut inbox, receipts) = half_taken(&scene, &broker).await;
    acknowledge(&mut inbox, receipts);
    within_reason("the inbox to close", inbox.close()).await;
    the_other_half_comes(&broker).await;
}

/// As of a broker that has much to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slow_queue_takes_late_does_not_come_again() {
    let mut server = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&server).await;
    let broker = broker(&scene);
    let (mut inbox, receipts) = half_taken(&scene, &broker).await;
    let (host, queue) = (scene.virtual_host(), topology::queue_name(&broker, "plugin"));
    server.suspend_queue_until(&host, &queue, "resume");
    acknowledge(&mut inbox, receipts);
    let closing = tokio::spawn(inbox.close());
    // Longer than it waits in silence where there is nothing more to come.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!closing.is_finished(), "the queue has not taken anything yet");
    scene.client.exchange("resume", false).await;
    within_reason("the inbox to close", closing).await.unwrap();
    the_other_half_comes(&broker).await;
}

/// Which the broker refuses with 404, and closes the channel.
const NO_QUEUE: &str = "no-queue";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_can_be_opened_however_many_the_broker_has_closed() {
    let scene = Scene::shared().await;
    let broker = broker_at(&format!("{}?channel_max=6", scene.url));
    for number in 0..30 {
        let depth = within_reason("an answer", topology::depth(&broker, NO_QUEUE)).await;
        let depth = depth.unwrap_or_else(|error| panic!("channel {number}: {error:#}"));
        assert!(depth.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_both_sides_close_ends_no_connection() {
    let scene = Scene::shared().await;
    let broker = broker(&scene);
    const RACES: u32 = 500;
    let (mut number, mut raced) = (0, 0);
    while raced < RACES {
        assert!(number < 2 * RACES, "only {raced} of {number} are closed by both sides");
        number += 1;
        let channel = within_reason("a channel", broker.declaring_channel()).await;
        let channel = channel.unwrap_or_else(|error| panic!("channel {number}: {error:#}"));
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        // Polling once sends it. The broker closes the channel while the drop does.
        let declared = channel.queue_declare(NO_QUEUE.into(), passive, FieldTable::default());
        // On a busy machine the answer can be there as soon as it has been sent.
        raced += u32::from(declared.now_or_never().is_none());
        drop(channel);
    }
    assert!(topology::depth(&broker, NO_QUEUE).await.unwrap().is_none());
    let connections = broker.connections();
    let declaring = connections.iter().find(|connection| connection.name == "declare").unwrap();
    assert_eq!(declaring.reconnects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_stay_in_order_when_who_reads_them_goes_away() {
    // More than the first consumer may have.
    const LETTERS: u64 = 3500;
    let scene = Scene::shared().await;
    let broker = broker(&scene);
    topology::declare_dead_letters(&broker).await.unwrap();
    put(&scene.client, LETTERS, |number| publication(number, "p", ROUTED, "r")).await;
    scene.client.has(DEAD, LETTERS as u32).await;
    let all = Selection::default();
    let list = || dead::list(&broker, &all, 0, LETTERS as usize, |letter| letter.id);
    let ids = within_reason("the letters", list()).await.unwrap();
    for times in 1..=3 {
        let enough = Notify::new();
        let interrupted = dead::list(&broker, &all, 0, LETTERS as usize, |letter| {
            if letter.id == ids[3200] {
                enough.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = enough.notified() => {}
            listed = interrupted => panic!("{} letters were listed", listed.unwrap().len()),
        }
        ask_until("the letters to be back", || async {
            let depth = topology::depth(&broker, DEAD).await.unwrap().unwrap();
            (depth.messages == LETTERS as u32 && depth.consumers == 0).then_some(())
        })
        .await;
        assert!(within_reason("the letters", list()).await.unwrap() == ids, "time {times}");
    }
}
