//! A router and its commands as processes, and what happens to the PostgreSQL that has its
//! delayed messages.

use mo_router::event::Datetime;
use serde_json::json;

use crate::support::ask_until;
use crate::support::ports::free_port;
use crate::support::postgres::Server;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::{numbered, numbers};

/// A plugin whose messages are due in an hour.
const LATER: (&str, &str) = ("later", "config.delay = '3600000'");

/// Runs a command that fails, and gives what it says.
async fn refused(router: &Router, arguments: &[&str]) -> String {
    let output = router.call(arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?}: {said}");
    said
}

/// An export with one message, as a line of a file.
fn export() -> Vec<u8> {
    let line = json!({
        "id": 1, "due": "9999-12-31T00:00:00Z", "due_micros": 253_402_214_400_000_000_i64,
        "plugin": "p", "version": "1", "key": null, "uuid": "", "exchange": "out",
        "routing_key": "employee", "properties": {"message_id": "a"}, "body": "e30=",
        "damage": null, "unreadable": null,
    });
    format!("{line}\n").into_bytes()
}

#[tokio::test]
async fn commands_that_only_look_make_no_tables() {
    let server = Server::shared();
    let url = server.database();
    let (_, name) = url.rsplit_once('/').unwrap();
    let router = Router::new("", &[]);
    router.set("delay.store", &url);
    router.put_file("export.jsonl", &export());
    for command in [&["list"][..], &["count"], &["show", "1"], &["cancel", "1"], &["export"]] {
        let said = refused(&router, &[&["delayed"], command].concat()).await;
        assert!(said.contains("has no tables of mo-router"), "{command:?}: {said}");
    }
    let import = ["delayed", "import", "--file", "export.jsonl"];
    let counted = json!({"read": 1, "added": 1, "known": 0, "undated": 0, "set_aside": 0});
    assert_eq!(router.json(&[&import[..], &["--dry-run"]].concat()).await, counted);
    assert_eq!(server.sql(name, "SELECT to_regclass('mo_router_schema') IS NULL"), "t");

    // As the documentation has tables made.
    router.json(&["delayed", "import", "--file", "/dev/null"]).await;
    assert_eq!(router.json(&["delayed", "list"]).await, json!([]));
    assert_eq!(router.json(&import).await, counted);
    let known = json!({"read": 1, "added": 0, "known": 1, "undated": 0, "set_aside": 0});
    assert_eq!(router.json(&[&import[..], &["--dry-run"]].concat()).await, known);
    let list = router.json(&["delayed", "list"]).await;
    assert_eq!(list[0]["message_id"], "a");
    assert_eq!(router.json(&["delayed", "list", "--overdue"]).await, json!([]));
}

/// The database's clock is ten minutes behind this machine's.
#[tokio::test]
async fn what_a_command_sends_now_leaves_now_by_the_databases_clock() {
    let (scene, server) = (Scene::shared().await, Server::shared());
    let url = server.database();
    let (_, name) = url.rsplit_once('/').unwrap();
    for function in ["clock_timestamp", "now"] {
        server.sql(
            name,
            &format!(
                "CREATE FUNCTION public.{function}() RETURNS timestamptz LANGUAGE sql STABLE
                     AS $$ SELECT pg_catalog.{function}() - interval '10 minutes' $$"
            ),
        );
    }
    server.sql("postgres", &format!("ALTER DATABASE {name} SET search_path = public, pg_catalog"));
    let mut router = scene.router("", &[LATER]);
    router.set("delay.store", &url);
    router.start_ready().await;
    scene.client.publish(MO, numbered(0..1)).await;
    let id = stored(&router).await;
    router.json(&["delayed", "send-now", &id]).await;
    assert_eq!(numbers(&scene.routed(1).await), [0].into());
    assert!(router.stop().await.success());
}

/// The id of the one message, when it is stored.
async fn stored(router: &Router) -> String {
    ask_until("the message to be stored", || async {
        let list = router.json(&["delayed", "list"]).await;
        list[0]["id"].as_i64().map(|id| id.to_string())
    })
    .await
}

/// The broker does not confirm it, being frozen.
#[tokio::test]
async fn what_is_being_sent_is_left_alone_by_a_command() {
    for server in [None, Some(Server::shared())] {
        let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
        let scene = Scene::on(&broker).await;
        let mut router = scene.router("", &[LATER]);
        let url = server.as_ref().map(|server| server.database());
        if let Some(url) = &url {
            router.set("delay.store", url);
        }
        router.start_ready().await;
        scene.client.publish(MO, numbered(0..1)).await;
        let id = stored(&router).await;
        broker.freeze();
        router.json(&["delayed", "send-now", &id]).await;
        ask_until("the message to be on its way", || async {
            match (&server, &url) {
                (Some(server), Some(url)) => {
                    // A claim has locked its row.
                    let free = "SELECT count(*) FROM (
                        SELECT FROM mo_router_delayed FOR UPDATE SKIP LOCKED) AS free";
                    server.sql(url.rsplit_once('/').unwrap().1, free) == "0"
                }
                _ => {
                    let file = rusqlite::Connection::open(router.path("delays.db")).unwrap();
                    let noted = "SELECT count(*) FROM in_flight";
                    file.query_row(noted, [], |row| row.get::<_, i64>(0)) == Ok(1)
                }
            }
            .then_some(())
        })
        .await;
        let said = refused(&router, &["delayed", "cancel", &id]).await;
        assert!(said.contains(&format!("being sent, and left alone: [{id}]")), "{said}");
        broker.thaw();
        assert_eq!(numbers(&scene.routed(1).await), [0].into());
        assert!(router.stop().await.success());
    }
}

/// As it is in containers, where the password is a file that is exchanged.
#[tokio::test]
async fn a_new_password_is_taken_when_a_connection_is_made() {
    let scene = Scene::shared().await;
    let port = free_port();
    let settings = ["listen_addresses=127.0.0.1".to_owned(), format!("port={port}")];
    let rules = "local all all trust\nhost all router 127.0.0.1/32 scram-sha-256\n";
    let server = tokio::task::spawn_blocking(move || Server::start_with(&settings, Some(rules)));
    let server = server.await.unwrap();
    server.sql("postgres", "CREATE USER router SUPERUSER PASSWORD 'first'");
    let mut router = scene.router("", &[LATER]);
    router.set("delay.store", &format!("postgres://router@127.0.0.1:{port}/postgres"));
    router.put_file("password", b"first\n");
    let file = router.path("password").display().to_string();
    router.start_with_variables(&[&format!("MO_ROUTER_DELAY_PASSWORD_FILE={file}")]);
    router.logged("ready").await;

    server.sql("postgres", "ALTER USER router PASSWORD 'second'");
    let end = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity
               WHERE usename = 'router'";
    assert_eq!(server.sql("postgres", end), "t");
    let line = router.logged("password authentication failed").await;
    assert!(line.contains("the delay store is unavailable"), "{line}");
    let (status, text) = router.get("readyz").await;
    assert!(status == 503 && text.contains("store-unavailable"), "{status} {text}");
    router.put_file("password", b"second\n");
    ask_until("readiness", || async { (router.get("readyz").await.0 == 200).then_some(()) }).await;
    scene.client.publish(MO, numbered(0..1)).await;
    router.metric_until("delayed_messages", 1.0).await;
    let next = router.metric("delayed_next_due_timestamp_seconds").await.unwrap();
    assert!(next > Datetime::now().seconds() as f64);
    assert!(router.stop().await.success());
}
