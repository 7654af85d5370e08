//! Exchanges, bindings and queues that somebody else takes away, or does not allow.

use crate::support::ask_until;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Received, numbered, numbers};

const QUEUE: &str = "mo-router.forward";

/// Publishes an event at a time until one is routed.
async fn until_one_is_routed(scene: &Scene) {
    let mut numbers = 0..;
    ask_until("events to be routed again", || {
        let number = numbers.next().unwrap();
        async move {
            scene.client.publish(MO, numbered(number..number + 1)).await;
            (scene.client.depth("routed").await > 0).then_some(())
        }
    })
    .await;
}

/// Waits until readiness says `text`.
async fn unready(router: &Router, text: &str) -> String {
    ask_until(text, || async {
        let (status, reasons) = router.get("readyz").await;
        (status == 503 && reasons.contains(text)).then_some(reasons)
    })
    .await
}

async fn ready(router: &Router) {
    ask_until("readiness", || async { (router.get("readyz").await.0 == 200).then_some(()) }).await;
}

#[tokio::test]
async fn the_source_exchange_is_deleted_and_made_again() {
    let scene = Scene::shared().await;
    let _router = scene.run("check_interval = '500ms'", &[("forward", "")]).await;
    scene.client.delete_exchange(MO).await;
    ask_until("the exchange", || async { scene.client.has_exchange(MO).await.then_some(()) }).await;
    until_one_is_routed(&scene).await;
    // And by somebody else: the router does not see that it was gone.
    scene.routed(1).await;
    scene.client.delete_exchange(MO).await;
    scene.client.exchange(MO, true).await;
    until_one_is_routed(&scene).await;
}

#[tokio::test]
async fn a_binding_that_somebody_removes_is_made_again() {
    let scene = Scene::shared().await;
    let _router = scene.run("check_interval = '500ms'", &[("forward", "")]).await;
    scene.client.unbind(QUEUE, MO, "#").await;
    until_one_is_routed(&scene).await;
}

#[tokio::test]
async fn passively_a_missing_source_exchange_is_told_and_used_when_it_is_back() {
    let scene = Scene::shared().await;
    let lines = "declare = 'passive'\ncheck_interval = '500ms'";
    let router = scene.run(lines, &[("forward", "")]).await;
    scene.client.delete_exchange(MO).await;
    let reasons = unready(&router, "exchange-missing").await;
    assert!(reasons.contains("exchange \"os2mo\" does not exist"), "{reasons}");
    let shown = router.print(&["status", "--address", &router.address().await]).await;
    assert!(shown.contains("not ready: exchange-missing"), "{shown}");
    let (_, metrics) = router.get("metrics").await;
    assert!(
        metrics.contains("mo_router_not_ready_reason{reason=\"exchange-missing\"} 1"),
        "{metrics}"
    );
    assert_eq!(router.count_logged("does not exist"), 1);
    assert!(!scene.client.has_exchange(MO).await);

    scene.client.exchange(MO, true).await;
    ready(&router).await;
    until_one_is_routed(&scene).await;
}

#[tokio::test]
async fn passively_a_source_exchange_that_was_never_there_is_told_as_such() {
    let scene = Scene::shared().await;
    let mut router = scene.router("declare = 'passive'", &[("forward", "")]);
    scene.client.delete_exchange(MO).await;
    router.start();
    let line = router.logged("the plugin cannot start, its queue keeps its events").await;
    assert!(line.contains("exchange \"os2mo\" does not exist"), "{line}");
    assert_eq!(router.count_logged("session lost"), 0, "nothing was there to lose");
}

#[tokio::test]
async fn an_exchange_to_publish_to_that_is_missing_is_told_until_it_is_there_or_unused() {
    let scene = Scene::shared().await;
    let lines = "declare = 'passive'\ncheck_interval = '500ms'";
    let plugins =
        [("forward", "exchanges = ['routed', 'later']"), ("other", "exchanges = ['never']")];
    let router = scene.run(lines, &plugins).await;
    let reasons = unready(&router, "exchange-missing").await;
    for name in ["later", "never"] {
        assert!(reasons.contains(&format!("exchange {name:?} does not exist")), "{reasons}");
    }
    assert!(!reasons.contains("routed"), "{reasons}");
    scene.client.exchange("later", true).await;
    router.logged("the exchange can be published to again").await;
    std::fs::remove_file(router.plugin("other")).unwrap();
    router.logged("no plugin publishes to the exchange any more").await;
    ready(&router).await;
    // One that goes away is told, too.
    scene.client.delete_exchange("later").await;
    unready(&router, "exchange \"later\" does not exist").await;
}

