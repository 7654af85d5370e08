//! The pictures of the documentation, of the page of a router on an ordinary day. `UPDATE_DOCS=1`
//! puts them there; otherwise they are made and left where the build is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mo_router::delay::{Filter, Store};
use mo_router::event::{Datetime, Delayed, Message};
use mo_router::settings::StoreUrl;
use uuid::Uuid;

use super::page::{PHONE, WIDE, at};
use crate::support::browser::Browser;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::numbered;

/// Whether the page has the pictures that are in it.
const LOADED: &str = "return [...document.images].every((image) => image.complete)";

/// Whether each chart has a line with something to see.
const CHARTS: &str = "return [...document.querySelectorAll('.chart')].every((chart) =>
    chart.querySelector('polyline')?.getAttribute('points').split(' ').length > 8)";

/// Where a picture goes: into the documentation, if it is to be made anew.
#[expect(clippy::disallowed_methods, reason = "whoever wants new pictures says so")]
fn picture(name: &str) -> PathBuf {
    let folder = match std::env::var_os("UPDATE_DOCS") {
        Some(_) => Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images"),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("page"),
    };
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{name}.png"))
}

/// The pictures of the documentation: a router of an ordinary day.
#[tokio::test]
async fn pictures_for_the_documentation() {
    let scene = Scene::shared().await;
    let reject = "config.answer = 'reject'\nconfig.only = '\"number\":1'\n\
                  config.reason = 'the phone book has no such department'";
    let forward = "config.log = 'written to the directory'";
    let plugins = [
        ("to-active-directory", forward),
        ("onboarding", "config.delay = '5000000'"),
        ("phone-book", reject),
        ("managers-only", "config.answer = 'drop'"),
    ];
    let mut router = scene.router("", &plugins);
    let store = format!("sqlite:{}", router.path("delays.db").display());
    fill(&store, 1500, |_| "onboarding").await;
    router.start_ready().await;
    scene.client.publish(MO, numbered(100..117)).await;
    let browser = Browser::start(WIDE.0, WIDE.1).await;
    let views = [
        ("plugin", "plugins/to-active-directory"),
        ("delayed", "delayed"),
        ("dead", "dead"),
        ("tail", "tail"),
        ("try", "trial?plugin=onboarding"),
        // The last one has the most to show.
        ("overview", "overview"),
    ];
    for dark in [false, true] {
        browser.set_dark(dark).await;
        let scheme = if dark { "-dark" } else { "" };
        for (name, path) in views {
            browser.open("about:blank").await;
            browser.open(&at(&router, path).await).await;
            browser.find("h1, h2").await;
            if name == "try" {
                browser.press("Run").await;
                browser.shows("Nothing has left the router").await;
            }
            let mut pause = tokio::time::interval(Duration::from_millis(400));
            for round in 0.. {
                let is_enough = match name {
                    "overview" => round >= 20 && browser.run(CHARTS).await == true,
                    _ => round == 5,
                };
                if is_enough {
                    break;
                }
                assert!(round < 1000, "the charts stay empty");
                pause.tick().await;
                // Not always as many.
                let start = 300 + round * 60;
                scene.client.publish(MO, numbered(start..start + 20 + round * 7 % 30)).await;
            }
            browser.until("the pictures of the page", LOADED).await;
            browser.picture(&picture(&format!("page-{name}{scheme}"))).await;
        }
    }
    let phone = Browser::start(PHONE.0, PHONE.1).await;
    phone.set_dark(false).await;
    phone.open(&at(&router, "overview").await).await;
    phone.shows("The last hour").await;
    phone.until("the pictures of the page", LOADED).await;
    phone.picture(&picture("page-phone")).await;
}

/// Puts so many messages of these plugins into a store, which are due over years.
pub async fn fill(store: &str, count: u64, plugin: fn(u64) -> &'static str) {
    let file = store.strip_prefix("sqlite:").unwrap();
    let store = Store::open(&StoreUrl::Sqlite(file.into())).await.unwrap();
    let now = Datetime::now();
    let message = |number: u64| {
        // More of them soon than late.
        let seconds = 600 + (number * 1500 / count).pow(3) / 12;
        let message = Message {
            exchange: "routed".into(),
            routing_key: "employee.engagement.create".into(),
            body: format!("{{\"number\": {number}}}").into_bytes().into(),
            ..Default::default()
        };
        Delayed {
            message,
            due: now.saturating_add(Duration::from_secs(seconds)),
            plugin: plugin(number).into(),
            version: "1f0c2d3e4a5b".into(),
            key: Some(format!("engagement/{number}")),
            uuid: Uuid::from_u128(u128::from(number) + 1).to_string(),
        }
    };
    for start in (0..count).step_by(10_000) {
        let end = count.min(start + 10_000);
        store.accept(Arc::new((start..end).map(message).collect())).await.unwrap();
    }
    assert_eq!(store.count(Filter::default(), now).await.unwrap().total, count);
    store.close().await;
}
