//! Delayed messages, beside those that are published at once, that a real broker does not take.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::ask_until;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Event, Received, all_of, numbered, numbers};

/// What leaves the store counts for its plugin.
#[tokio::test]
async fn a_delayed_message_that_no_queue_takes_is_in_the_metrics() {
    let scene = Scene::shared().await;
    scene.client.exchange("unbound", true).await;
    let settings = "exchanges = ['unbound']\nconfig.to = 'unbound'\nconfig.delay = '1'";
    let plugins = [("lost", settings), ("later", "config.delay = '1'")];
    let router = scene.run("", &plugins).await;
    scene.client.publish(MO, numbered(0..5)).await;
    scene.routed(5).await;
    scene.dead(5).await;
    let published = |plugin: &str, outcome: &str| {
        format!("publications_total{{plugin=\"{plugin}\",outcome=\"{outcome}\"}}")
    };
    router.metric_until(&published("later", "confirmed"), 5.0).await;
    router.metric_until(&published("lost", "returned"), 5.0).await;
    router.metric_until("dead_letters_total{plugin=\"lost\",cause=\"returned\"}", 5.0).await;
    let status = router.status_of("lost").await;
    assert_eq!(status["dead"], 5, "{status}");
}

/// As those that are published at once wait for the exchange, in the queue of their plugin.
#[tokio::test]
async fn delayed_messages_wait_for_an_exchange_that_is_missing() {
    let scene = Scene::shared().await;
    let settings = "exchanges = ['missing']\nconfig.to = 'missing'\nconfig.delay = '1'";
    let plugins = [("waits", settings), ("later", "config.delay = '1'")];
    let router = scene.run("declare = 'passive'", &plugins).await;
    scene.client.publish(MO, numbered(0..200)).await;
    assert_eq!(numbers(&scene.routed(200).await).len(), 200);
    ask_until("the exchange to be told of", || async {
        let (status, text) = router.get("readyz").await;
        let told = "exchange-missing: delayed messages to exchange \"missing\"";
        (status == 503 && text.contains(told)).then_some(())
    })
    .await;
    router.metric_until("delayed_messages", 181.0).await;
    let overdue = router.json(&["delayed", "list", "--overdue", "--limit", "1"]).await;
    let problem = overdue[0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("\"missing\" does not exist"), "{overdue}");
    assert_eq!(scene.client.depth(DEAD).await, 19);

    scene.client.exchange("missing", true).await;
    scene.client.catch_all("missing").await;
    router.print(&["dead", "requeue", "--plugin", "waits"]).await;
    scene.client.take_until("missing", all_of(200)).await;
    ask_until("the router to be ready", || async {
        (router.get("readyz").await.0 == 200).then_some(())
    })
    .await;
}

/// As those that are published at once: their queues are bound by others.
#[tokio::test]
async fn delayed_messages_wait_for_the_queues_of_an_exchange_that_was_made_again() {
    let scene = Scene::shared().await;
    let router = scene.run("check_interval = '500ms'", &[("later", "config.delay = '1000'")]).await;
    scene.client.publish(MO, numbered(0..5)).await;
    scene.routed(5).await;
    scene.client.delete_exchange(ROUTED).await;
    router.logged("exchange \"routed\" was deleted and made again").await;
    scene.client.publish(MO, numbered(0..200)).await;
    ask_until("the exchange to be told of", || async {
        let (status, text) = router.get("readyz").await;
        let told = "binding-missing: delayed messages to exchange \"routed\" wait";
        (status == 503 && text.contains(told)).then_some(())
    })
    .await;
    router.metric_until("delayed_messages", 181.0).await;
    assert_eq!(scene.client.depth(DEAD).await, 19);

    scene.client.bind_all(ROUTED, ROUTED).await;
    router.print(&["dead", "requeue", "--plugin", "later"]).await;
    scene.client.take_until(ROUTED, all_of(200)).await;
    ask_until("the router to be ready", || async {
        (router.get("readyz").await.0 == 200).then_some(())
    })
    .await;
}

/// Behind the key is a queue that takes everything, and one that is full: each time that the broker
/// nacks a message, the first one has got another copy.
#[tokio::test]
async fn what_one_queue_rejects_leaves_few_copies_in_another_whether_delayed_or_not() {
    let scene = Scene::shared().await;
    for exchange in ["both", "narrow"] {
        scene.client.exchange(exchange, true).await;
    }
    scene.client.catch_all("both").await;
    scene.client.catch_one("narrow").await;
    scene.client.publish("narrow", [Event::new("fills.it", "")]).await;
    scene.client.bind_all("narrow", "both").await;
    let now = "exchanges = ['both']\nconfig.to = 'both'";
    let later = format!("{now}\nconfig.delay = '1'");
    let router = scene.run("", &[("now", now), ("later", &later)]).await;
    scene.client.publish(MO, numbered(0..3)).await;
    // After pauses of some 4 and 8 s.
    let nacks = async |plugin: &str| {
        let name = format!("publications_total{{plugin=\"{plugin}\",outcome=\"nacked\"}}");
        router.metric(&name).await.unwrap_or(0.0) as usize
    };
    ask_until("each to be sent three times", || async {
        (nacks("now").await >= 9 && nacks("later").await >= 9).then_some(())
    })
    .await;
    ask_until("people to be told", || async {
        let (status, text) = router.get("readyz").await;
        (status == 200 && text.contains("rejects messages")).then_some(())
    })
    .await;

    // With room in the other, each comes once more, and no more.
    let all = |came: &[Received]| came.iter().filter_map(id).collect::<BTreeSet<_>>().len() == 6;
    scene.client.take_until("narrow", all).await;
    let confirmed =
        |plugin: &str| format!("publications_total{{plugin=\"{plugin}\",outcome=\"confirmed\"}}");
    router.metric_until(&confirmed("now"), 3.0).await;
    router.metric_until(&confirmed("later"), 3.0).await;
    let sent = nacks("now").await + nacks("later").await + 6;
    assert_eq!(scene.client.depth("both").await as usize, sent);
    let mut copies = BTreeMap::<String, usize>::new();
    for message in scene.client.take("both", sent).await {
        *copies.entry(id(&message).unwrap()).or_default() += 1;
    }
    assert!(copies.len() == 6 && copies.values().all(|count| *count <= 8), "{copies:?}");
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

fn id(message: &Received) -> Option<String> {
    message.properties.message_id().as_ref().map(ToString::to_string)
}
