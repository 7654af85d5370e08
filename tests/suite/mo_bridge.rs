//! The bridge: MO's GraphQL events to RabbitMQ and to plugins, against the endpoint.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use uuid::Uuid;

use crate::support::collector::Collector;
use crate::support::mo::{Account, Endpoint, Faults};
use crate::support::road::Road;
use crate::support::router::Router;
use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::Received;
use crate::support::{ask_until, within_reason};

/// The settings of a bridge to an endpoint that asks nobody to log in.
pub fn section(endpoint: &Endpoint, lines: &str) -> String {
    let url = endpoint.url();
    format!("[mo]\nenabled = true\nurl = {url:?}\npause = '200ms'\n{lines}\n")
}

/// A subject, with a number.
pub fn subject(number: u64) -> String {
    Uuid::from_u128(u128::from(number) + 1).to_string()
}

/// Waits until the bridge has declared a listener for a key.
pub async fn listened(endpoint: &Endpoint, key: &str) -> Uuid {
    ask_until(&format!("a listener for {key}"), || async { endpoint.listener(key) }).await
}

/// Waits until everything is acknowledged.
pub async fn acknowledged(endpoint: &Endpoint) {
    acknowledged_but(0, endpoint).await;
}

/// Waits until everything but so many is acknowledged.
async fn acknowledged_but(left: usize, endpoint: &Endpoint) {
    ask_until(&format!("all but {left} to be acknowledged"), || async {
        (endpoint.world().pending() == left).then_some(())
    })
    .await;
}

/// The reasons of `/readyz`, until they contain the text.
pub async fn not_ready(router: &Router, text: &str) -> String {
    ask_until(&format!("{text:?} as a reason"), || async {
        let (_, reasons) = router.get("readyz").await;
        reasons.contains(text).then_some(reasons)
    })
    .await
}

/// Waits until the router is ready.
pub async fn ready(router: &Router) {
    ask_until("readiness", || async { (router.get("readyz").await.0 == 200).then_some(()) }).await;
}

/// The router's client, with these roles or with all.
pub fn account(roles: Option<&[&str]>) -> Account {
    Account {
        client_id: "router".into(),
        secret: "hush".into(),
        identity: Some(Uuid::from_u128(7)),
        roles: roles.map(|roles| roles.iter().map(|role| (*role).to_owned()).collect()),
    }
}

/// The settings to log in as that client.
pub fn login(endpoint: &Endpoint) -> String {
    let server = endpoint.auth_server();
    format!("client_id = 'router'\nclient_secret = 'hush'\nauth_server = {server:?}")
}

#[tokio::test]
async fn events_reach_plugins_and_others_as_mos_amqp_messages_do() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    scene.client.catch_all(MO).await;
    let settings = section(&endpoint, "");
    let mut router =
        scene.router(&settings, &[("forward", "subscriptions = ['person', 'employee.#']")]);
    router.start_ready().await;
    listened(&endpoint, "person").await;
    endpoint.emit("person", &subject(1));
    endpoint.emit("engagement", &subject(2));
    let copies = scene.client.take(MO, 1).await;
    assert_eq!(copies[0].routing_key, "person");
    assert_eq!(copies[0].json(), json!(subject(1)));
    assert!(copies[0].properties.message_id().is_some());
    assert_eq!(scene.routed(1).await[0].json(), json!(subject(1)));
    acknowledged(&endpoint).await;
    assert_eq!(endpoint.listener("engagement"), None, "nobody asks for it");

    router.metric_until("mo_events_total{routing_key=\"person\"}", 1.0).await;
    let (_, metrics) = router.get("metrics").await;
    assert!(metrics.contains("mo_router_mo_requests_total{operation=\"fetch\",outcome=\"ok\"}"));
    let status = router.json(&["status", "--address", &router.address().await]).await;
    assert_eq!(status["mo"]["bridging"], true);
    assert_eq!(status["mo"]["events"]["person"], 1);
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn a_plugin_that_comes_brings_a_listener_and_one_that_goes_leaves_it_for_a_while() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let settings = section(&endpoint, "");
    let plugins =
        [("forward", "subscriptions = ['person']"), ("late", "subscriptions = ['engagement']")];
    let mut router = scene.router(&settings, &plugins);
    let late = std::fs::read(router.plugin("late")).unwrap();
    std::fs::remove_file(router.plugin("late")).unwrap();
    router.start_ready().await;
    listened(&endpoint, "person").await;
    assert_eq!(endpoint.listener("engagement"), None);
    router.put("late", &late);
    listened(&endpoint, "engagement").await;
    endpoint.emit("engagement", &subject(1));
    scene.routed(1).await;
    acknowledged(&endpoint).await;
    // MO keeps the events of one that is gone, as its queue would.
    std::fs::remove_file(router.plugin("late")).unwrap();
    router.logged("plugin removed").await;
    endpoint.emit("engagement", &subject(2));
    endpoint.emit("person", &subject(3));
    assert_eq!(scene.routed(1).await[0].json(), json!(subject(3)));
    acknowledged_but(1, &endpoint).await;
    router.put("late", &late);
    assert_eq!(scene.routed(1).await[0].json(), json!(subject(2)));
}

