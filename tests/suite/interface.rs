//! The versions of the plugin interface, and what 1.1.0 has of a message's properties.

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::Value;

use crate::support::letters::{table, text};
use crate::support::plugins::{self, hostile};
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::Event;

/// An event with every property and headers of many types.
pub fn peculiar() -> Event {
    let death = table(&[
        ("count", AMQPValue::LongLongInt(1)),
        ("queue", text("q")),
        ("routing-keys", AMQPValue::FieldArray(vec![text("a.b"), text("c")].into())),
    ]);
    let headers = table(&[
        ("count", AMQPValue::LongInt(3)),
        ("deaths", AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into())),
        ("nothing", AMQPValue::Void),
        ("since", AMQPValue::Timestamp(5)),
        ("text", text("æøå")),
        ("yes", AMQPValue::Boolean(true)),
    ]);
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("identity".into())
        .with_headers(headers)
        .with_priority(3)
        .with_correlation_id("of-the-event".into())
        .with_reply_to("somebody".into())
        .with_message_id("m-1".into())
        .with_timestamp(1_767_225_600)
        .with_type("event".into())
        .with_app_id("mo".into())
        .with_expiration("700000".into());
    let body =
        r#"{"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b", "time": "2024-07-01T00:00:00+02:00"}"#;
    Event { properties, ..Event::new("employee.it.create", body) }
}

#[tokio::test]
async fn a_plugin_sees_the_properties_of_an_event_and_headers_of_every_type() {
    let scene = Scene::shared().await;
    let _router = scene.run("", &[("mirror", "config.describe = 'yes'")]).await;
    let sent = peculiar();
    scene.client.publish(MO, [sent.clone()]).await;
    let [came] = &scene.routed(1).await[..] else { panic!("one message") };
    let seen = String::from_utf8_lossy(&came.body);
    for part in [
        "Some(\"application/json\"), Some(\"identity\"), Some(3), Some(\"of-the-event\")",
        "Some(\"somebody\"), Some(\"700000\"), Some(\"m-1\"), Some(1767225600)",
        "Some(\"event\"), Some(\"mo\")",
        "(\"count\", Value::Int32(3)), (\"deaths\", Value::List([0])), (\"nothing\", Value::Null), \
         (\"since\", Value::Timestamp(5)), (\"text\", Value::Text(\"æøå\")), (\"yes\", Value::Boolean(true))",
        "[Value::Table([(\"count\", 1), (\"queue\", 2), (\"routing-keys\", 3)]), Value::Int64(1), \
         Value::Text(\"q\"), Value::List([4, 5]), Value::Text(\"a.b\"), Value::Text(\"c\")]",
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    // What the plugin made of them again is what came; and what it did not set travels on.
    let headers = came.properties.headers().as_ref().expect("headers");
    for (name, value) in sent.properties.headers().as_ref().expect("headers").inner() {
        let again = headers.inner().get(format!("again-{name}").as_str());
        assert_eq!((headers.inner().get(name), again), (Some(value), Some(value)), "{name}");
    }
    let (came, sent) = (&came.properties, &sent.properties);
    assert_eq!(came.content_type(), sent.content_type());
    assert_eq!(came.content_encoding(), sent.content_encoding());
    assert_eq!(came.priority(), sent.priority());
    assert_eq!(came.correlation_id(), sent.correlation_id());
    assert_eq!(came.reply_to(), sent.reply_to());
    assert_eq!(came.expiration(), sent.expiration());
    assert_eq!(came.timestamp(), sent.timestamp());
    assert_eq!((came.kind(), came.app_id()), (sent.kind(), sent.app_id()));
    assert_ne!(came.message_id(), sent.message_id(), "it is the router's");
}

/// Every property, set by a plugin.
const SET: &str = "config = { content_type = 'text/plain', content_encoding = '', priority = '7', \
                   correlation_id = 'c', reply_to = 'r', expiration = '600000', timestamp = '5', \
                   type = 'told', app_id = 'own' }";

#[tokio::test]
async fn a_plugin_sets_the_properties_of_its_messages_also_of_delayed_ones() {
    let scene = Scene::shared().await;
    let later = SET.replace("config = {", "config = { delay = '1', key = 'later.on',");
    let _router = scene.run("", &[("sets", SET), ("sets-later", &later)]).await;
    scene.client.publish(MO, [peculiar()]).await;
    let mut came = scene.routed(2).await;
    came.sort_by(|one, other| one.routing_key.cmp(&other.routing_key));
    assert_eq!(came[1].routing_key, "later.on");
    for message in came {
        let properties = &message.properties;
        let short =
            |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
        let texts = [
            properties.content_type(),
            properties.content_encoding(),
            properties.correlation_id(),
            properties.reply_to(),
            properties.expiration(),
            properties.kind(),
            properties.app_id(),
        ];
        let set = ["text/plain", "", "c", "r", "600000", "told", "own"];
        // An empty text leaves out what the event has.
        let set = set.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
        assert_eq!(texts.map(short), set, "{message:?}");
        assert_eq!((properties.priority(), properties.timestamp()), (&Some(7), &Some(5)));
        assert_eq!(message.headers["text"], "æøå", "the event's own headers travel on");
    }
}

#[tokio::test]
async fn properties_that_cannot_be_are_dead_letters_which_say_so() {
    let scene = Scene::shared().await;
    let long = format!("config.content_type = '{}'", "x".repeat(256));
    let name = format!("config.header = '{}=1'", "n".repeat(256));
    let wrong = [
        (
            "long-text",
            &*long,
            "content-type \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"… has 256 bytes, more than 255: shorten it",
        ),
        (
            "long-name",
            &*name,
            "header \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\"… has 256 bytes, more than 255: shorten it",
        ),
        ("urgent", "config.priority = '12'", "priority 12 is above 9: give one from 0 to 9"),
        (
            "soon",
            "config.expiration = 'soon'",
            "expiration \"soon\" is not a number of milliseconds from 0 to 4294967295: write \"60000\" for a minute",
        ),
        ("past", "config.expiration = '-1'", "expiration \"-1\" is not a number of milliseconds"),
        ("far", "config.expiration = '4294967296'", "expiration \"4294967296\" is not a number"),
    ];
    let mut plugins: Vec<(&str, &str)> = wrong.iter().map(|(name, set, _)| (*name, *set)).collect();
    // The longest that a broker takes.
    plugins.push(("longest", "config.expiration = '4294967295'"));
    let _router = scene.run("", &plugins).await;
    scene.client.publish(MO, [peculiar()]).await;
    let dead = scene.dead(wrong.len()).await;
    for (plugin, _, expected) in wrong {
        let letter = dead.iter().find(|letter| letter.headers["mo-router-plugin"] == plugin);
        let reason = &letter.expect("a dead letter").headers["mo-router-reason"];
        assert!(
            reason.starts_with("publication 1 of 1: ") && reason.contains(expected),
            "{reason}"
        );
    }
    let [came] = &scene.routed(1).await[..] else { panic!("one message") };
    let expiration = came.properties.expiration().as_ref().map(ToString::to_string);
    assert_eq!(expiration.as_deref(), Some("4294967295"));
}

#[tokio::test]
async fn the_version_that_a_plugin_was_built_against_is_named() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("newer", "")]);
    router.put("older", &hostile("well-behaved"));
    router.start_ready().await;
    for (plugin, version) in [("older", "1.0.0"), ("newer", "1.1.0")] {
        let file = router.plugin(plugin).display().to_string();
        let checked = router.print(&["plugin", "check", &file]).await;
        let line = format!("os2mo:router@{version}; this router speaks 1.0.0 and 1.1.0");
        assert!(checked.contains(&line), "{checked}");
        let status = router.status_until(plugin, |plugin| plugin["state"] == "running").await;
        assert_eq!(status["interface"], version);
    }
    let address = router.address().await;
    for command in [&["plugin", "list"][..], &["status"]] {
        let listed = router.print(&[command, &["--address", &address]].concat()).await;
        let line = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap_or("");
        assert!(listed.contains("INTERFACE"), "{listed}");
        assert!(line("older").contains("1.0.0") && line("newer").contains("1.1.0"), "{listed}");
    }
}

