//! Exchanges that are missing, or not as the router would make them.

use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{all_of, assert_ordered, numbered, numbers};

#[tokio::test]
async fn missing_exchanges_are_declared_durable() {
    let scene = Scene::shared().await;
    let _router = scene
        .run("unroutable = 'ignore'", &[("forward", "exchanges = ['new']\nconfig.to = 'new'")])
        .await;
    scene.client.publish(MO, numbered(0..1)).await;
    crate::support::ask_until("the exchange", || async {
        scene.client.has_exchange("new").await.then_some(())
    })
    .await;
    // The broker refuses another declaration than the one that was made.
    scene.client.exchange("new", true).await;
    scene.client.catch_all("new").await;
    scene.client.publish(MO, numbered(1..10)).await;
    scene.client.take_until("new", |routed| numbers(routed).range(1..10).count() == 9).await;
}

#[tokio::test]
async fn what_goes_to_a_missing_exchange_waits_until_it_is_there() {
    let scene = Scene::shared().await;
    let plugins = [("good", ""), ("bad", "exchanges = ['missing']\nconfig.to = 'missing'")];
    let router = scene.run("declare = 'passive'", &plugins).await;
    costs_no_message(&scene, &router, 200, "\"missing\" does not exist").await;

    scene.client.exchange("missing", true).await;
    scene.client.catch_all("missing").await;
    router.print(&["dead", "requeue", "--plugin", "bad"]).await;
    router.print(&["plugin", "resume", "bad", "--address", &router.address().await]).await;
    scene.client.take_until("missing", all_of(200)).await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

/// Each event goes to two exchanges. What one of them takes does not end the suspension for the
/// other.
#[tokio::test]
async fn what_goes_to_a_missing_exchange_waits_though_another_one_takes_everything() {
    let scene = Scene::shared().await;
    let both = format!("exchanges = ['{ROUTED}', 'missing']\nconfig.to = '{ROUTED} missing'");
    let router = scene.run("declare = 'passive'", &[("both", both.as_str())]).await;
    scene.client.publish(MO, numbered(0..200)).await;
    // The second time after a trial of some events.
    router.logged_times("plugin suspended", 2).await;
    assert_eq!(router.count_logged("plugin resumed"), 0);
    let suspended = router.status_of("both").await;
    assert_eq!(suspended["state"], "suspended", "{suspended}");
    assert!(scene.client.depth(DEAD).await < 20);

    scene.client.exchange("missing", true).await;
    scene.client.catch_all("missing").await;
    router.print(&["dead", "requeue", "--plugin", "both"]).await;
    router.print(&["plugin", "resume", "both", "--address", &router.address().await]).await;
    scene.client.take_until("missing", all_of(200)).await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn a_topic_exchange_that_is_transient_is_used_with_a_warning() {
    let scene = Scene::shared().await;
    scene.client.exchange("transient", false).await;
    scene.client.catch_all("transient").await;
    let plugins = [("forward", "exchanges = ['transient']\nconfig.to = 'transient'")];
    let router = scene.run("", &plugins).await;
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(numbers(&scene.client.take("transient", 100).await).len(), 100);
    router.logged("exchange \"transient\" is used as it is").await;
}

/// A wrong name must not look like a quiet day, however often the router is started.
#[tokio::test]
async fn that_mo_may_publish_to_another_exchange_is_told_at_each_start() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    let overlooked = "MO's exchange \"os2mo\" exists here";
    router.set("exchange", "os2mo_queue");
    router.start_ready().await;
    let created = "exchange \"os2mo_queue\" did not exist and was created";
    assert!(router.logged(created).await.contains("\"os2mo\" exists here"));
    assert_eq!(router.count_logged(overlooked), 0, "it was told");
    assert!(router.stop().await.success());
    for _ in 0..2 {
        router.start_ready().await;
        assert!(router.logged(overlooked).await.contains("listens to \"os2mo_queue\""));
        assert_eq!((router.count_logged(overlooked), router.count_logged(created)), (1, 0));
        assert!(router.stop().await.success());
    }
    let checked = router.print(&["check", "--connect"]).await;
    assert!(checked.lines().any(|line| line.starts_with("warn") && line.contains(overlooked)));
    router.set("exchange", MO);
    router.start_ready().await;
    assert_eq!(router.count_logged(overlooked), 0);
    assert!(!router.print(&["check", "--connect"]).await.contains(overlooked));
}

/// Of the plugins `good` and `bad`, the first routes all events in order. The second is
/// suspended for a reason that contains `reason`, which is also that of the few events
/// that are dead before that is plain; its queue keeps the others.
async fn costs_no_message(scene: &Scene, router: &Router, count: u64, reason: &str) {
    scene.client.publish(MO, numbered(0..count)).await;
    let routed = scene.routed(count as usize).await;
    assert_eq!(numbers(&routed).len() as u64, count);
    assert_ordered(&routed);
    let suspended = router.status_until("bad", |plugin| plugin["state"] == "suspended").await;
    let said = suspended["reason"].as_str().unwrap_or_default();
    assert!(said.contains(reason), "{suspended}");
    let dead = scene.client.look(DEAD).await;
    assert!(dead.headers["mo-router-reason"].contains(reason), "{dead:?}");
    assert_eq!(dead.headers["mo-router-plugin"], "bad");
    assert!(scene.client.depth(DEAD).await < 20);
}

/// A router that was given five events, and publishes to a queue that has room for
/// one message and refuses the others.
async fn with_a_full_queue() -> (Scene, Router) {
    let scene = Scene::shared().await;
    scene.client.exchange("narrow", true).await;
    scene.client.catch_one("narrow").await;
    let router =
        scene.run("", &[("forward", "exchanges = ['narrow']\nconfig.to = 'narrow'")]).await;
    scene.client.publish(MO, numbered(0..5)).await;
    router.status_until("forward", |plugin| plugin["failures"].as_u64() > Some(0)).await;
    (scene, router)
}

#[tokio::test]
async fn what_a_full_queue_refuses_is_sent_again_until_there_is_room() {
    let (scene, _router) = with_a_full_queue().await;
    assert_eq!(numbers(&scene.client.take("narrow", 5).await).len(), 5);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn a_plugin_ends_though_a_full_queue_refuses_its_messages() {
    let (scene, router) = with_a_full_queue().await;
    std::fs::remove_file(router.plugin("forward")).unwrap();
    // What it could not hand on is back in its queue.
    scene.client.has("mo-router.forward", 4).await;
}

#[tokio::test]
async fn passively_an_exchange_is_used_as_it_is() {
    let scene = Scene::shared().await;
    scene.client.exchange("transient", false).await;
    scene.client.catch_all("transient").await;
    let plugins = [("forward", "exchanges = ['transient']\nconfig.to = 'transient'")];
    let _router = scene.run("declare = 'passive'", &plugins).await;
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(numbers(&scene.client.take("transient", 100).await).len(), 100);
}