#[tokio::test]
async fn what_no_queue_takes_stays_at_mo() {
    stays_at_mo("").await;
}

#[tokio::test]
async fn what_no_queue_takes_stays_at_mo_though_plugins_may_publish_to_nowhere() {
    stays_at_mo("unroutable = 'ignore'").await;
}

async fn stays_at_mo(lines: &str) {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let bridge = section(&endpoint, "routing_keys = ['facet', 'person']");
    let settings = format!("{lines}\n{bridge}");
    let mut router = scene.router(&settings, &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    listened(&endpoint, "facet").await;
    endpoint.emit("facet", &subject(1));
    endpoint.emit("person", &subject(2));
    assert_eq!(scene.routed(1).await[0].json(), json!(subject(2)), "the other goes on");
    let reasons = not_ready(&router, "binding-missing").await;
    assert!(reasons.contains("\"facet\""), "{reasons}");
    acknowledged_but(1, &endpoint).await;
    scene.client.catch_all(MO).await;
    acknowledged(&endpoint).await;
    ready(&router).await;
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn a_listener_that_somebody_deletes_is_noticed_and_declared_again() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let mut router =
        scene.router(&section(&endpoint, ""), &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    let before = listened(&endpoint, "person").await;
    let told = router.logged("events come from a listener at MO").await;
    assert!(told.contains(&format!("uuid={before}")) && told.contains("person"), "{told}");
    endpoint.world().delete_listener(before, true).unwrap();
    router.logged("somebody deleted a listener at MO").await;
    assert_ne!(listened(&endpoint, "person").await, before);
    endpoint.emit("person", &subject(1));
    scene.routed(1).await;
}

#[tokio::test]
async fn another_router_takes_over() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let plugins = [("forward", "subscriptions = ['person']")];
    let mut routers = [
        scene.router(&section(&endpoint, ""), &plugins),
        scene.router(&section(&endpoint, ""), &plugins),
    ];
    routers[0].start();
    routers[0].logged("this router is the bridge").await;
    routers[1].start();
    routers[1].logged("another router is the bridge").await;
    listened(&endpoint, "person").await;
    endpoint.emit("person", &subject(1));
    scene.routed(1).await;
    // It would come again.
    acknowledged(&endpoint).await;
    routers[0].kill().await;
    routers[1].logged("this router is the bridge").await;
    endpoint.emit("person", &subject(2));
    // The plugin of the one that was killed may not have acknowledged the first.
    let is_second = |message: &Received| message.json() == json!(subject(2));
    scene.client.take_until(ROUTED, |received| received.last().is_some_and(is_second)).await;
    // One that stops gives the name up.
    routers[0].start();
    routers[0].logged("another router is the bridge").await;
    assert!(routers[1].stop().await.success());
    routers[0].logged("this router is the bridge").await;
}

#[tokio::test]
async fn a_router_that_loses_the_bridge_tells_of_no_token() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    endpoint.add_account(account(None));
    endpoint.set_token_life(Duration::from_secs(2));
    let road = Road::to(&scene.url).await;
    let settings = section(&endpoint, &login(&endpoint));
    let plugins = [("forward", "subscriptions = ['person']")];
    let mut routers = [scene.router(&settings, &plugins), scene.router(&settings, &plugins)];
    let expiry = "mo_token_expiry_timestamp_seconds";
    routers[0].start_with_variables(&[&format!("MO_ROUTER_AMQP_URL={}", road.url())]);
    ask_until("a token", || routers[0].metric(expiry)).await;
    routers[1].start();
    routers[1].logged("another router is the bridge").await;
    assert_eq!(routers[1].metric(expiry).await, None);
    road.close();
    routers[1].logged("this router is the bridge").await;
    ask_until("a token", || routers[1].metric(expiry)).await;
    road.open();
    routers[0].logged("another router is the bridge").await;
    // It would soon be one that has expired, which is an alert.
    assert_eq!(routers[0].metric(expiry).await, None);
    let status = routers[0].json(&["status", "--address", &routers[0].address().await]).await;
    assert_eq!(
        (&status["mo"]["bridging"], &status["mo"]["token_expires"]),
        (&json!(false), &Json::Null)
    );
}

