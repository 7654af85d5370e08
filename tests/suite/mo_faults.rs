//! The bridge while everything fails: repeats are allowed, losses are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mo_router::mo::Event;
use mo_router::mo::keys::KNOWN;
use tokio_util::task::AbortOnDropHandle;

use super::mo_bridge::{acknowledged, listened, section, subject};
use crate::support::mo::{Endpoint, Faults, MO as NAMESPACE, PRIORITY};
use crate::support::rabbitmq::RabbitMq;
use crate::support::scene::{MO, Scene};

/// What MO has sent: of each key and subject, the messages' ids of its last event.
type Sent = BTreeMap<(&'static str, String), BTreeSet<String>>;

/// MO, in which something happens.
#[derive(Clone)]
struct Traffic {
    endpoint: Arc<Endpoint>,
    sent: Arc<Mutex<Sent>>,
}

impl Traffic {
    fn emit(&self, key: &'static str, subject: &str) {
        let mut sent = self.sent.lock().unwrap();
        let tokens = self.endpoint.world().emit(NAMESPACE, key, subject, PRIORITY);
        let ids = tokens.into_iter().map(|(listener, token)| {
            let event = Event { subject: subject.into(), priority: PRIORITY, token };
            event.message(MO, key, listener).id().to_owned()
        });
        sent.insert((key, subject.to_owned()), ids.collect());
    }

    /// All subjects of a key once more, as after a refresh.
    fn refresh(&self, key: &'static str) {
        let sent = self.sent.lock().unwrap();
        let of_key = sent.keys().filter(|(other, _)| *other == key);
        let subjects: Vec<String> = of_key.map(|(_, subject)| subject.clone()).collect();
        drop(sent);
        subjects.iter().for_each(|subject| self.emit(key, subject));
    }

    /// Events of all keys, every fifth about something that had one before.
    fn run(&self, events: u64, rate: u64) -> AbortOnDropHandle<()> {
        let traffic = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            let mut number = 0;
            while number < events {
                tick.tick().await;
                for _ in 0..(rate / 10).max(1) {
                    let about = if number % 5 == 4 { number / 2 } else { number };
                    let key = KNOWN[(about % KNOWN.len() as u64) as usize];
                    traffic.emit(key, &subject(about));
                    number += 1;
                }
            }
        }))
    }
}

/// Sends so many events while routers are killed so often, the broker twice, and requests fail.
async fn everything_fails(events: u64, rate: u64, kills: usize) {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let mut scene = Scene::on(&broker).await;
    scene.client.catch_all(MO).await;
    let traffic = Traffic { endpoint: Arc::new(Endpoint::start().await), sent: Arc::default() };
    let endpoint = &traffic.endpoint;
    endpoint.world().is_shuffled = true;
    let plugins = [("forward", "")];
    let mut routers = [
        scene.router(&section(endpoint, ""), &plugins),
        scene.router(&section(endpoint, ""), &plugins),
    ];
    routers[0].start_ready().await;
    for key in KNOWN {
        listened(endpoint, key).await;
    }
    broker.settle();
    routers[1].start();
    endpoint.set_faults(Faults {
        refuse_every: 10,
        cut_before_every: 23,
        cut_after_every: 37,
        error_every: 41,
        lock_every: 7,
        delay: Duration::from_millis(10),
        ..Faults::default()
    });
    let mut running = traffic.run(events, rate);
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_secs(3)).await;
        match kill % 3 {
            0 | 1 => {
                let router = &mut routers[kill % 2];
                router.kill().await;
                router.start();
            }
            _ => {
                broker.kill();
                broker.restart();
            }
        }
        if kill == kills / 2 {
            let key = "engagement";
            let listener = listened(endpoint, key).await;
            endpoint.world().delete_listener(listener, true).unwrap();
            assert_ne!(listened(endpoint, key).await, listener);
            traffic.refresh(key);
        }
    }
    (&mut running).await.unwrap();
    endpoint.set_faults(Faults::default());
    acknowledged(endpoint).await;
    scene.reconnect().await;
    account(&scene, &traffic).await;
    for router in &mut routers {
        router.logged("ready").await;
        assert!(router.stop().await.success());
    }
}

/// Every subject's last event has come, under its id.
async fn account(scene: &Scene, traffic: &Traffic) {
    let mut waited: BTreeSet<String> =
        traffic.sent.lock().unwrap().values().flatten().cloned().collect();
    let events = waited.len();
    let mut ids = BTreeMap::new();
    scene
        .client
        .take_each(MO, |message| {
            let id = message.properties.message_id().as_ref().unwrap().to_string();
            waited.remove(&id);
            *ids.entry(id).or_insert(0u64) += 1;
            waited.is_empty()
        })
        .await;
    let left = u64::from(scene.client.depth(MO).await);
    let came: u64 = ids.values().sum::<u64>() + left;
    println!(
        "{events} subjects, {came} messages, of which {} repeat others",
        came - ids.len() as u64
    );
}

#[tokio::test]
async fn nothing_is_lost_while_routers_broker_and_mo_fail() {
    everything_fails(3000, 300, 6).await;
}

/// `make mo-faults`
#[tokio::test]
#[ignore = "it takes some minutes"]
async fn nothing_of_20_000_events_is_lost() {
    everything_fails(20_000, 200, 25).await;
}
