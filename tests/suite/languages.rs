//! Plugins in every language, built with that language's tools: the examples,
//! called in the sandbox, and what `mo-router plugin new` writes, up to events that
//! it routes in a running router.
//!
//! A language whose tools cannot be had is skipped, which is said on stderr.

use std::path::{Path, PathBuf};

use mo_router::event::{Due, Event, Failure, Incoming, Publication};
use mo_router::scaffold::{self, Language};

use crate::support::languages::{self, build, has_tools, make};
use crate::support::plugins;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic;

/// What a plugin that has these settings answers to an event of this key.
pub async fn route(
    plugin: &[u8],
    config: &[(&str, &str)],
    routing_key: &str,
) -> Result<Vec<Publication>, Failure> {
    let mut settings = plugins::settings();
    settings.config = config.iter().map(|&(key, value)| (key.into(), value.into())).collect();
    // Plugins that bring a language's runtime take seconds to compile.
    let host = plugins::compiling_host();
    let plugin =
        plugins::load_on(&host, plugin.to_vec(), &settings).await.expect("the plugin loads");
    plugin.instance().route(&event(routing_key), 1).await
}

const PERSON: &str = "1469208d-6867-4c28-9c26-ea10cdc85a5b";
const OBJECT: &str = "6a6e4f00-c659-4a79-a298-8af4992163e6";

fn event(routing_key: &str) -> Event {
    let body = format!(
        r#"{{"uuid": "{PERSON}", "object_uuid": "{OBJECT}", "time": "2024-07-01T00:00:00+02:00"}}"#
    );
    let message = Incoming {
        exchange: "os2mo".into(),
        routing_key: routing_key.into(),
        body: body.into(),
        ..Incoming::default()
    };
    Event::parse(message, chrono_tz::UTC).expect("an event of MO")
}

/// `plugin new`: the project builds as it stands, what it builds passes `plugin
/// check` and `plugin test`, and routes events in a router that runs.
async fn project(language: Language) {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = scaffold::write(NAME, language, parent.path()).expect("a new project");
    let plugin = build(&folder);
    // What `plugin dev` and `plugin test` take for plugins: nothing that was made on the way.
    let built = std::fs::read_dir(folder.join("build")).expect("it is built");
    let built = built.map(|entry| entry.expect("it can be read").path());
    let is_webassembly = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "wasm");
    let built: Vec<PathBuf> = built.filter(is_webassembly).collect();
    assert_eq!(built, [folder.join(format!("build/{NAME}.wasm"))]);
    let forwarded = route(&plugin, &[], "employee.address.edit").await;
    assert_eq!(forwarded, Ok(vec![Publication::default()]));
    let dropped = route(&plugin, &[], "employee.address.refresh").await;
    assert_eq!(dropped, Ok(Vec::new()));

    let scene = Scene::shared().await;
    let settings = format!("[plugin.{NAME}]\nlog_level = 'debug'\n");
    let mut router = scene.run(&settings, &[]).await;
    let shown = folder.display().to_string();
    let checked = router.print(&["plugin", "check", &format!("{shown}/build/{NAME}.wasm")]).await;
    assert!(checked.contains("publishes 1 message"), "{checked}");
    std::fs::write(folder.join(format!("{NAME}.cases.toml")), CASE).expect("written");
    let tested = router.print(&["plugin", "test", &shown]).await;
    assert!(tested.contains("1 of 1 cases passed"), "{tested}");

    make(&folder, &["install", &format!("PLUGINS_DIR={}", router.path("plugins").display())]);
    router.logged("plugin consumes").await;
    let events = ["refresh", "edit"].map(|action| event(&format!("employee.address.{action}")));
    let events = events
        .map(|event| traffic::Event::new(&event.message.routing_key, event.message.body.to_vec()));
    scene.client.publish(MO, events).await;
    assert_eq!(scene.routed(1).await[0].routing_key, "employee.address.edit");
    // The plugin's own level shows what the router's does not.
    let line = router.logged("skipped").await;
    assert!(line.contains("DEBUG"), "{line}");
    // Which build it is, beside the hash, wherever a version is shown.
    assert!(router.log().contains(" (0.1.0"), "{}", router.log());
    let address = router.address().await;
    for command in [&["plugin", "list"][..], &["status"]] {
        let shown = router.print(&[command, &["--address", &address]].concat()).await;
        let is_named = |line: &str| line.contains(NAME) && line.contains(" 0.1.0 ");
        assert!(shown.lines().any(is_named), "{shown}");
    }
    scene.client.publish(MO, [traffic::Event::new("employee.address.edit", "no JSON")]).await;
    let version = &scene.dead(1).await[0].headers["mo-router-version"];
    assert!(version.ends_with(" (0.1.0)"), "{version}");
    assert!(router.stop().await.success());
    for queue in ["mo-router.first-plugin", ROUTED, DEAD] {
        assert_eq!(scene.client.depth(queue).await, 0, "{queue}");
    }
}

