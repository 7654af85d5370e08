//! The log of a router that is asked for as much as there is: what it has, and what it never has.

use lapin::BasicProperties;
use serde_json::{Map, Value};

use crate::support::postgres::Server;
use crate::support::rabbitmq::RabbitMq;
use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::Event;

/// In every body.
const MARKER: &str = "what-only-a-body-has";
/// Of the broker and of the database.
const PASSWORD: &str = "what-nobody-may-see";
/// Events that the plugin rejects.
const EVENTS: u64 = 1_000;
/// Lines of one kind are written so often in a minute; here for as many minutes as a busy machine
/// may take for the events.
const LINES: usize = 100 * 5;

/// The event with this number, which its `message_id` and its person have, too.
fn event(number: u64) -> Event {
    let Event { key, body, properties: _ } = Event::numbered(number, EVENTS);
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    body["note"] = MARKER.into();
    let properties = BasicProperties::default().with_message_id(format!("id-{number}").into());
    Event { key, body: body.to_string().into_bytes(), properties }
}

/// A line of the log.
fn object(line: &str) -> Map<String, Value> {
    let object = serde_json::from_str(line);
    object.unwrap_or_else(|error| panic!("a line is no JSON object ({error}): {line}"))
}

#[tokio::test]
async fn at_every_level_lines_have_one_form_and_no_body_or_password() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let mut scene = Scene::on(&broker).await;
    let (_, vhost) = scene.url.rsplit_once('/').unwrap();
    broker.control(&["add_user", "loud", PASSWORD]);
    broker.control(&["set_permissions", "-p", vhost, "loud", ".*", ".*", ".*"]);
    scene.url = scene.url.replace("guest:guest", &format!("loud:{PASSWORD}"));
    let plugins =
        [("strict", "config.answer = 'reject'"), ("patient", "config.delay = '1'"), ("astray", "")];
    // What the last two publish no queue takes.
    scene.client.unbind(ROUTED, ROUTED, "#").await;
    let mut router = scene.router("", &plugins);
    let server = Server::shared();
    let database = server.database();
    router.set("delay.store", &database.replace("postgres@", &format!("postgres:{PASSWORD}@")));
    router.start_with_variables(&[
        // `tokio` is also the beginning of `tokio_postgres`.
        "RUST_LOG=trace,tokio=trace,mio=trace,notify=trace,hyper=trace,lapin=trace",
        "MO_ROUTER_LOG_FORMAT=json",
    ]);
    router.logged("\"message\":\"ready\"").await;
    scene.client.publish(MO, (0..EVENTS).map(event)).await;
    // Each event of each plugin is a dead letter: it was rejected, or what became of it is returned.
    scene.dead(3 * EVENTS as usize).await;
    assert!(router.stop().await.success());

    let log = router.log();
    let lines: Vec<Map<String, Value>> = log.lines().map(object).collect();
    for line in &lines {
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line.get(key).is_some_and(Value::is_string), "no {key}: {line:?}");
        }
    }
    assert!(lines.iter().any(|line| line["level"] == "TRACE"), "it was not asked for enough");
    for secret in [MARKER, PASSWORD] {
        let with_it = log.lines().find(|line| line.contains(secret));
        assert_eq!(with_it, None, "it is in the log");
    }

    for (plugin, queue) in
        [("strict", Some("mo-router.strict")), ("astray", None), ("patient", None)]
    {
        let is_its = |line: &&Map<String, Value>| {
            let message = line["message"].as_str().unwrap();
            line.get("plugin").is_some_and(|it| it == plugin)
                && message.starts_with("dead letter: ")
        };
        let dead: Vec<&Map<String, Value>> = lines.iter().filter(is_its).collect();
        assert!((1..=LINES).contains(&dead.len()), "{plugin}: {} lines", dead.len());
        for line in dead {
            assert_eq!(line.get("queue").and_then(Value::as_str), queue, "{line:?}");
            assert!(line.get("routing_key").is_some_and(Value::is_string), "{line:?}");
            let id = line["message_id"].as_str().unwrap();
            let uuid: uuid::Uuid = line["uuid"].as_str().unwrap().parse().unwrap();
            if queue.is_some() {
                let number: u128 = id.strip_prefix("id-").unwrap().parse().unwrap();
                assert_eq!(uuid.as_u128(), number + 1, "{line:?}");
            }
        }
    }
    let told = lines.iter().filter(|line| line["level"] != "TRACE" && line["level"] != "DEBUG");
    assert!(told.count() < 4 * LINES, "{EVENTS} events of three plugins");
}

#[tokio::test]
async fn a_level_that_cannot_be_read_is_told() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[("forward", "")]);
    router.start_with_variables(&["RUST_LOG=mo_router=loud"]);
    router.logged("RUST_LOG \"mo_router=loud\" cannot be read and does not hold").await;
    router.logged("ready").await;
}
