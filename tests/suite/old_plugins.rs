//! Plugins that were built against earlier versions of the interface go on unchanged: the binaries
//! in `tests/plugins-1.0.0`, whose README says how they came.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::interface::peculiar;
use crate::support::ask_until;
use crate::support::plugins::compile;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::Received;

/// Each of them, with its settings.
const PLUGINS: [(&str, &str); 5] = [
    ("employee-filter", ""),
    ("redact", "exchanges = ['os2mo_public', 'os2mo_partners']"),
    (
        "split-services",
        "exchanges = ['people', 'units']\nconfig.employee = 'people'\nconfig.org_unit = 'units'",
    ),
    ("merge-edits", ""),
    ("route-by-action", ""),
];

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins-1.0.0").join(name)
}

/// The file as it was built, whose code is kept.
fn plugin(name: &str) -> Vec<u8> {
    let file = std::fs::File::open(kept(&format!("{name}.wasm.gz"))).expect("a kept plugin");
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut content).expect("it is whole");
    compile(&content);
    content
}

fn sections() -> String {
    PLUGINS.iter().map(|(name, lines)| format!("[plugin.{name}]\n{lines}\n")).collect()
}

#[tokio::test]
async fn of_1_0_0_they_make_of_events_what_they_did_then() {
    let events = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/mo-events.jsonl");
    for (name, lines) in PLUGINS {
        let settings = format!("amqp.exchange = {MO:?}\n[plugin.{name}]\n{lines}\n");
        let router = Router::new(&settings, &[]);
        router.put(name, &plugin(name));
        let replayed = router.print(&["replay", events]).await;
        let without_id = |line: &str| {
            let mut line: Value = serde_json::from_str(line).expect("JSON Lines");
            line.as_object_mut().expect("an object").remove("message_id");
            format!("{line}\n")
        };
        let replayed: String = replayed.lines().map(without_id).collect();
        let then = std::fs::read_to_string(kept(&format!("{name}.jsonl"))).expect("kept with it");
        assert!(replayed == then, "{name} does something else:\n{replayed}");
    }
}

#[tokio::test]
async fn of_1_0_0_they_publish_to_a_broker_what_they_did_then() {
    let scene = Scene::shared().await;
    for exchange in ["os2mo_public", "os2mo_partners", "people", "units"] {
        scene.client.exchange(exchange, true).await;
        scene.client.catch_all(exchange).await;
    }
    let mut router = scene.router(&sections(), &[]);
    for (name, _) in PLUGINS {
        router.put(name, &plugin(name));
    }
    router.start_ready().await;
    for (name, _) in PLUGINS {
        let status = router.status_until(name, |plugin| plugin["state"] == "running").await;
        assert_eq!(status["interface"], "1.0.0", "{name}");
    }
    let mut edit = peculiar();
    edit.key = "employee.address.edit".into();
    scene.client.publish(MO, [edit.clone()]).await;

    // Properties and headers travel on as they came, in whatever type.
    let travelled = |message: &Received| {
        let (came, sent) = (&message.properties, &edit.properties);
        assert_eq!(came.content_type(), sent.content_type());
        assert_eq!((came.priority(), came.timestamp()), (sent.priority(), sent.timestamp()));
        assert_eq!((came.kind(), came.app_id()), (sent.kind(), sent.app_id()));
        assert_eq!((came.reply_to(), came.expiration()), (sent.reply_to(), sent.expiration()));
        let came = came.headers().as_ref().expect("headers");
        for (name, value) in sent.headers().as_ref().expect("headers").inner() {
            assert_eq!(came.inner().get(name), Some(value), "{name}");
        }
    };
    let mut routed = scene.routed(2).await;
    routed.sort_by(|one, other| one.routing_key.cmp(&other.routing_key));
    let keys: Vec<&str> = routed.iter().map(|message| &*message.routing_key).collect();
    assert_eq!(keys, ["edit.employee.address", "employee.address.edit"]);
    for message in &routed {
        assert_eq!(message.body, edit.body);
        travelled(message);
    }
    for exchange in ["os2mo_public", "os2mo_partners"] {
        let [redacted] = &scene.client.take(exchange, 1).await[..] else { panic!("one") };
        assert_eq!(redacted.headers["redacted"], "");
        travelled(redacted);
    }
    let [split] = &scene.client.take("people", 1).await[..] else { panic!("one") };
    assert_eq!(split.headers["service"], "employee");
    travelled(split);
    // What merges edits waits, in its place.
    let waiting = ask_until("the delayed message", || async {
        let listed = router.json(&["delayed", "list"]).await;
        listed.as_array().filter(|listed| !listed.is_empty()).cloned()
    })
    .await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["plugin"], "merge-edits");
    let key = waiting[0]["key"].as_str().expect("a key");
    assert!(key.starts_with("employee.address.edit 1469208d-"), "{key}");
    assert_eq!(scene.client.depth(DEAD).await, 0);
}