/// Its queues are bound by others, who do not know that it was gone.
#[tokio::test]
async fn an_exchange_that_is_made_again_without_its_queues_has_the_events_wait() {
    let scene = Scene::shared().await;
    let plugins = [("forward", "limits.suspend_after = 3")];
    let router = scene.run("check_interval = '500ms'", &plugins).await;
    scene.client.publish(MO, numbered(0..10)).await;
    scene.routed(10).await;

    scene.client.delete_exchange(ROUTED).await;
    let gone = "exchange \"routed\" was deleted and made again";
    router.logged(gone).await;
    let (status, reasons) = router.get("readyz").await;
    assert!(status == 200 && reasons.contains(&format!("bindings-unchecked: {gone}")), "{reasons}");
    scene.client.publish(MO, numbered(10..110)).await;
    let reasons = unready(&router, &format!("binding-missing: {gone}, and no queue")).await;
    assert!(!reasons.contains("exchange-missing"), "{reasons}");
    suspended_until_bound(&scene, &router).await;
    assert_eq!(router.count_logged(&format!("{gone}, and the queues of others")), 1);
    assert_eq!(router.count_logged("a queue takes what is published to the exchange again"), 2);

    // What has no queue for itself is a dead letter as ever.
    scene.client.unbind(ROUTED, ROUTED, "#").await;
    scene.client.publish(MO, numbered(110..120)).await;
    assert_eq!(numbers(&scene.dead(10).await), (110..120).collect());
}

/// Somebody else makes it, and the router sees both that it is gone and that it is there again.
#[tokio::test]
async fn passively_an_exchange_that_is_back_without_its_queues_has_the_events_wait() {
    let scene = Scene::shared().await;
    let plugins = [("forward", "limits.suspend_after = 3")];
    let lines = "declare = 'passive'\ncheck_interval = '500ms'";
    let router = scene.run(lines, &plugins).await;
    scene.client.delete_exchange(ROUTED).await;
    unready(&router, "exchange-missing: exchange \"routed\" does not exist").await;
    scene.client.exchange(ROUTED, true).await;
    router.logged("exchange \"routed\" was deleted and made again").await;
    scene.client.publish(MO, numbered(10..110)).await;
    unready(&router, "binding-missing: exchange \"routed\" was deleted and made again").await;
    suspended_until_bound(&scene, &router).await;
}

/// The plugin is suspended with two dead letters of 100 events, and resumes when a queue is bound.
async fn suspended_until_bound(scene: &Scene, router: &Router) {
    router.status_until("forward", |status| status["state"] == "suspended").await;
    assert_eq!(scene.client.depth(DEAD).await, 2, "one less than suspend it");
    scene.client.bind_all(ROUTED, ROUTED).await;
    router.print(&["dead", "requeue", "--plugin", "forward"]).await;
    let all = |routed: &[Received]| numbers(routed) == (10..110).collect();
    scene.client.take_until(ROUTED, all).await;
    ready(router).await;
    let (_, reasons) = router.get("readyz").await;
    assert!(!reasons.contains("bind"), "{reasons}");
    router.status_until("forward", |status| status["state"] == "running").await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn an_exchange_to_publish_to_that_is_of_another_type_is_told() {
    let scene = Scene::shared().await;
    scene.client.fanout_exchange("fanout").await;
    let plugins = [("forward", "exchanges = ['fanout']")];
    let router = scene.run("check_interval = '500ms'", &plugins).await;
    let reasons = unready(&router, "not-permitted: exchange \"fanout\" exists").await;
    assert!(reasons.contains("is not a topic exchange"), "{reasons}");
    scene.client.delete_exchange("fanout").await;
    ready(&router).await;
}

/// A router is removed a plugin while the other one that runs it has no connection.
#[tokio::test]
async fn another_routers_plugin_keeps_its_bindings_though_it_was_away_for_a_moment() {
    let scene = Scene::shared().await;
    let mut other = scene.run("", &[("forward", "")]).await;
    let mut one = scene.router("", &[("forward", "")]);
    let settings = std::fs::read_to_string(one.path("mo-router.toml")).unwrap();
    let patient = settings.replace("keep_bindings = '1s'", "keep_bindings = '1min'");
    one.put_file("mo-router.toml", patient.as_bytes());
    one.start_ready().await;
    other.kill().await;
    std::fs::remove_file(one.plugin("forward")).unwrap();
    one.status_until("forward", |status| status["state"] == "removed").await;
    other.start_ready().await;
    one.logged("another router still runs it").await;
    scene.client.publish(MO, numbered(0..10)).await;
    assert_eq!(numbers(&scene.routed(10).await).len(), 10);
}

#[tokio::test]
async fn a_router_makes_again_what_another_one_took_away() {
    let scene = Scene::shared().await;
    let router = scene.run("check_interval = '500ms'", &[("forward", "")]).await;
    // The consumer is cancelled, and declares the queue anew.
    scene.client.delete(QUEUE).await;
    router.logged_times("plugin consumes", 2).await;
    until_one_is_routed(&scene).await;
}

#[tokio::test]
async fn nine_plugins_run_where_a_connection_has_six_channels() {
    let mut scene = Scene::shared().await;
    scene.url += "?channel_max=6";
    let plugins: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
    let plugins: Vec<(&str, &str)> = plugins.iter().map(|name| (name.as_str(), "")).collect();
    let router = scene.run("", &plugins).await;
    ready(&router).await;
    scene.client.publish(MO, numbered(0..1)).await;
    assert_eq!(scene.routed(9).await.len(), 9);
}

#[tokio::test]
async fn what_the_broker_forbids_is_told() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let router = scene.run("check_interval = '500ms'", &[("forward", "")]).await;
    broker.control(&["set_permissions", "-p", "test0", "guest", "^$", ".*", ".*"]);
    let reasons = unready(&router, "mo-router.dead").await;
    assert!(reasons.contains("not-permitted"), "{reasons}");
    broker.control(&["set_permissions", "-p", "test0", "guest", ".*", ".*", ".*"]);
    ready(&router).await;
}

