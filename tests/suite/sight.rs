//! What the router sees of its folder and says of it: a folder that cannot be read, or is
//! emptied as a whole, removes nothing; a file that is gone keeps its bindings for a while.

use std::fs;
use std::time::Duration;

use serde_json::Value as Json;

use crate::support::ask_until;
use crate::support::plugins::stamped;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::threads::threads;
use crate::support::traffic::{numbered, numbers};

const NAME: &str = "one";
const QUEUE: &str = "mo-router.one";

/// A router with a plugin whose bindings are kept for as long as by default.
async fn run(scene: &Scene) -> Router {
    let mut router = scene.router("", &[]);
    let settings = fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let settings = settings.replace("keep_bindings = '1s'", "keep_bindings = '10min'");
    router.put_file("mo-router.toml", settings.as_bytes());
    router.put(NAME, &stamped("A"));
    router.start_ready().await;
    router
}

/// Waits until `/readyz` says this.
async fn readyz(router: &Router, status: u16, text: &str) {
    ask_until(text, || async {
        let (code, said) = router.get("readyz").await;
        (code == status && said.contains(text)).then_some(())
    })
    .await;
}

/// Events go through the plugin.
async fn routes(scene: &Scene) {
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(numbers(&scene.client.take(ROUTED, 100).await).len(), 100);
}

#[tokio::test]
async fn a_folder_that_goes_away_stops_nothing_and_is_told() {
    let scene = Scene::shared().await;
    let mut router = run(&scene).await;
    let (plugins, away) = (router.path("plugins"), router.path("away"));
    fs::rename(&plugins, &away).unwrap();
    readyz(&router, 503, "folder-unreadable: the plugins' folder").await;
    routes(&scene).await;
    fs::create_dir(&plugins).unwrap();
    readyz(&router, 503, "is another one and has none of the plugins one").await;
    routes(&scene).await;
    assert_eq!(router.status_of(NAME).await["state"], "running");
    let (_, metrics) = router.get("metrics").await;
    let metric = "mo_router_not_ready_reason{reason=\"folder-unreadable\"} 1";
    assert!(metrics.contains(metric), "{metrics}");
    let shown = router.print(&["status", "--address", &router.address().await]).await;
    assert!(shown.contains("not ready: folder-unreadable"), "{shown}");

    fs::remove_dir(&plugins).unwrap();
    fs::rename(&away, &plugins).unwrap();
    readyz(&router, 200, "ready").await;
    router.put(NAME, &stamped("B"));
    router.logged("plugin replaced").await;
    routes(&scene).await;
    assert_eq!(router.count_logged("plugin removed"), 0);
    assert!(router.stop().await.success());
    for queue in [QUEUE, DEAD] {
        assert_eq!(scene.client.depth(queue).await, 0, "{queue}");
    }
}

#[tokio::test]
async fn plugins_that_are_all_gone_at_once_run_on_until_they_are_removed_by_name() {
    let scene = Scene::shared().await;
    let router = run(&scene).await;
    router.put("two", &stamped("C"));
    router.logged_times("plugin consumes", 2).await;
    // It would see the one without the other, if there were time between them.
    router.signal("STOP");
    for name in [NAME, "two"] {
        fs::remove_file(router.plugin(name)).unwrap();
    }
    router.signal("CONT");
    readyz(&router, 503, "the plugins one, two are all gone at once").await;
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(scene.client.take(ROUTED, 200).await.len(), 200);

    let address = router.address().await;
    let remove = async |name: &str| {
        let said = router.print(&["plugin", "remove", name, "--address", &address]).await;
        assert!(said.contains("its queue keeps its messages"), "{said}");
    };
    remove("one").await;
    // The other one stays until its name is said too.
    readyz(&router, 503, "the plugins two are all gone at once").await;
    router.logged("plugin removed; its queue keeps its messages").await;
    scene.client.publish(MO, numbered(0..100)).await;
    assert_eq!(scene.client.take(ROUTED, 100).await.len(), 100);
    assert_eq!(router.status_of("two").await["state"], "running");
    remove("two").await;
    readyz(&router, 200, "ready").await;
    router.logged_times("plugin removed; its queue keeps its messages", 2).await;
    scene.client.publish(MO, numbered(0..10)).await;
    assert_eq!(scene.client.depth(QUEUE).await, 0);
}

#[tokio::test]
async fn a_file_that_is_away_for_a_while_loses_nothing() {
    let scene = Scene::shared().await;
    let router = run(&scene).await;
    fs::remove_file(router.plugin(NAME)).unwrap();
    router.status_until(NAME, |status| status["state"] == "removed").await;
    scene.client.publish(MO, numbered(0..100)).await;
    let removed = router.status_until(NAME, |status| status["backlog"] == 100).await;
    assert!(removed["reason"].as_str().unwrap().contains("collects events until"), "{removed}");
    router.put(NAME, &stamped("B"));
    let routed = scene.client.take(ROUTED, 100).await;
    assert_eq!(numbers(&routed).len(), 100);
    assert!(routed.iter().all(|message| message.headers["stamp"] == "B"));
}

