//! A backlog of events, and how much of it was routed.

use std::path::Path;

use crate::support::router::Router;
use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::Event;
use crate::support::{ask_until, plugins};

/// Events that are published at a time.
const BATCH: usize = 1000;

/// A router with one of the examples.
pub fn with_plugin(scene: &Scene, name: &str) -> Router {
    let router = scene.router("", &[]);
    router.add_file(name, &plugins::built(&Path::new("examples").join(name)));
    router
}

/// Lets the router make its queue, and fills that while it does not run.
pub async fn backlog(scene: &Scene, router: &mut Router, events: impl Iterator<Item = Event>) {
    router.start_ready().await;
    assert!(router.stop().await.success());
    let mut events = events.peekable();
    while events.peek().is_some() {
        scene.client.publish(MO, events.by_ref().take(BATCH)).await;
    }
}

/// How many messages came out.
pub async fn routed(scene: &Scene) -> u64 {
    scene.client.depth(ROUTED).await.into()
}

/// Waits until so many came out; gives how many did.
pub async fn routed_at_least(scene: &Scene, least: u64) -> u64 {
    ask_until("events to be routed", || async {
        Some(routed(scene).await).filter(|routed| *routed >= least)
    })
    .await
}