/// The queue itself is permitted, each time that it is looked at.
#[tokio::test]
async fn a_binding_that_is_refused_is_told_once_and_until_it_is_permitted() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let mut router = scene.router("check_interval = '100ms'", &[("forward", "")]);
    router.start_with_variables(&["RUST_LOG=mo_router=debug"]);
    ready(&router).await;
    let read = format!("^(?!{MO}$).*");
    broker.control(&["set_permissions", "-p", "test0", "guest", ".*", ".*", &read]);
    let reasons = unready(&router, QUEUE).await;
    assert!(reasons.contains("not-permitted"), "{reasons}");
    router.logged_times("checking what there is at the broker: binding queue", 3).await;
    assert_eq!(router.count_logged("the broker permits it again"), 0);
    broker.control(&["set_permissions", "-p", "test0", "guest", ".*", ".*", ".*"]);
    ready(&router).await;
    router.logged("the broker permits it again").await;
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn a_limit_of_the_broker_is_told_in_its_words() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    // The queue that catches what is routed, and that of the dead letters.
    broker.control(&["set_vhost_limits", "--vhost", "test0", r#"{"max-queues":2}"#]);
    let mut router = scene.router("", &[("forward", "")]);
    router.start();
    let reasons = unready(&router, "not-permitted").await;
    assert!(reasons.contains("queue limit") && reasons.contains("plugin-waiting"), "{reasons}");
    broker.control(&["clear_vhost_limits", "--vhost", "test0"]);
    ready(&router).await;
    assert!(router.stop().await.success());

    broker.control(&["set_vhost_limits", "--vhost", "test0", r#"{"max-connections":1}"#]);
    router.start();
    let reasons = unready(&router, "broker-unreachable").await;
    assert!(reasons.contains("connection limit"), "{reasons}");
    broker.control(&["clear_vhost_limits", "--vhost", "test0"]);
    ready(&router).await;
}

/// The broker ends the connection that opens a channel too many: not one that others use.
#[tokio::test]
async fn a_limit_of_channels_is_told_and_the_plugins_within_it_run() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    // Two for each of three plugins, and four for the delay store and for attempts: those of several
    // plugins meet, and the broker counts a channel for a while after its connection has ended.
    broker.control(&["set_user_limits", "guest", r#"{"max-channels":10}"#]);
    let plugins: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
    let names = plugins.iter().map(String::as_str);
    let mut router = scene.router("", &names.clone().map(|name| (name, "")).collect::<Vec<_>>());
    router.start();
    unready(&router, "not-permitted: the broker allows no more channels: NOT_ALLOWED").await;
    // It tries again and again with the others, and these stay.
    let states = || async {
        let status = router.json(&["status", "--address", &router.address().await]).await;
        let plugins = status["plugins"].as_array().unwrap();
        let running = plugins.iter().filter(|plugin| plugin["state"] == "running");
        running.map(|plugin| plugin["name"].to_string()).collect::<Vec<_>>()
    };
    let running = ask_until("three plugins to run", || async {
        Some(states().await).filter(|running| running.len() >= 3)
    })
    .await;
    let attempts = router.count_logged("opening a channel");
    router.logged_times("opening a channel", attempts + 10).await;
    let still = states().await;
    assert!(running.iter().all(|name| still.contains(name)), "{running:?}, then {still:?}");

    broker.control(&["clear_user_limits", "guest", "max-channels"]);
    for name in names {
        router.status_until(name, |status| status["state"] == "running").await;
    }
}

#[tokio::test]
async fn dead_letters_that_wait_for_a_binding_hold_up_no_others() {
    let scene = Scene::shared().await;
    let plugins = [("reject", "config.answer = 'reject'"), ("forward", "")];
    let router = scene.run("declare = 'passive'", &plugins).await;
    scene.client.unbind(DEAD, DEAD, "#").await;
    scene.client.publish(MO, numbered(0..100)).await;
    unready(&router, "binding-missing: dead letters of reject are not taken, and wait").await;
    scene.client.publish(MO, numbered(100..200)).await;
    let routed = scene.routed(200).await;
    assert_eq!((routed.len(), numbers(&routed)), (200, (0..200).collect()), "each once");

    scene.client.bind_all(DEAD, DEAD).await;
    let dead = scene.dead(200).await;
    assert_eq!(numbers(&dead), (0..200).collect());
    assert!(dead.iter().all(|letter| letter.headers["mo-router-plugin"] == "reject"));
    ready(&router).await;
    assert_eq!(router.count_logged("plugin consumes"), 2, "no session has ended");
}

/// What such a letter is of waits in the store, and is delivered in the end.
#[tokio::test]
async fn dead_letters_that_are_needed_no_more_are_told_no_more() {
    let scene = Scene::shared().await;
    let plugins = [("later", "config.delay = '1000'")];
    let router = scene.run("declare = 'passive'", &plugins).await;
    scene.client.unbind(DEAD, DEAD, "#").await;
    scene.client.unbind(ROUTED, ROUTED, "#").await;
    scene.client.publish(MO, numbered(0..1)).await;
    let told = "binding-missing: dead letters of delayed messages of later are not taken, and wait";
    unready(&router, told).await;
    scene.client.bind_all(ROUTED, ROUTED).await;
    scene.client.bind_all(DEAD, DEAD).await;
    assert_eq!(scene.routed(1).await.len(), 1);
    ready(&router).await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

/// Neither is the letter's fault, and nothing is cut off.
#[tokio::test]
async fn dead_letters_that_are_forbidden_or_have_no_room_wait_as_they_are() {
    const SIZE: usize = 100 << 10;
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let vhost = scene.virtual_host();
    let large = |numbers: std::ops::Range<u64>| {
        numbered(numbers).map(|mut event| {
            event.body.resize(SIZE, b' ');
            event
        })
    };
    let router = scene.run("", &[("reject", "config.answer = 'reject'")]).await;
    let not_taken = "binding-missing: dead letters of reject are not taken, and wait: ";
    let whole = |dead: &[Received]| {
        let told = dead.iter().all(|letter| letter.headers["mo-router-reason"] == "told to reject");
        assert!(told && dead.iter().all(|letter| letter.body.len() == SIZE), "{dead:?}");
    };

    let topic = ["-p", &vhost, "guest", DEAD];
    broker.control(&[&["set_topic_permissions"], &topic[..], &["^other$", ".*"]].concat());
    scene.client.publish(MO, large(0..3)).await;
    unready(&router, &format!("{not_taken}the broker refuses it: 403")).await;
    broker.control(&["clear_topic_permissions", "-p", &vhost, "guest"]);
    let dead = scene.dead(3).await;
    assert_eq!(numbers(&dead), (0..3).collect());
    whole(&dead);
    ready(&router).await;

    broker.set_policy(&vhost, DEAD, r#"{"max-length":5}"#);
    // A quorum queue lets in what is sent before its publishers know that it is full.
    scene.client.publish(MO, large(3..9)).await;
    let full = || async { (scene.client.depth(DEAD).await == 6).then_some(()) };
    ask_until("a letter more than there may be", full).await;
    scene.client.publish(MO, large(9..23)).await;
    unready(&router, &format!("{not_taken}a queue bound to this key rejects messages")).await;
    // What is taken out of the queue makes room in it.
    let dead = scene.dead(20).await;
    assert_eq!(numbers(&dead), (3..23).collect());
    whole(&dead);
    ready(&router).await;
    assert_eq!(router.count_logged("plugin consumes"), 1, "no session has ended");
}