/// What the new projects are called.
const NAME: &str = "first-plugin";

/// What every new project does.
const CASE: &str = r#"
[[case]]
name = "edits pass, refreshes do not"
events = [
    { routing_key = "employee.it.refresh", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b" } },
    { routing_key = "employee.it.edit", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b" } },
]
publishes = [ { routing_key = "employee.it.edit" } ]
"#;

/// A plugin under `examples/`, built.
fn example(name: &str) -> Vec<u8> {
    build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name))
}

#[tokio::test]
async fn rust() {
    project(Language::Rust).await;
}

#[tokio::test]
async fn python() {
    if !has_tools("python") {
        return;
    }
    project(Language::Python).await;

    let plugin = example("managers-only");
    let key = "org_unit.manager.edit";
    assert_eq!(route(&plugin, &[], key).await, Ok(vec![Publication::default()]));
    assert_eq!(route(&plugin, &[("actions", "create")], key).await, Ok(Vec::new()));
    let held = route(&plugin, &[("hold", "true")], key).await;
    assert_eq!(held, Err(Failure::Retry("held by config.hold".into())));
}

#[tokio::test]
async fn javascript() {
    if !has_tools("javascript") {
        return;
    }
    project(Language::JavaScript).await;

    let config = [("employee", "people")];
    let answer = route(&example("split-services"), &config, "employee.it.create").await;
    let people = Publication {
        exchange: Some("people".into()),
        headers: vec![("service".into(), "employee".into())],
        ..Publication::default()
    };
    assert_eq!(answer, Ok(vec![people]));
}

#[tokio::test]
async fn typescript() {
    if !has_tools("javascript") {
        return;
    }
    project(Language::TypeScript).await;
}

#[tokio::test]
async fn go() {
    if !has_tools("go") {
        return;
    }
    project(Language::Go).await;

    let answer = route(&example("merge-edits"), &[], "employee.address.edit").await;
    let waiting = Publication {
        due: Due::After(std::time::Duration::from_secs(30)),
        key: Some(format!("employee.address.edit {OBJECT} 1719784800")),
        ..Publication::default()
    };
    assert_eq!(answer, Ok(vec![waiting]));
}

#[tokio::test]
async fn c() {
    if !has_tools("c") {
        return;
    }
    project(Language::C).await;

    let answer = route(&example("route-by-action"), &[], "employee.it.create").await;
    let renamed =
        Publication { routing_key: Some("create.employee.it".into()), ..Publication::default() };
    assert_eq!(answer, Ok(vec![renamed]));
}

#[tokio::test]
async fn cpp() {
    if !has_tools("zig") {
        return;
    }
    project(Language::Cpp).await;
}

#[tokio::test]
async fn zig() {
    if !has_tools("zig") {
        return;
    }
    project(Language::Zig).await;
}

#[tokio::test]
async fn assemblyscript() {
    if !has_tools("assemblyscript") {
        return;
    }
    let plugin = example("mark-urgent");
    let key = "employee.engagement.edit";
    assert_eq!(route(&plugin, &[], key).await, Ok(vec![Publication::default()]));
    let urgent =
        Publication { headers: vec![("urgent".into(), "yes".into())], ..Publication::default() };
    assert_eq!(route(&plugin, &[("actions", "create edit")], key).await, Ok(vec![urgent]));
}

/// Python has files and sockets, as far as the host lets it.
const LOOKS_AROUND: &str = r##"
import os
import socket

import mo_router
from mo_router import Publication
from wit_world.imports import store


class Filter(mo_router.Filter):
    def subscriptions(self):
        return ["#"]

    def route(self, event):
        found = [(path, "is there") for path in ("/", ".", "/etc/passwd", "/tmp") if os.path.exists(path)]
        try:
            open("/tmp/written", "w")
            found.append(("file", "written"))
        except OSError:
            pass
        try:
            socket.socket().connect(("127.0.0.1", int(store.get("port"))))
            found.append(("socket", "connected"))
        except OSError:
            pass
        return [Publication(headers=found)]
"##;

#[tokio::test]
async fn what_a_language_has_for_files_and_sockets_reaches_nothing() {
    if !has_tools("python") {
        return;
    }
    let plugin = languages::project(Language::Python, |folder| {
        std::fs::write(folder.join("plugin.py"), LOOKS_AROUND).expect("written");
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port().to_string();
    let answer = route(&plugin, &[("port", &port)], "employee.it.create").await;
    assert_eq!(answer, Ok(vec![Publication::default()]));
    listener.set_nonblocking(true).expect("it can be asked");
    assert!(listener.accept().is_err(), "somebody connected");
}
