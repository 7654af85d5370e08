//! The matrix: every poison that a publisher, a plugin or the broker can make, on every way
//! through the router (published now, delayed, as a dead letter, sent back), with quorum and
//! with classic queues. Each has its own fate, and beside it innocent events and a stream of
//! delayed messages come through as without it.

mod poisons;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use self::poisons::{End, LEFT, LONG, POISONS, Poison, REJECTED, WHEN, key, poisonous};
use crate::support::ask_until;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::{Event, Received, numbered, numbers};
use crate::unreadable;

/// Innocent events beside the poisons.
const INNOCENT: u64 = 2000;
/// How the names of plugins begin whose dead letters are events, rather than what they published.
const EVENTS: [&str; 3] = ["rejected-", "unreadable", "long-"];
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
    for exchange in ["forbidden", "topical", "nowhere"] {
        scene.client.exchange(exchange, true).await;
    }
    broker.control(&[
        "set_topic_permissions",
        "-p",
        &virtual_host,
        "guest",
        "topical",
        "^allowed",
        ".*",
    ]);
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
    let dead = dead_letters(&router, 0).await;
    assert_eq!(dead, once_each());
    only_dead_letters_are_told(&router).await;

    // What waits for a queue is delivered when that takes messages again; if it refuses them for
    // minutes, they are dead letters.
    let late = |queue: &'static str| {
        let keys = WHEN.map(|(when, _)| key(&format!("{queue}-{when}")));
        scene.client.take_until(queue, move |came| {
            keys.iter().all(|key| came.iter().any(|message| message.routing_key == *key))
        })
    };
    let came = late("narrow").await;
    assert!(came.len() <= 1 + 2 * WHEN.len(), "{came:?}");

    // Publications are refused again and stay dead letters; events are routed again.
    let sent = router.call(&["dead", "requeue", "--all"]).await;
    let said = String::from_utf8(sent.stderr).unwrap();
    assert!(!sent.status.success() && said.contains("cannot be sent back"), "{said}");
    scene.client.publish(MO, numbered(INNOCENT..2 * INNOCENT)).await;
    came_through(&scene, INNOCENT..2 * INNOCENT).await;
    // An event can have been sent back with each of the letters that had the channel closed.
    for (plugin, again) in dead_letters(&router, POISONS.len()).await {
        let copied = if is_event(&plugin) { POISONS.len() } else { 0 };
        let most = dead[&plugin] * (1 + copied);
        assert!((dead[&plugin]..=most).contains(&again), "{plugin}: {again} dead letters");
    }
    only_dead_letters_are_told(&router).await;

    broker.tell_queue("resume", &virtual_host, "stuck");
    late("stuck").await;

    for (name, _) in plugins {
        let status = router.status_of(name).await;
        assert_eq!(status["state"], "running", "{status}");
    }
    assert_eq!(router.count_logged("session lost"), 0);
    assert_eq!(router.count_logged("delayed messages are not being published"), 0);
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
        let settings = settings.replace(LONG, &"k".repeat(256));
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

/// The poisons that are to be dead letters, by plugin, with what the reason has in it.
fn to_be_dead() -> Vec<(String, &'static str)> {
    let published = POISONS.iter().flat_map(|poison| {
        WHEN.iter().filter_map(|(when, _)| match poison.ends {
            End::Dead(reason) => Some((format!("{}-{when}", poison.name), reason)),
            End::Late => None,
        })
    });
    let rejected = REJECTED.map(|(name, _, _, reason)| (name.to_owned(), reason));
    let unreadable = unreadable::poisons().map(|(_, reason)| ("unreadable".to_owned(), reason));
    published.chain(rejected).chain(unreadable).collect()
}

fn is_event(plugin: &str) -> bool {
    EVENTS.iter().any(|start| plugin.starts_with(start))
}

/// How many dead letters each plugin has if each poison is one.
fn once_each() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (plugin, _) in to_be_dead() {
        *counts.entry(plugin).or_insert(0) += 1;
    }
    counts
}

