//! The running router's folder and settings: plugins are replaced, broken, mended,
//! removed and put back while events pass, and none of that loses an event.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use crate::support::ask_until;
use crate::support::monsters::by_structure;
use crate::support::plugins::{build, hostile, hostile_text, stamped};
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::steady::Steady;
use crate::support::traffic::{Received, assert_ordered, numbered, numbers};

/// A plugin's name, and its queue.
const NAME: &str = "changing";
const QUEUE: &str = "mo-router.changing";

fn stamp(message: &Received) -> &str {
    message.headers.get("stamp").map_or("none", String::as_str)
}

/// Which of the two versions a number of the series stands for.
fn version(number: u64) -> &'static str {
    if number.is_multiple_of(2) { "A" } else { "B" }
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_lose_nothing_and_mix_nothing_up() {
    const RELOADS: u64 = 200;
    /// Events that each version routes before the next one comes.
    const EACH: usize = 100;
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.put(NAME, &stamped("A"));
    router.start_ready().await;
    let files = [stamped("A"), stamped("B")];

    let steady = Steady::start_within(&scene, 2000, 2 * EACH).await;
    for number in 1..=RELOADS {
        let replacing = async {
            router.put(NAME, &files[number as usize % 2]);
            router.logged_times("plugin replaced", number as usize).await;
        };
        steady.replace(replacing).await;
        steady.pass(EACH).await;
    }
    let passages = steady.stop(&scene).await;

    let mut certain = 0;
    for passage in &passages {
        let (first, last) = passage.versions;
        let possible: BTreeSet<&str> = (first..=last).map(version).collect();
        let (stamp, number) = (stamp(&passage.received), passage.received.number());
        assert!(possible.contains(stamp), "event {number}: {stamp} between {first} and {last}");
        certain += usize::from(possible.len() == 1);
    }
    let slowest = passages.iter().map(|passage| passage.took).max().unwrap_or_default();
    println!(
        "{RELOADS} reloads, {} events, {certain} of them clear of any reload, the slowest {slowest:?}",
        passages.len()
    );
    assert!(certain >= RELOADS as usize * EACH, "too few to tell");
    let received: Vec<Received> = passages.into_iter().map(|passage| passage.received).collect();
    assert_eq!(numbers(&received).len(), received.len(), "some came twice");
    assert_ordered(&received);
    assert!(router.stop().await.success());
    for queue in [QUEUE, ROUTED, DEAD] {
        assert_eq!(scene.client.depth(queue).await, 0, "{queue}");
    }
}

/// How many events wait while a plugin is suspended.
const BACKLOG: u64 = 30;

/// A router whose one plugin has failed on event after event, as `script` tells
/// it to.
async fn suspended(scene: &Scene, script: &str) -> Router {
    let settings = format!("limits.suspend_after = 3\nconfig = {{ answer = 'trap', {script} }}");
    let router = scene.run("", &[(NAME, &settings)]).await;
    scene.client.publish(MO, numbered(0..BACKLOG)).await;
    router.logged("plugin suspended").await;
    router
}

/// The name of the plugin's metric.
fn of(metric: &str) -> String {
    format!("{metric}{{plugin=\"{NAME}\"}}")
}

/// The name of the metric that says whether the plugin is in a state.
fn state(state: &str) -> String {
    format!("plugin_state{{plugin=\"{NAME}\",state=\"{state}\"}}")
}

/// The whole backlog has been routed, and nothing was given up.
async fn worked_off(scene: &Scene, mut router: Router) {
    let routed = scene.client.take(ROUTED, BACKLOG as usize).await;
    assert_eq!(numbers(&routed), (0..BACKLOG).collect());
    router.status_until(NAME, |status| status["state"] == "running").await;
    assert_eq!(router.metric(&state("suspended")).await, Some(0.0));
    assert!(router.stop().await.success());
    for queue in [QUEUE, DEAD] {
        assert_eq!(scene.client.depth(queue).await, 0, "{queue}");
    }
}

