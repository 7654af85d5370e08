//! What `/readyz` says of plugins and dead letters.

use crate::support::ask_until;
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::numbered;

/// Waits until `/readyz` answers with this status, and with a reason that begins so.
async fn readyz(router: &Router, status: u16, reason: &str) {
    ask_until(&format!("{status} {reason}"), || async {
        let (code, said) = router.get("readyz").await;
        (code == status && said.lines().any(|line| line.starts_with(reason))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_was_refused_is_told_apart_from_one_whose_new_file_was() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    router.put("other", b"no plugin");
    readyz(&router, 503, "plugin-refused: plugin other does not run").await;
    let metric = "not_ready_reason{reason=\"plugin-refused\"}";
    assert_eq!(router.metric(metric).await, Some(1.0));
    let output = router.call(&["status", "--address", &router.address().await]).await;
    assert_eq!(output.status.code(), Some(3));
    router.add_plugin("other");
    readyz(&router, 200, "ready").await;

    router.put("other", b"no plugin");
    readyz(&router, 200, "plugin-stale: plugin other: the new file was refused").await;
    let status = router.print(&["status", "--address", &router.address().await]).await;
    assert!(status.contains("note: plugin-stale"), "{status}");
}

#[tokio::test]
async fn dead_letters_and_suspended_plugins_are_told_of() {
    let scene = Scene::shared().await;
    let plugins = [
        ("strict", "config.answer = 'reject'"),
        ("broken", "limits = { suspend_after = 3, timeout = '1min' }\nconfig.answer = 'trap'"),
    ];
    let router = scene.run("", &plugins).await;
    scene.client.publish(MO, numbered(0..10)).await;
    readyz(&router, 200, "plugin-suspended: plugin broken is suspended").await;
    readyz(&router, 200, "dead-letters: dead letters wait").await;
    assert_eq!(router.count_logged("dead letters wait"), 1);
    router.print(&["dead", "discard", "--all", "--yes"]).await;
    router.logged("no dead letters wait any more").await;
}

/// A plugin that hangs, for as long as it may.
#[tokio::test]
async fn what_does_not_move_for_a_minute_is_a_reason() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("hung", "limits.timeout = '1h'\nsubscriptions = ['#']")]);
    router.put("hung", &crate::support::plugins::hostile("loop-in-route"));
    router.start_ready().await;
    scene.client.publish(MO, numbered(0..1)).await;
    readyz(&router, 503, "settlement-stalled: an event of plugin hung").await;
    let line = router.logged("has been in flight for over a minute").await;
    assert!(line.contains("the plugin has not answered"), "{line}");
    router.kill().await;
}