#[tokio::test]
async fn what_mo_refuses_is_a_reason_with_what_to_do() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    endpoint.add_account(account(Some(&["acknowledge_event", "create_event_listener"])));
    let settings = section(&endpoint, &login(&endpoint));
    let mut router = scene.router(&settings, &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    let reasons = not_ready(&router, "mo-unreachable").await;
    assert!(reasons.contains("the role \"fetch_event\""), "{reasons}");
    endpoint.clear_accounts();
    endpoint.add_account(account(None));
    ready(&router).await;
    endpoint.emit("person", &subject(1));
    scene.routed(1).await;

    // Keycloak knows the client no more.
    endpoint.clear_accounts();
    endpoint.add_account(Account { secret: "other".into(), ..account(None) });
    endpoint.forget_tokens();
    let reasons = not_ready(&router, "mo-unreachable").await;
    assert!(reasons.contains("client_secret"), "{reasons}");
    endpoint.add_account(account(None));
    ready(&router).await;
    assert!(!router.log().contains("hush"), "the secret is in the log");
    assert!(!router.log().contains("e30."), "a token is in the log");
}

#[tokio::test]
async fn an_error_that_nobody_knows_is_a_reason() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let mut router =
        scene.router(&section(&endpoint, ""), &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    listened(&endpoint, "person").await;
    ready(&router).await;
    endpoint.set_faults(Faults { error_every: 1, ..Faults::default() });
    let reasons = not_ready(&router, "mo-unreachable").await;
    assert!(reasons.contains("its events of \"person\": MO refuses to fetch"), "{reasons}");
    // It is told once, though it goes on.
    let errors = "mo_requests_total{operation=\"fetch\",outcome=\"rejected\"}";
    ask_until("four of them", || async {
        router.metric(errors).await.filter(|count| *count >= 4.0)
    })
    .await;
    assert_eq!(router.count_logged("MO does not give its events"), 1);
    // One in three fails, acknowledgements among them.
    endpoint.set_faults(Faults { error_every: 3, ..Faults::default() });
    (0..20).for_each(|number| endpoint.emit("person", &subject(number)));
    scene.routed(20).await;
    acknowledged(&endpoint).await;
    endpoint.set_faults(Faults::default());
    ready(&router).await;
}