/// Whoever removes a file and puts a bad one in its place has not given up the plugin.
#[tokio::test]
async fn a_bad_file_in_place_of_one_that_is_gone_loses_nothing() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    // Long enough for the bad file to be seen, however busy the machine is.
    router.keep("5s", "5s");
    router.put(NAME, &stamped("A"));
    router.start_ready().await;
    router.put(NAME, b"(component)");
    router.logged("new file refused, the old version keeps running").await;
    fs::remove_file(router.plugin(NAME)).unwrap();
    router.status_until(NAME, |status| status["state"] == "removed").await;
    router.put(NAME, b"(component $other)");
    router.status_until(NAME, |status| status["stale"] != Json::Null).await;
    // Longer than bindings and queue of a plugin without a file are kept.
    tokio::time::sleep(Duration::from_secs(12)).await;
    scene.client.publish(MO, numbered(0..100)).await;
    router.put(NAME, &stamped("B"));
    assert_eq!(numbers(&scene.client.take(ROUTED, 100).await).len(), 100);
    assert_eq!(router.count_logged("the queue of a removed plugin is deleted"), 0);
}

#[tokio::test]
async fn a_plugin_can_be_removed_at_once() {
    let scene = Scene::shared().await;
    let router = run(&scene).await;
    let address = router.address().await;
    let remove = ["plugin", "remove", NAME, "--address", &address];
    let refused = router.call(&remove).await;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("its file is still there"), "{said}");
    fs::remove_file(router.plugin(NAME)).unwrap();
    router.status_until(NAME, |status| status["state"] == "removed").await;
    scene.client.publish(MO, numbered(0..10)).await;
    router.status_until(NAME, |status| status["backlog"] == 10).await;
    router.print(&remove).await;
    router.logged("plugin removed; its queue keeps its messages").await;
    // Nobody asks for these.
    scene.client.publish(MO, numbered(10..20)).await;
    assert_eq!(scene.client.depth(QUEUE).await, 10);
    router.put(NAME, &stamped("B"));
    assert_eq!(numbers(&scene.client.take(ROUTED, 10).await), (0..10).collect());
    let unknown = router.call(&["plugin", "remove", "unknown", "--address", &address]).await;
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no plugin \"unknown\" runs"));
}

#[tokio::test]
async fn changes_that_are_not_announced_are_seen_and_that_is_told_once() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.put(NAME, &stamped("A"));
    router.start_after("echo 0 > /proc/sys/user/max_inotify_instances");
    router.logged("ready").await;
    readyz(&router, 200, "watch-polling: changes in").await;
    for (number, version) in ["B", "C", "D"].into_iter().enumerate() {
        router.put(NAME, &stamped(version));
        router.logged_times("plugin replaced", number + 1).await;
    }
    assert_eq!(router.count_logged("are not announced"), 1, "{}", router.log());
    let shown = router.print(&["status", "--address", &router.address().await]).await;
    assert!(shown.contains("ready") && shown.contains("note: watch-polling: "), "{shown}");
}

#[tokio::test]
async fn folders_that_cannot_be_watched_are_seen_all_the_same() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.put(NAME, &stamped("A"));
    router.start_after("echo 0 > /proc/sys/user/max_inotify_watches");
    router.logged("ready").await;
    readyz(&router, 200, "watch-polling: changes in").await;
    router.put(NAME, &stamped("B"));
    router.logged("plugin replaced").await;
    assert_eq!(router.count_logged("are not announced"), 1, "{}", router.log());
}

/// A router of two plugins, to which the folder of compiled code is mounted with these options.
fn with_cache_folder(scene: &Scene, options: &str) -> Router {
    let mut router = scene.router("", &[]);
    router.put(NAME, &stamped("A"));
    router.put("two", &stamped("B"));
    let code = concat!(env!("CARGO_TARGET_TMPDIR"), "/code");
    fs::create_dir_all(code).unwrap();
    router.start_after(&format!("mount -t tmpfs -o {options},mode=0700 none '{code}'"));
    router
}

#[tokio::test]
async fn a_cache_folder_that_is_read_only_is_told_once() {
    let scene = Scene::shared().await;
    let router = with_cache_folder(&scene, "ro");
    router.logged("ready").await;
    assert!(router.logged("plugin loaded").await.contains("cached=false"));
    assert_eq!(router.count_logged("cached: "), 1, "{}", router.log());
}

#[tokio::test]
async fn a_cache_folder_that_cannot_be_used_is_told_once() {
    let scene = Scene::shared().await;
    let router = with_cache_folder(&scene, "noexec");
    let line = router.logged("compiled code is not cached").await;
    assert!(line.contains("mounted noexec: set another one with [plugins] cache_dir"), "{line}");
    router.logged("ready").await;
    assert!(router.logged("plugin loaded").await.contains("cached=false"));
    assert_eq!(router.count_logged("compiled code is not cached"), 1);
}