/// Waits until every poison that is to be a dead letter is one, for the reason that it should
/// be, and gives how many each plugin has. Letters with the same id are the same in everything:
/// those of delayed messages share a channel, and come again when that is closed. So often an
/// event may have been sent back besides.
async fn dead_letters(router: &Router, copied: usize) -> BTreeMap<String, usize> {
    let expected = to_be_dead();
    ask_until("the dead letters", || async {
        let letters = router.json(&["dead", "list", "--limit", "1000"]).await;
        let Value::Array(letters) = letters else { panic!("{letters}") };
        let text = |letter: &Value, name: &str| letter[name].as_str().unwrap().to_owned();
        let is_there = |(plugin, reason): &(String, &str)| {
            letters.iter().any(|letter| {
                text(letter, "plugin") == *plugin && text(letter, "reason").contains(reason)
            })
        };
        if !expected.iter().all(is_there) {
            return None;
        }
        let mut copies = BTreeMap::new();
        for letter in &letters {
            *copies.entry((text(letter, "plugin"), text(letter, "id"))).or_insert(0) += 1;
        }
        let mut counts = BTreeMap::new();
        for ((plugin, id), count) in copies {
            let copies = if plugin.ends_with("-later") { POISONS.len() } else { 0 };
            let most = 1 + copies + if is_event(&plugin) { copied } else { 0 };
            assert!(count <= most, "{plugin}: {count} letters {id}");
            *counts.entry(plugin).or_insert(0) += 1;
        }
        Some(counts)
    })
    .await
}

/// Waits until the router tells of the dead letters, and of the exchange that is not there. Nothing
/// else has stopped, but for what the queues `narrow` and `stuck` do not take.
async fn only_dead_letters_are_told(router: &Router) {
    let missing = "exchange-missing: exchange \"missing\" does not exist";
    let expected = ["ready", missing, "dead-letters: ", "settlement-stalled: ", "overdue: "];
    ask_until("readiness to tell of dead letters", || async {
        let (_, said) = router.get("readyz").await;
        let is_expected = |line: &str| expected.iter().any(|start| line.starts_with(start));
        assert!(said.lines().all(is_expected), "{said}");
        (said.contains("dead-letters: ") && said.contains(missing)).then_some(())
    })
    .await;
}

/// A broker may take smaller frames than most do.
#[tokio::test]
async fn what_does_not_fit_a_small_frame_has_its_own_fate() {
    const SMALL: usize = 8192;
    let start = || RabbitMq::configured(&format!("frame_max = {SMALL}"), "");
    let broker = tokio::task::spawn_blocking(start).await.unwrap();
    let scene = Scene::on(&broker).await;
    scene.client.exchange("one", true).await;
    scene.client.catch_all("one").await;
    let fates = [
        ("headers-now", "more than the 8192"),
        ("headers-later", "more than the 8192"),
        ("rejected-wide", "told to reject"),
    ];
    let plugins = plugins();
    let plugins = plugins.iter().map(|(name, text)| (&name[..], &text[..]));
    let is_meant = |name: &str| name == "one" || fates.iter().any(|(other, _)| name == *other);
    let plugins: Vec<_> = plugins.filter(|(name, _)| is_meant(name)).collect();
    assert_eq!(plugins.len(), fates.len() + 1);
    let router = scene.run("declare = 'passive'", &plugins).await;

    let poisons = fates.map(|(name, _)| poisonous(name, SMALL - LEFT));
    scene.client.publish(MO, poisons.into_iter().chain(numbered(0..200))).await;
    assert_eq!(numbers(&scene.client.take("one", 200).await), (0..200).collect());
    ask_until("the dead letters", || async {
        let letters = router.json(&["dead", "list"]).await;
        let letters = letters.as_array().unwrap();
        assert!(letters.len() <= fates.len(), "{letters:?}");
        for letter in letters {
            let (_, reason) = fates.iter().find(|(name, _)| letter["plugin"] == *name).unwrap();
            assert!(letter["reason"].as_str().unwrap().contains(reason), "{letter}");
            // Nothing of it is lost.
            let header = letter["properties"]["headers"]["x"]["Text"].as_str().unwrap();
            assert_eq!(header.len(), SMALL - LEFT);
        }
        (letters.len() == fates.len()).then_some(())
    })
    .await;
    assert_eq!(router.count_logged("session lost"), 0);
    assert_eq!(router.count_logged("delayed messages are not being published"), 0);
}