#[tokio::test]
async fn a_version_that_is_gone_is_a_reason() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let settings = section(&endpoint, "api_version = 'v20'");
    let mut router = scene.router(&settings, &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    let reasons = not_ready(&router, "mo-unreachable").await;
    assert!(reasons.contains("[mo] api_version"), "{reasons}");
}

#[tokio::test]
async fn tokens_are_renewed_before_they_expire() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    endpoint.add_account(account(None));
    endpoint.set_token_life(Duration::from_secs(10));
    let settings = section(&endpoint, &login(&endpoint));
    let mut router = scene.router(&settings, &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    ask_until("three tokens", || async { (endpoint.requests().1 >= 3).then_some(()) }).await;
    let (_, metrics) = router.get("metrics").await;
    assert!(!metrics.contains("outcome=\"unauthenticated\""), "one was used too long: {metrics}");
    // Now they are unknown at once: MO was started anew, say.
    endpoint.forget_tokens();
    endpoint.emit("person", &subject(1));
    scene.routed(1).await;
    acknowledged(&endpoint).await;
    let (_, metrics) = router.get("metrics").await;
    assert!(metrics.contains("mo_router_mo_token_expiry_timestamp_seconds"), "{metrics}");
}

#[tokio::test]
async fn a_stop_acknowledges_what_is_in_flight() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let mut router =
        scene.router(&section(&endpoint, ""), &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    let person = listened(&endpoint, "person").await;
    endpoint.set_faults(Faults { delay: Duration::from_millis(300), ..Faults::default() });
    (0..50).for_each(|number| endpoint.emit("person", &subject(number)));
    ask_until("some to be routed", || async {
        (scene.client.depth(ROUTED).await > 0).then_some(())
    })
    .await;
    assert!(router.stop().await.success());
    // What was fetched was acknowledged: nothing is leased to nobody.
    ask_until("each to be in one place", || async {
        let waiting = scene.client.depth("mo-router.forward").await;
        let published = (scene.client.depth(ROUTED).await + waiting) as usize;
        (published + endpoint.world().pending() == 50).then_some(())
    })
    .await;
    assert_eq!(endpoint.world().leased(person), 0);
}

#[tokio::test]
async fn without_events_there_is_one_request_each_pause() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let mut router = scene.router(&section(&endpoint, ""), &[("forward", "subscriptions = ['#']")]);
    router.start_ready().await;
    listened(&endpoint, "person").await;
    let (begun, before) = (tokio::time::Instant::now(), endpoint.requests().0);
    ask_until("fifty requests", || async { (endpoint.requests().0 >= before + 50).then_some(()) })
        .await;
    let requests = endpoint.requests().0 - before;
    let pauses = begun.elapsed().as_secs_f64() / 0.2;
    // The listeners are declared again every 24 pauses.
    let most = pauses * 25.0 / 24.0 + 3.0;
    assert!((requests as f64) <= most, "{requests} requests in {pauses} pauses");
}

#[tokio::test]
async fn without_a_broker_plugins_get_the_events_and_print_what_they_publish() {
    let endpoint = Endpoint::start().await;
    let router = Router::new("", &[("forward", "subscriptions = ['person']")]);
    let mut process = without_a_broker(&router, &endpoint);
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    listened(&endpoint, "person").await;
    (1..=3).for_each(|number| endpoint.emit("person", &subject(number)));
    let mut bodies = Vec::new();
    for _ in 1..=3 {
        let line = within_reason("a line", lines.next_line()).await.unwrap().unwrap();
        let line: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(line["routing_key"], "person");
        bodies.push(line["body"].as_str().unwrap().to_owned());
    }
    bodies.sort();
    assert_eq!(bodies, (1..=3).map(subject).collect::<Vec<_>>());
    acknowledged(&endpoint).await;
    terminate(&process);
    assert!(within_reason("it to stop", process.wait()).await.unwrap().success());
}

