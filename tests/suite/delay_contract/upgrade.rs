//! A database that an earlier version has made.

use std::collections::BTreeMap;
use std::sync::Arc;

use mo_router::clock::Clock;
use mo_router::delay::{Import, Store};
use mo_router::event::{Delayed, Message, Outgoing, Properties, Value};
use mo_router::health::Health;
use mo_router::transport::Fate::Confirmed;

use super::database::{at_url, database};
use super::{Router, accept, at, delayed, keyed, number_of, stored};
use crate::support::postgres::Server;

/// What the first version has stored, as it leaves.
#[tokio::test]
async fn a_database_of_the_first_version_is_migrated_and_released() {
    let server = Server::shared();
    let (url, name) = database(&server);
    server.sql(&name, include_str!("../../data/delays-1.sql"));
    let url = at_url(&url);
    // Looking changes nothing.
    let people = Store::existing(&url).await.unwrap().unwrap();
    assert_eq!(stored(&people).await, ["plain", "keyed", "odd", "never"]);
    assert_eq!(server.sql(&name, "SELECT max(version) FROM mo_router_schema"), "1");

    let store = Store::wait_for(&url, &Health::default()).await.unwrap();
    assert_ne!(server.sql(&name, "SELECT max(version) FROM mo_router_schema"), "1");
    let import = Import { id: "imported".into(), delayed: delayed("again", at(1)) };
    assert_eq!(store.import(Arc::new(vec![import])).await.unwrap(), 0);
    let retried = store.show(number_of(&store, "keyed").await).await.unwrap().unwrap();
    assert_eq!((retried.attempts, retried.problem.as_deref()), (2, Some("the queue is full")));
    assert_eq!(retried.delayed.message.properties.priority, Some(3));
    let newer = Delayed { plugin: "merge-edits".into(), ..keyed("newer", at(4), "edit") };
    accept(&store, [newer]).await;

    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    let mut messages = Vec::new();
    for _ in 0..3 {
        let (token, outgoing) = router.next().await;
        let Outgoing::Message(message) = outgoing.clone() else { panic!("{outgoing:?}") };
        router.confirm(token, outgoing, Confirmed);
        messages.push(message);
    }
    router.stop().await;
    assert_eq!(stored(&store).await, ["never"]);

    let ids: Vec<&str> = messages.iter().map(Message::id).collect();
    assert_eq!(ids, ["plain", "odd", "newer"]);
    let text = "{\"uuid\": \"cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60\", \"name\": \"blåbær\"}";
    assert_eq!(messages[0].body, text);
    assert_eq!(messages[0].routing_key, "employee.it.create");
    let headers = BTreeMap::from([
        ("mo-router-due".to_owned(), Value::from("2023-11-14T22:13:21Z")),
        ("mo-router-hops".to_owned(), Value::Int(1)),
        ("mo-router-plugin".to_owned(), Value::from("mo-delay")),
    ]);
    let plain = Properties {
        content_type: Some("application/json".into()),
        headers,
        message_id: Some("plain".into()),
        ..Properties::default()
    };
    assert_eq!(*messages[0].properties, plain);
    assert_eq!(messages[1].body, &b"\0\xff"[..]);
    let all = BTreeMap::from([
        ("bool".to_owned(), Value::Bool(true)),
        ("bytes".to_owned(), Value::Bytes(vec![255, 0])),
        ("float".to_owned(), Value::Float(0.5)),
        ("list".to_owned(), Value::List(vec![Value::Null, Value::from("a")])),
        ("time".to_owned(), Value::Timestamp(1_700_000_000)),
    ]);
    assert_eq!(messages[1].properties.headers["all"], Value::Table(all));
}