#[tokio::test]
async fn a_plugin_that_fails_is_suspended_until_its_file_is_mended() {
    let scene = Scene::shared().await;
    let router = suspended(&scene, "").await;
    let status = router
        .status_until(NAME, |status| status["state"] == "suspended" && status["backlog"] == BACKLOG)
        .await;
    assert!(status["reason"].as_str().unwrap().contains("trapped"), "{status}");
    assert_eq!(status["dead"], 0);
    assert_eq!(router.metric(&state("suspended")).await, Some(1.0));
    // They are in the queue, but for those that it is being tried with.
    ask_until("all of them to be counted", || async {
        let waiting = router.metric(&of("queue_messages")).await?;
        let held = router.metric(&of("events_in_flight")).await?;
        (waiting + held == BACKLOG as f64).then_some(())
    })
    .await;
    let address = router.address().await;
    let shown = router.print(&["status", "--address", &address]).await;
    assert!(shown.contains("suspended") && shown.contains("trapped"), "{shown}");

    router.put(NAME, &stamped("A"));
    worked_off(&scene, router).await;
}

#[tokio::test]
async fn a_suspended_plugin_can_be_resumed() {
    let scene = Scene::shared().await;
    let router = suspended(&scene, "").await;
    let address = router.address().await;
    let resume = ["plugin", "resume", NAME, "--address", &address];
    assert!(router.print(&resume).await.contains("takes events again"));
    // The router tries it by itself too, but calls that neither.
    ask_until("it to go on", || async {
        let times = ["plugin consumes", "plugin resumed"].map(|text| router.count_logged(text));
        (times.iter().sum::<usize>() > 1).then_some(())
    })
    .await;
    router.put(NAME, &stamped("A"));
    worked_off(&scene, router).await;
}

#[tokio::test]
async fn a_suspended_plugin_is_tried_again() {
    let scene = Scene::shared().await;
    let router = suspended(&scene, "unseen = 'yes'").await;
    router.logged("plugin resumed; it works off its backlog").await;
    worked_off(&scene, router).await;
}

#[tokio::test]
async fn past_replacements_do_not_end_a_suspension() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.put(NAME, &stamped("A"));
    router.start_ready().await;
    let traps = hostile_text("well-behaved").replace("    (i32.const 4096)))", "(unreachable)))");
    let (good, bad) = (stamped("B"), build(&traps));
    router.put(NAME, &good);
    router.logged("plugin replaced").await;
    router.put(NAME, &bad);
    router.logged_times("plugin replaced", 2).await;
    scene.client.publish(MO, numbered(0..BACKLOG)).await;
    router.status_until(NAME, |status| status["state"] == "suspended").await;
    assert_eq!(router.count_logged("plugin consumes"), 1);
    router.put(NAME, &good);
    worked_off(&scene, router).await;
}

#[tokio::test]
async fn what_is_not_suspended_needs_no_resuming() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[(NAME, "")]).await;
    let address = router.address().await;
    let resume = |name| ["plugin", "resume", name, "--address", &address];
    assert!(router.print(&resume(NAME)).await.contains("is not suspended"));
    let unknown = router.call(&resume("unknown")).await;
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no plugin \"unknown\" runs"));
}

#[tokio::test]
async fn a_removed_plugin_that_comes_back_has_lost_nothing() {
    let scene = Scene::shared().await;
    let router = suspended(&scene, "").await;
    std::fs::remove_file(router.plugin(NAME)).unwrap();
    router.logged("plugin removed; its queue keeps its messages").await;
    // Nobody asks for these.
    scene.client.publish(MO, numbered(BACKLOG..BACKLOG + 10)).await;
    let status = router
        .status_until(NAME, |status| status["state"] == "removed" && status["backlog"] == BACKLOG)
        .await;
    assert!(status["reason"].as_str().unwrap().contains("its queue is kept until"), "{status}");

    router.put(NAME, &stamped("A"));
    worked_off(&scene, router).await;
}

#[tokio::test]
async fn a_plugin_that_is_removed_at_one_router_goes_on_at_another() {
    let scene = Scene::shared().await;
    let one = scene.run("", &[(NAME, "")]).await;
    let other = scene.run("", &[(NAME, "")]).await;
    std::fs::remove_file(one.plugin(NAME)).unwrap();
    one.logged("another router still runs it").await;
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(numbers(&scene.routed(100).await), (0..100).collect());

    std::fs::remove_file(other.plugin(NAME)).unwrap();
    other.logged("its queue keeps its messages").await;
    scene.client.publish(MO, numbered(0..10)).await;
    assert_eq!(scene.client.depth(QUEUE).await, 0);
}