#[tokio::test]
async fn a_plugin_of_both_versions_is_refused() {
    let both = r#"(component
        (instance $filter)
        (export "os2mo:router/filter@1.0.0" (instance $filter))
        (export "os2mo:router/filter@1.1.0" (instance $filter)))"#;
    let loaded = plugins::load(both.into(), &plugins::settings()).await;
    let reason = format!("{:#}", loaded.err().expect("it is refused"));
    let expected = "the component exports os2mo:router/filter@1.0.0 and os2mo:router/filter@1.1.0, and \
                    the router cannot know which of them is meant: build it for the world \
                    os2mo:router/plugin@1.1.0 alone";
    assert!(reason.contains(expected), "{reason}");
}

/// A case with properties and typed headers, in and out; and the same event by `replay`.
const CASES: &str = r#"
[[case]]
name = "properties are seen and set"
events = [ { routing_key = "employee.it.create", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b" }, content_type = "application/json", priority = 2, type = "event", headers = { n = 5, since = { "$timestamp" = 7 }, deaths = [ { queue = "q" } ] } } ]
publishes = [ { content_type = "text/plain", priority = 7, type = "told", timestamp = 5, headers = { n = 5, again-since = { "$timestamp" = 7 }, again-deaths = [ { queue = "q" } ] } } ]

[[case]]
name = "and compared"
events = [ { routing_key = "employee.it.create", body = { uuid = "1469208d-6867-4c28-9c26-ea10cdc85a5b" } } ]
publishes = [ { priority = 3 } ]
"#;

#[tokio::test]
async fn cases_and_replay_have_the_properties() {
    let config = SET.replace("config = {", "config = { describe = 'yes',");
    let router = Router::new(&format!("amqp.exchange = {MO:?}"), &[("mirror", &config)]);
    router.put_file("plugins/mirror.cases.toml", CASES.as_bytes());
    let file = router.plugin("mirror").display().to_string();
    let tested = router.call(&["plugin", "test", &file]).await;
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(said.contains("ok    mirror: properties are seen and set"), "{said}");
    let different =
        said.contains("-     \"priority\": 3") && said.contains("+     \"priority\": 7");
    assert!(said.contains("FAIL  mirror: and compared") && different, "{said}");

    let event = r#"{"routing_key": "employee.it.create", "body": {"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b"}, "reply_to": "q", "headers": {"n": {"$int8": 5}}}"#;
    router.put_file("events.jsonl", format!("{event}\n").as_bytes());
    let lines = router.print(&["replay", &router.path("events.jsonl").display().to_string()]).await;
    let line: Value = serde_json::from_str(&lines).expect("one line");
    assert_eq!((&line["content_type"], &line["priority"]), (&"text/plain".into(), &7.into()));
    assert_eq!((&line["reply_to"], &line["expiration"]), (&"r".into(), &"600000".into()));
    assert_eq!(line["headers"]["again-n"]["$int8"], 5);
    assert!(line.get("content_encoding").is_none(), "{line}");
}