#[tokio::test]
async fn without_a_broker_a_stop_finishes_what_was_fetched() {
    let endpoint = Endpoint::start().await;
    let router = Router::new("", &[("forward", "subscriptions = ['person']")]);
    let mut process = without_a_broker(&router, &endpoint);
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let person = listened(&endpoint, "person").await;
    endpoint.set_faults(Faults { delay: Duration::from_millis(300), ..Faults::default() });
    (0..50).for_each(|number| endpoint.emit("person", &subject(number)));
    within_reason("a line", lines.next_line()).await.unwrap().unwrap();
    terminate(&process);
    let mut printed = 1;
    while within_reason("the end", lines.next_line()).await.unwrap().is_some() {
        printed += 1;
    }
    assert!(within_reason("it to stop", process.wait()).await.unwrap().success());
    assert_eq!(printed + endpoint.world().pending(), 50);
    assert_eq!(endpoint.world().leased(person), 0, "what was fetched is acknowledged");
}

/// A router that takes the endpoint's events and prints.
fn without_a_broker(router: &Router, endpoint: &Endpoint) -> Child {
    router
        .command(&["run"])
        .env("MO_ROUTER_MO_ENABLED", "true")
        .env("MO_ROUTER_MO_PAUSE", "200ms")
        .env("MO_URL", endpoint.url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn terminate(process: &Child) {
    let id = process.id().unwrap().to_string();
    std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap();
}

#[tokio::test]
async fn all_plugins_that_get_an_event_go_on_with_the_trace_that_the_bridge_begins() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let collector = Collector::start().await;
    let plugins = [("one", "subscriptions = ['person']"), ("other", "subscriptions = ['person']")];
    let mut router = scene.router(&section(&endpoint, ""), &plugins);
    router.start_with_variables(&[&collector.variable(), "MO_ROUTER_TELEMETRY_SAMPLE=1"]);
    router.logged("ready").await;
    listened(&endpoint, "person").await;
    endpoint.emit("person", &subject(1));
    scene.routed(2).await;
    let names = ["publish os2mo", "receive mo-router.one", "receive mo-router.other"];
    let spans = collector.named(&names).await;
    let publish = &spans[0];
    assert_eq!((publish.parent.as_str(), publish.kind.as_str()), ("", "PRODUCER"));
    for receive in &spans[1..] {
        let within = (&receive.trace_id, &receive.parent);
        assert_eq!(within, (&publish.trace_id, &publish.span_id), "{}", receive.name);
    }
    assert!(router.stop().await.success());

    // What is not recorded is so for all of them.
    scene.client.catch_all(MO).await;
    router.start_with_variables(&[&collector.variable(), "MO_ROUTER_TELEMETRY_SAMPLE=0"]);
    router.logged("ready").await;
    endpoint.emit("person", &subject(2));
    let copy = scene.client.take(MO, 1).await.remove(0);
    assert!(copy.headers["traceparent"].ends_with("-00"), "{copy:?}");
    scene.routed(2).await;
}

/// As one finds it who follows the docs with a plugin that `plugin new` wrote.
#[tokio::test]
async fn that_nobody_asks_for_mos_keys_is_told_with_what_to_do() {
    let endpoint = Endpoint::start().await;
    let plugins = [("hello", "subscriptions = ['employee.#']")];
    let mut router = Router::new(&section(&endpoint, ""), &plugins);
    router.start_ready().await;
    let told = router.logged("no plugin asks for any of MO's GraphQL events").await;
    for named in ["engagement", "[plugin.NAME] subscriptions", "[mo] routing_keys"] {
        assert!(told.contains(named), "no {named}: {told}");
    }
    ready(&router).await;
    let file = router.path("mo-router.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    router.put_file("mo-router.toml", settings.replace("employee.#", "*").as_bytes());
    listened(&endpoint, "person").await;
    endpoint.emit("person", &subject(1));
    acknowledged(&endpoint).await;
    assert_eq!(router.count_logged("no plugin asks for any"), 1);
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn people_rerun_what_is_the_routers_and_nobody_elses() {
    let endpoint = Endpoint::start().await;
    endpoint.add_account(account(None));
    let router = Router::new(&section(&endpoint, &login(&endpoint)), &[]);
    let declare = |owner: u128| {
        let owner = Uuid::from_u128(owner);
        let mut world = endpoint.world();
        world.declare_listener("mo", "mo-router.person", "person", owner).unwrap()
    };
    declare(9);
    endpoint.emit("person", &subject(1));
    let refused = router.call(&["mo", "rerun", "person"]).await;
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("no listener mo-router.person of the")
    );
    // The router's own identity.
    let ours = declare(7);
    endpoint.emit("person", &subject(2));
    assert!(endpoint.world().fetch(ours, Uuid::from_u128(7), Duration::ZERO).is_some());
    assert_eq!(router.json(&["mo", "rerun", "person"]).await["events"], 1);
    assert_eq!(endpoint.world().leased(ours), 0);
}

#[tokio::test]
async fn people_list_rerun_and_send() {
    let endpoint = Endpoint::start().await;
    let router = Router::new(&section(&endpoint, ""), &[]);
    {
        let mut world = endpoint.world();
        let nobody = crate::support::mo::NOBODY;
        world.declare_listener("mo", "mo-router.person", "person", nobody).unwrap();
        world.declare_listener("mo", "somebody-else", "engagement", Uuid::from_u128(9)).unwrap();
        world.declare_namespace("mine", false, nobody).unwrap();
        world.declare_listener("mine", "k", "k", nobody).unwrap();
    }
    endpoint.emit("person", &subject(1));
    endpoint.emit("person", &subject(2));
    let listeners = router.json(&["mo", "listeners"]).await;
    let of = |user_key: &str| {
        let mut listeners = listeners.as_array().unwrap().iter();
        listeners.find(|listener| listener["user_key"] == user_key).cloned().unwrap()
    };
    assert_eq!(
        (&of("mo-router.person")["ours"], &of("mo-router.person")["events"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(of("somebody-else")["ours"], false);
    assert!(router.print(&["mo", "listeners"]).await.contains("somebody-else"));
    let reran = router.json(&["mo", "rerun", "person"]).await;
    assert_eq!(reran["events"], 2);
    let reran = router.json(&["mo", "rerun", "person", "--subject", &subject(2)]).await;
    assert_eq!(reran["events"], 1);
    let missing = router.call(&["mo", "rerun", "leave"]).await;
    assert!(String::from_utf8_lossy(&missing.stderr).contains("mo-router.leave"));
    router.print(&["mo", "send", "k", "anything", "--namespace", "mine"]).await;
    assert_eq!(endpoint.world().pending(), 3);
    let refused = router.call(&["mo", "send", "person", "x", "--namespace", "mo"]).await;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not the owner"));

    let listeners = endpoint.world().listeners.len();
    let allowed = router.print(&["check", "--connect"]).await;
    assert!(allowed.contains("declare listeners, fetch and acknowledge"), "{allowed}");
    assert_eq!(endpoint.world().listeners.len(), listeners, "it changes nothing");
    endpoint.add_account(account(None));
    let locked_out = router.call(&["check", "--connect"]).await;
    assert_eq!(locked_out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&locked_out.stdout).contains("client_id"));
}

#[tokio::test]
async fn check_names_each_role_that_is_missing() {
    let endpoint = Endpoint::start().await;
    let router = Router::new(&section(&endpoint, &login(&endpoint)), &[]);
    let all = ["create_event_listener", "fetch_event", "acknowledge_event"];
    for missing in all {
        let others: Vec<&str> = all.into_iter().filter(|role| *role != missing).collect();
        endpoint.clear_accounts();
        endpoint.add_account(account(Some(&others)));
        let refused = router.call(&["check", "--connect"]).await;
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(said.contains(&format!("the role {missing:?}")), "no word of {missing}: {said}");
    }
    assert!(endpoint.world().listeners.is_empty());
}