#[tokio::test]
async fn the_queue_of_a_removed_plugin_is_left_to_whoever_consumes_from_it() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[(NAME, "")]);
    router.keep("1s", "1s");
    router.start_ready().await;
    let _consumer = scene.client.consume(QUEUE).await.unwrap();
    std::fs::remove_file(router.plugin(NAME)).unwrap();
    router.logged("another router still runs it").await;
    router.logged("another router consumes from a removed plugin's queue").await;
    ask_until("it is gone from the status", || async {
        router.status_of(NAME).await.is_null().then_some(())
    })
    .await;
    assert_eq!(router.count_logged("the queue of a removed plugin"), 0, "{}", router.log());
}

/// A command fails, and says why.
async fn refused(router: &Router, arguments: &[&str], why: &str) {
    let output = router.call(arguments).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains(why), "{error}");
}

#[tokio::test]
async fn the_queue_of_a_plugin_that_went_while_no_router_ran_can_be_deleted() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[(NAME, "")]).await;
    let forget = ["plugin", "forget", NAME];
    refused(&router, &forget, "is in use").await;
    refused(&router, &["plugin", "forget", "dead"], "the queue of the dead letters").await;
    assert!(router.stop().await.success());
    std::fs::remove_file(router.plugin(NAME)).unwrap();
    scene.client.publish(MO, numbered(0..3)).await;

    refused(&router, &forget, "3 messages are waiting").await;
    scene.client.has(QUEUE, 3).await;
    let forgotten = router.json(&["plugin", "forget", NAME, "--yes"]).await;
    assert_eq!((&forgotten["queue"], &forgotten["messages"]), (&QUEUE.into(), &3.into()));
    refused(&router, &forget, "there is no queue").await;
}

#[tokio::test]
async fn a_router_that_waits_for_its_store_is_alive_and_not_ready() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[(NAME, "")]);
    let folder = router.path("later");
    router.set("delay.store", &format!("sqlite:{}", folder.join("delays.db").display()));
    router.start();
    router.logged("cannot open it").await;
    assert_eq!(router.get("healthz").await, (200, "alive\n".into()));
    let (status, reasons) = router.get("readyz").await;
    assert_eq!(status, 503);
    assert!(
        reasons.starts_with("store-unavailable: ") && reasons.contains("cannot open it"),
        "{reasons}"
    );
    assert_eq!(router.status_of(NAME).await, serde_json::Value::Null);
    std::fs::create_dir(folder).unwrap();
    router.logged("ready").await;
    assert_eq!(router.get("readyz").await, (200, "ready\n".into()));
}

#[tokio::test]
async fn the_queue_of_a_removed_plugin_is_deleted_in_time() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[(NAME, "")]);
    router.keep("1s", "1s");
    router.start_ready().await;
    std::fs::remove_file(router.plugin(NAME)).unwrap();
    router.logged("the queue of a removed plugin is deleted").await;
    assert!(router.status_of(NAME).await.is_null());

    router.add_plugin(NAME);
    router.logged_times("plugin consumes", 2).await;
    scene.client.publish(MO, numbered(0..10)).await;
    assert_eq!(scene.routed(10).await.len(), 10);
}