#[tokio::test]
async fn a_cache_folder_that_is_full_is_told_once_and_stops_nothing() {
    let scene = Scene::shared().await;
    let router = with_cache_folder(&scene, "size=8k");
    router.logged("ready").await;
    scene.client.publish(MO, numbered(0..10)).await;
    assert_eq!(scene.routed(20).await.len(), 20);
    assert_eq!(router.count_logged("cannot be cached"), 1, "{}", router.log());
}

/// Lines in the log do not look like others, whatever a plugin says.
#[tokio::test]
async fn what_a_plugin_says_is_shown_and_obeyed_by_nothing() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.put("evil", &crate::support::plugins::hostile("escape-sequences"));
    router.put_file("plugins/\u{1b}[2J\rx.wasm", b"");
    router.start_ready().await;
    scene.client.publish(MO, numbered([1])).await;
    let line = router.logged("evil\\u{1b}[2J").await;
    assert!(line.contains("\\r\\nERROR \\u{202e}\\u{9b}m,,,"), "{line}");
    router.logged("\\u{1b}[2J\\rx").await;
    let letter = scene.dead(1).await.remove(0);
    assert!(letter.headers["mo-router-reason"].contains("evil"), "{letter:?}");
    let obeyed =
        |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    assert!(!router.log().contains(obeyed), "{:?}", router.log());
    assert!(!router.log().lines().any(|line| line.starts_with("ERROR")));
    let delayed = serde_json::json!({
        "id": 1, "due": "9999-12-31T00:00:00Z", "due_micros": 253_402_214_400_000_000_i64,
        "plugin": "evil", "version": "1", "key": "evil\r\u{1b}[2J\u{9b}m\u{202e}\u{7f}", "uuid": "",
        "exchange": "out", "routing_key": "employee", "properties": {}, "body": "e30=",
        "damage": null, "unreadable": null,
    });
    router.put_file("delayed.jsonl", delayed.to_string().as_bytes());
    router.print(&["delayed", "import", "--file", "delayed.jsonl"]).await;
    let address = router.address().await;
    for arguments in [
        &["status", "--address", &address][..],
        &["dead", "list"],
        &["check"],
        &["delayed", "export"],
    ] {
        for more in [&[][..], &["--json"]] {
            let output = router.call(&[arguments, more].concat()).await;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains(obeyed), "{arguments:?}: {text:?}");
        }
    }
    // It is what it was, though, for programs.
    let exported = router.print(&["delayed", "export"]).await;
    let line = exported.lines().find(|line| line.contains("e30=")).unwrap();
    assert_eq!(serde_json::from_str::<Json>(line).unwrap()["key"], delayed["key"]);
    for path in ["status", "metrics", "readyz"] {
        let (_, page) = router.get(path).await;
        assert!(page.contains("\\u{1b}[2J") || page.contains("evil"), "{page:?}");
        assert!(!page.contains(obeyed), "{page:?}");
    }
}

#[tokio::test]
async fn a_flood_of_messages_is_suppressed_and_counted() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.put("flood", &crate::support::plugins::hostile("log-flood"));
    router.start_ready().await;
    scene.client.publish(MO, numbered(0..20)).await;
    assert_eq!(numbers(&scene.client.take(ROUTED, 20).await).len(), 20);
    let (_, metrics) = router.get("metrics").await;
    let count = |outcome: &str| -> u64 {
        let start =
            format!("mo_router_plugin_log_lines_total{{plugin=\"flood\",outcome=\"{outcome}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {start} in\n{metrics}")).parse().unwrap()
    };
    let (written, suppressed) = (count("written"), count("suppressed"));
    assert_eq!(written + suppressed, 20_000);
    assert!(suppressed > 10 * written, "{written} written");
    router.logged("the rest is suppressed").await;
    router.logged_times("xxxx", written as usize).await;
    assert_eq!(router.count_logged("xxxx") as u64, written);
}

/// Nothing wakes the thread that interrupts guests while none runs.
#[tokio::test]
async fn the_clock_of_the_guests_stands_still_while_none_runs() {
    let scene = Scene::shared().await;
    let router = run(&scene).await;
    routes(&scene).await;
    let wakes = || {
        let status = threads(router.id(), "status");
        let status = status.iter().find(|status| status.starts_with("Name:\tplugin-ticker"));
        let status = status.expect("the thread is there");
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.unwrap_or_default().to_owned()
    };
    ask_until("a second without a wake", || async {
        let before = wakes();
        tokio::time::sleep(Duration::from_secs(1)).await;
        (wakes() == before).then_some(())
    })
    .await;
    routes(&scene).await;
}
