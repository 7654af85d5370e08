//! The matrix: every poison that a publisher, a plugin or the broker can make, on every way
//! through the router (published now, delayed, as a dead letter, sent back), with quorum and
//! with classic queues. Each has its own fate, and beside it innocent events and a stream of
//! delayed messages come through as without it.

mod poisons;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use self::poisons::{End, POISONS, Poison, REJECTED, WHEN, key, poisonous};
use crate::support::ask_until;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::{Event, Received, numbered, numbers};
use crate::unreadable;

/// Innocent events beside the poisons.
const INNOCENT: u64 = 2000;
/// What the broker takes at most as a message, in bytes.
const MAX_MESSAGE_SIZE: u64 = 1_000_000;

#[tokio::test]
async fn every_poison_has_its_own_fate_with_quorum_queues() {
    matrix("quorum").await;
}

#[tokio::test]
async fn every_poison_has_its_own_fate_with_classic_queues() {
    matrix("classic").await;
}

async fn matrix(queue_type: &str) {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let virtual_host = scene.virtual_host();
    broker.control(&[
        "set_permissions",
        "-p",
        &virtual_host,
        "guest",
        ".*",
        "^(?!forbidden$).*",
        ".*",
    ]);
    for set in ["application:set_env(rabbit,", "persistent_term:put("] {
        broker.control(&["eval", &format!("{set}max_message_size, {MAX_MESSAGE_SIZE}).")]);
    }
    scene.client.internal_exchange("internal").await;
    scene.client.exchange("forbidden", true).await;
    for exchange in ["one", "other", "later", "stuck"] {
        scene.client.exchange(exchange, true).await;
        scene.client.catch_all(exchange).await;
    }
    scene.client.exchange("narrow", true).await;
    scene.client.catch_one("narrow").await;
    scene.client.publish("narrow", [Event::new("fills.it", "")]).await;
    broker.tell_queue("suspend", &virtual_host, "stuck");

    let plugins = plugins();
    let plugins: Vec<_> = plugins.iter().map(|(name, text)| (&name[..], &text[..])).collect();
    let lines = format!("declare = 'passive'\nqueue_type = '{queue_type}'");
    let mut router = scene.run(&lines, &plugins).await;

    scene.client.publish(MO, with_poisons(0..INNOCENT)).await;
    unreadable::publish(&scene.url, unreadable::poisons().map(|(raw, _)| raw).into()).await;
    came_through(&scene, 0..INNOCENT).await;
    let dead = dead_letters(&router).await;

    // Publications are refused again and stay dead letters; events are routed again.
    let sent = router.call(&["dead", "requeue", "--all"]).await;
    let said = String::from_utf8(sent.stderr).unwrap();
    assert!(!sent.status.success() && said.contains("cannot be sent back"), "{said}");
    scene.client.publish(MO, numbered(INNOCENT..2 * INNOCENT)).await;
    came_through(&scene, INNOCENT..2 * INNOCENT).await;
    assert_eq!(dead_letters(&router).await, dead);

    // What waits for a queue is delivered when that takes messages again.
    let late = |queue: &'static str| {
        let keys = WHEN.map(|(when, _)| key(&format!("{queue}-{when}")));
        scene.client.take_until(queue, move |came| {
            keys.iter().all(|key| came.iter().any(|message| message.routing_key == *key))
        })
    };
    let came = late("narrow").await;
    assert!(came.len() <= 1 + 2 * WHEN.len(), "{came:?}");
    broker.tell_queue("resume", &virtual_host, "stuck");
    late("stuck").await;

    for (name, _) in plugins {
        let status = router.status_of(name).await;
        assert_eq!(status["state"], "running", "{status}");
    }
    assert_eq!(router.count_logged("session lost"), 0);
    assert!(router.stop().await.success());
    assert_eq!(scene.client.depth("one").await + scene.client.depth("other").await, 0);
}