#[tokio::test]
async fn a_file_that_does_not_load_leaves_the_old_version_running() {
    let scene = Scene::shared().await;
    let mut router = scene.router("[limits]\ntimeout = '10s'", &[]);
    router.put(NAME, &stamped("A"));
    router.start_ready().await;
    let address = router.address().await;
    for (number, (content, expected)) in [
        (b"print('hello')\n".to_vec(), "the file is text, but not WebAssembly text"),
        (
            hostile("loop-in-subscriptions"),
            "does not return its subscriptions: took longer than 10s",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        router.put(NAME, &content);
        let line = router
            .logged_times("new file refused, the old version keeps running", number + 1)
            .await;
        assert!(line.contains(expected), "{line}");
        let is_stale = |status: &serde_json::Value| {
            status["stale"].as_str().is_some_and(|stale| stale.contains(expected))
        };
        let status = router.status_until(NAME, is_stale).await;
        assert_eq!(status["state"], "running");
        assert_eq!(router.metric(&of("plugin_stale")).await, Some(1.0));
        for command in [&["status"][..], &["plugin", "list"]] {
            let shown = router.print(&[command, &["--address", &address]].concat()).await;
            assert!(shown.contains("stale: ") && shown.contains(expected), "{shown}");
        }
        scene.client.publish(MO, numbered(0..10)).await;
        assert!(scene.routed(10).await.iter().all(|message| stamp(message) == "A"));
    }

    std::fs::remove_file(router.plugin(NAME)).unwrap();
    std::fs::create_dir(router.plugin(NAME)).unwrap();
    router.logged("it is a directory").await;
    assert_eq!(router.status_of(NAME).await["state"], "running");

    std::fs::remove_dir(router.plugin(NAME)).unwrap();
    router.put(NAME, &stamped("B"));
    // On a busy machine there is no file for so long that the plugin is removed in between.
    let runs =
        |status: &serde_json::Value| status["stale"].is_null() && status["state"] == "running";
    router.status_until(NAME, runs).await;
    assert_eq!(router.metric(&of("plugin_stale")).await, Some(0.0));
    scene.client.publish(MO, numbered(0..10)).await;
    assert!(scene.routed(10).await.iter().all(|message| stamp(message) == "B"));
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn a_file_that_is_refused_is_told_once() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.put("broken", b"no plugin");
    std::fs::create_dir(router.plugin("directory")).unwrap();
    router.start_ready().await;
    // The folder has been looked at again, from the first file to the last.
    router.put("zero", &stamped("A"));
    router.logged("plugin consumes").await;
    assert_eq!(router.count_logged("plugin refused"), 2);
}

#[tokio::test]
async fn new_settings_reload_the_plugins_that_they_concern() {
    let scene = Scene::shared().await;
    let plugins = [("one", "config.key = 'old'"), ("two", "config.body = '{\"number\": 2}'")];
    let router = scene.run("max_hops = 4\n[limits]\nattempts = 5", &plugins).await;
    let keys = async || -> BTreeSet<String> {
        scene.client.publish(MO, numbered([1])).await;
        scene.routed(2).await.into_iter().map(|message| message.routing_key).collect()
    };
    assert!(keys().await.contains("old"));

    router.set("config.key", "new");
    let line = router.logged("plugin replaced").await;
    assert!(line.contains("\"one\""), "{line}");
    assert!(keys().await.contains("new"));

    router.set("attempts", "6");
    router.logged_times("plugin replaced", 3).await;
    router.set("max_hops", "3");
    router.logged("take a restart").await;
    router.set("attempts", "none");
    router.logged("the old ones stay in effect").await;
    assert_eq!(router.count_logged("settings changed"), 3);
    assert_eq!(router.count_logged("plugin replaced"), 3);
    assert!(keys().await.contains("new"));
}

#[tokio::test]
async fn a_grant_is_taken_away_from_a_version_whose_new_file_is_refused() {
    let scene = Scene::shared().await;
    let granted = "exchanges = ['elsewhere', 'routed']\nconfig.to = 'elsewhere'";
    let router = scene.run("", &[(NAME, granted)]).await;
    scene.client.catch_all("elsewhere").await;
    scene.client.publish(MO, numbered([0])).await;
    assert_eq!(scene.client.take("elsewhere", 1).await[0].number(), 0);

    router.put(NAME, b"no plugin");
    router.logged("new file refused, the old version keeps running").await;
    let settings = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    router.put_file("mo-router.toml", settings.replace("['elsewhere', ", "[").as_bytes());
    router.logged("plugin replaced").await;
    scene.client.publish(MO, numbered([1])).await;
    let dead = scene.dead(1).await;
    assert_eq!(dead[0].number(), 1);
    assert_eq!(scene.client.depth("elsewhere").await, 0);
    let status = router.status_of(NAME).await;
    assert!(
        status["stale"].as_str().is_some_and(|why| why.contains("not WebAssembly")),
        "{status}"
    );
}

#[tokio::test]
async fn another_number_of_lanes_takes_other_threads_and_loses_nothing() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[(NAME, "lanes = '1'")]).await;
    scene.client.publish(MO, numbered(0..5000)).await;
    router.set("lanes", "4");
    router.logged_times("plugin consumes", 2).await;
    scene.client.publish(MO, numbered(5000..6000)).await;
    let routed = scene.routed(6000).await;
    assert_eq!(numbers(&routed).len(), 6000, "some came twice");
    assert_ordered(&routed);
    assert!(router.stop().await.success());
    assert_eq!(scene.client.depth(QUEUE).await, 0);
}

