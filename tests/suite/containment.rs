//! One message that the broker answers by closing the channel, or that cannot be sent,
//! costs no other: published now or later, from quorum and classic queues.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::{Event, Received, all_of, numbers};

/// Events beside the poison.
const INNOCENT: u64 = 2000;

/// A message that cannot be sent.
struct Poison {
    name: &'static str,
    /// MO's key of the event that causes it.
    key: &'static str,
    /// What makes the plugin publish it.
    settings: &'static str,
    /// Bytes of headers that the event brings.
    headers: usize,
    /// What its dead letter says.
    reason: &'static str,
}

const POISONS: [Poison; 3] = [
    Poison {
        name: "cc",
        key: "employee.address.create",
        settings: "config.header = 'CC=elsewhere'",
        headers: 0,
        reason: "406 PRECONDITION_FAILED",
    },
    Poison {
        name: "internal",
        key: "employee.it.create",
        settings: "exchanges = ['internal']\nconfig.to = 'internal'",
        headers: 0,
        reason: "403 ACCESS_REFUSED",
    },
    Poison {
        name: "headers",
        key: "employee.leave.create",
        settings: "config.header = 'more=0123456789012345678901234567890123456789'",
        headers: 130_990,
        reason: "more than the 131072",
    },
];

#[tokio::test]
async fn poison_beside_innocent_events_on_quorum_queues() {
    poison_beside_innocent_events("quorum").await;
}

#[tokio::test]
async fn poison_beside_innocent_events_on_classic_queues() {
    poison_beside_innocent_events("classic").await;
}

async fn poison_beside_innocent_events(queue_type: &str) {
    let scene = Scene::shared().await;
    scene.client.internal_exchange("internal").await;
    for exchange in ["one", "other", "later"] {
        scene.client.exchange(exchange, true).await;
        scene.client.catch_all(exchange).await;
    }
    let innocent = |to: &str, more: &str| {
        let settings = format!(
            "subscriptions = ['employee.engagement.*']\nexchanges = ['{to}']\nconfig.to = '{to}'\n{more}"
        );
        (to.to_owned(), settings)
    };
    let mut plugins =
        vec![innocent("one", ""), innocent("other", ""), innocent("later", "config.delay = '300'")];
    for Poison { name, key, settings, .. } in &POISONS {
        for (when, delay) in [("now", ""), ("later", "config.delay = '300'")] {
            let settings = format!("subscriptions = ['{key}']\n{settings}\n{delay}");
            plugins.push((format!("{name}-{when}"), settings));
        }
    }
    let plugins: Vec<_> = plugins.iter().map(|(name, text)| (&name[..], &text[..])).collect();
    let router =
        scene.run(&format!("declare = 'passive'\nqueue_type = '{queue_type}'"), &plugins).await;

    let mut events: Vec<Event> = (0..INNOCENT).map(|number| Event::numbered(number, 100)).collect();
    for (at, poison) in (1..).zip(&POISONS) {
        events.insert(at * events.len() / 5, poison.event());
    }
    scene.client.publish(MO, events).await;

    // Nothing is missing, and nothing came twice.
    for exchange in ["one", "other"] {
        let came = scene.client.take(exchange, INNOCENT as usize).await;
        assert_eq!(numbers(&came).len() as u64, INNOCENT, "{exchange}");
    }
    // Delayed messages share a channel: those that the broker had taken when it closed it
    // come again, once for each message to blame.
    let came = scene.client.take_until("later", all_of(INNOCENT)).await;
    let mut copies = BTreeMap::new();
    for message in &came {
        let id = message.properties.message_id().as_ref().unwrap().to_string();
        let (number, count) = copies.entry(id).or_insert((message.number(), 0));
        *count += 1;
        assert!(*number == message.number() && *count <= 1 + POISONS.len(), "{message:?}");
    }
    assert_eq!(copies.len() as u64, INNOCENT);
    let dead = reasons(&scene, 2 * POISONS.len()).await;
    for Poison { name, reason, .. } in &POISONS {
        for when in ["now", "later"] {
            let said = &dead[&format!("{name}-{when}")];
            assert!(said.contains(reason), "{name}-{when}: {said}");
        }
    }
    for exchange in ["one", "other"] {
        assert_eq!(scene.client.depth(exchange).await, 0, "{exchange}");
    }
    let status = router.status_of("one").await;
    assert_eq!(status["state"], "running", "{status}");
}

/// The reasons of the dead letters of so many plugins. A letter can come twice for the reason
/// that a delayed message can.
async fn reasons(scene: &Scene, plugins: usize) -> BTreeMap<String, String> {
    let header = |letter: &Received, name: &str| letter.headers[name].clone();
    let by_plugin = |letters: &[Received]| -> BTreeMap<String, String> {
        let entry =
            |letter| (header(letter, "mo-router-plugin"), header(letter, "mo-router-reason"));
        letters.iter().map(entry).collect()
    };
    let all = |letters: &[Received]| by_plugin(letters).len() == plugins;
    by_plugin(&scene.client.take_until(DEAD, all).await)
}

impl Poison {
    fn event(&self) -> Event {
        let body = r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2024-07-01T00:00:00+02:00"}"#;
        let mut event = Event::new(self.key, body);
        if self.headers > 0 {
            let mut headers = FieldTable::default();
            let text = "x".repeat(self.headers);
            headers.insert("x".into(), AMQPValue::LongString(text.into()));
            event.properties = BasicProperties::default().with_headers(headers);
        }
        event
    }
}