/// All plugins with their settings: each poison's, and those of the innocent.
fn plugins() -> Vec<(String, String)> {
    let innocent = ["one", "other", "later"].map(|to| {
        let delay = if to == "later" { "config.delay = '300'" } else { "" };
        let settings = format!(
            "subscriptions = ['employee.engagement.*']\nexchanges = ['{to}']\nconfig.to = '{to}'\n{delay}"
        );
        (to.to_owned(), settings)
    });
    let own = |plugin: String, settings: String| {
        let subscription = key(&plugin);
        (plugin, format!("subscriptions = ['{subscription}']\n{settings}"))
    };
    let poisons = POISONS.iter().flat_map(|Poison { name, settings, .. }| {
        WHEN.map(|(when, delay)| own(format!("{name}-{when}"), format!("{settings}\n{delay}")))
    });
    let rejected = REJECTED.map(|(name, settings, ..)| own(name.to_owned(), settings.to_owned()));
    let unreadable =
        ("unreadable".to_owned(), "subscriptions = ['employee.*.terminate']".to_owned());
    innocent.into_iter().chain(poisons).chain(rejected).chain([unreadable]).collect()
}

/// Innocent events with all the poisons spread over them.
fn with_poisons(innocent: Range<u64>) -> Vec<Event> {
    let published = POISONS.iter().flat_map(|Poison { name, headers, .. }| {
        WHEN.map(|(when, _)| poisonous(&format!("{name}-{when}"), *headers))
    });
    let rejected = REJECTED.map(|(name, _, headers, _)| poisonous(name, headers));
    let poisons: Vec<_> = published.chain(rejected).collect();
    let mut events: Vec<Event> = numbered(innocent).collect();
    let step = events.len() / (poisons.len() + 1);
    for (at, poison) in (1..).zip(poisons) {
        events.insert(at * step, poison);
    }
    events
}

/// Nothing is missing of what was published, and nothing came twice; but delayed messages
/// share a channel, and what the broker had taken when it closed that comes again.
async fn came_through(scene: &Scene, events: Range<u64>) {
    let expected: BTreeSet<u64> = events.collect();
    for exchange in ["one", "other"] {
        let came = scene.client.take(exchange, expected.len()).await;
        assert_eq!(numbers(&came), expected, "{exchange}");
    }
    let mut copies = BTreeMap::new();
    let mut missing = expected.clone();
    let count = |message: Received| {
        missing.remove(&message.number());
        let id = message.properties.message_id().as_ref().unwrap().to_string();
        let (number, count) = copies.entry(id).or_insert((message.number(), 0));
        *count += 1;
        assert!(*number == message.number() && *count <= 1 + POISONS.len(), "{message:?}");
        missing.is_empty()
    };
    scene.client.take_each("later", count).await;
}

/// Waits until every poison that is to be a dead letter is one, for the reason that it should
/// be, and gives how many reasons there are for each plugin.
async fn dead_letters(router: &Router) -> BTreeMap<String, usize> {
    let published = POISONS.iter().flat_map(|poison| {
        WHEN.iter().filter_map(|(when, _)| match poison.ends {
            End::Dead(reason) => Some((format!("{}-{when}", poison.name), reason)),
            End::Late => None,
        })
    });
    let rejected = REJECTED.map(|(name, _, _, reason)| (name.to_owned(), reason));
    let unreadable = unreadable::poisons().map(|(_, reason)| ("unreadable".to_owned(), reason));
    let expected: Vec<_> = published.chain(rejected).chain(unreadable).collect();
    ask_until("the dead letters", || async {
        let Value::Array(letters) = router.json(&["dead", "list"]).await else { panic!() };
        let text = |letter: &Value, name: &str| letter[name].as_str().unwrap().to_owned();
        let there: BTreeSet<_> =
            letters.iter().map(|letter| (text(letter, "plugin"), text(letter, "reason"))).collect();
        let is_there = |(plugin, reason): &(String, &str)| {
            there.iter().any(|(of, said)| of == plugin && said.contains(reason))
        };
        let mut counts = BTreeMap::new();
        for (plugin, _) in &there {
            *counts.entry(plugin.clone()).or_insert(0) += 1;
        }
        expected.iter().all(is_there).then_some(counts)
    })
    .await
}