/// The plugins of `tests/hostile` that load and answer each event.
const HARMLESS: [&str; 3] = ["well-behaved", "looks-around", "log-flood"];

#[tokio::test(flavor = "multi_thread")]
async fn a_good_plugin_beside_hostile_ones_gets_its_events_through() {
    const EVENTS: u64 = 2000;
    let scene = Scene::shared().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile");
    let mut hostile_ones: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut settings =
        "[limits]\ntimeout = '50ms'\nmemory = '16 MiB'\nsuspend_after = 3\n".to_owned();
    for name in &hostile_ones {
        settings += &format!("[plugin.{name}]\nsubscriptions = ['#']\n");
    }
    let scripted = [
        ("good", "limits.timeout = '1min'\nconfig.header = 'stamp=good'"),
        ("escapes", "limits.timeout = '1min'\nconfig.to = 'secret'"),
    ];
    let mut router = scene.router(&settings, &scripted);
    for name in &hostile_ones {
        router.put(name, &hostile(name));
    }
    hostile_ones.retain(|name| !HARMLESS.contains(&name.as_str()));
    hostile_ones.push("escapes".to_owned());
    let program = std::fs::read("/bin/true").unwrap();
    let other_world = hostile_text("well-behaved").replace("#subscriptions", "#other");
    for (name, content) in [
        ("empty", &b""[..]),
        ("text", b"#!/bin/sh\n"),
        ("truncated", &stamped("A")[..500]),
        ("executable", &program),
        ("lacks-a-function", &build(&other_world)),
        ("unreadable", &stamped("A")),
    ] {
        router.put(name, content);
        hostile_ones.push(name.to_owned());
    }
    for (name, content, _) in by_structure() {
        router.put(name, &content);
        hostile_ones.push(name.to_owned());
    }
    router.put("GOOD", &stamped("A"));
    hostile_ones.push("GOOD".to_owned());
    std::fs::set_permissions(router.plugin("unreadable"), PermissionsExt::from_mode(0o000))
        .unwrap();
    std::fs::create_dir(router.plugin("directory")).unwrap();
    hostile_ones.push("directory".to_owned());

    router.start_without_privileges();
    router.logged("ready").await;
    scene.client.publish(MO, numbered(0..EVENTS)).await;
    let mut count = 0;
    let mut routed = scene
        .client
        .take_until(ROUTED, |taken| {
            count += usize::from(taken.last().is_some_and(|message| stamp(message) == "good"));
            count as u64 == EVENTS
        })
        .await;
    routed.retain(|message| stamp(message) == "good");
    assert_eq!(numbers(&routed).len() as u64, EVENTS);
    assert_ordered(&routed);

    for name in hostile_ones {
        let status = router
            .status_until(&name, |status| {
                !(status["stale"].is_null() && status["last_error"].is_null())
            })
            .await;
        println!("{name}: {}{}", status["stale"], status["last_error"]);
        assert!(router.count_logged(&name) > 0, "{name} is not in the log");
    }
    let unreadable = router.status_of("unreadable").await;
    assert!(unreadable["stale"].as_str().unwrap().contains("let the router's user read it"));
    let escapes = router.status_of("escapes").await;
    assert!(escapes["last_error"].as_str().unwrap().contains("[plugin.escapes] exchanges"));
    assert!(router.stop().await.success());
}

/// A plugin whose file comes and goes keeps the order of each person's events.
#[tokio::test]
async fn a_file_that_is_away_for_a_moment_keeps_the_order() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[(NAME, "")]).await;
    assert!(router.stop().await.success());
    scene.client.publish(MO, numbered(0..10_000)).await;
    router.start_ready().await;
    for number in 2..=4 {
        let (here, away) = (router.plugin(NAME), router.path("away"));
        std::fs::rename(&here, &away).unwrap();
        router.logged_times("plugin removed", number - 1).await;
        std::fs::rename(&away, &here).unwrap();
        router.logged_times("plugin consumes", number).await;
    }
    let routed = scene.client.take(ROUTED, 10_000).await;
    assert_eq!(numbers(&routed).len(), 10_000);
    assert_ordered(&routed);
}
