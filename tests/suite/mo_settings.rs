//! What `[mo]` says: each setting that is more than a number, and what the bridge makes of a server
//! that wants to be left alone.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::mo_bridge::{
    account, acknowledged, listened, login, not_ready, ready, section, subject,
};
use crate::support::ask_until;
use crate::support::mo::{Endpoint, Faults};
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{ROUTED, Scene};

#[tokio::test]
async fn another_exchange_and_other_names_of_listeners() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    scene.client.exchange("os2mo_graphql", true).await;
    scene.client.catch_all("os2mo_graphql").await;
    let settings = section(&endpoint, "exchange = 'os2mo_graphql'\nuser_key = 'other'");
    let mut router = scene.router(&settings, &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    let listener = listened(&endpoint, "person").await;
    assert_eq!(endpoint.world().listeners[&listener].user_key, "other.person");
    endpoint.emit("person", &subject(1));
    assert_eq!(scene.client.take("os2mo_graphql", 1).await[0].json(), json!(subject(1)));
    acknowledged(&endpoint).await;
    assert!(router.stop().await.success());
    assert_eq!(scene.client.depth(ROUTED).await, 0, "it was in MO's exchange, too");
    let listeners = router.json(&["mo", "listeners"]).await;
    assert_eq!(listeners[0]["ours"], true, "{listeners}");
}

#[tokio::test]
async fn the_secret_in_a_file_is_read_for_each_token() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    endpoint.add_account(account(None));
    let lines = login(&endpoint).replace("client_secret = 'hush'", "client_secret_file = 'secret'");
    assert!(lines.contains("client_secret_file"), "{lines}");
    let settings = section(&endpoint, &lines);
    let mut router = scene.router(&settings, &[("forward", "subscriptions = ['person']")]);
    router.put_file("secret", b"old\n");
    router.start_ready().await;
    let reasons = not_ready(&router, "mo-unreachable").await;
    assert!(reasons.contains("Invalid client credentials"), "{reasons}");
    router.put_file("secret", b"hush\n");
    ready(&router).await;
    endpoint.emit("person", &subject(1));
    scene.routed(1).await;
}

#[tokio::test]
async fn nothing_is_fetched_while_the_broker_blocks() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let endpoint = Endpoint::start().await;
    let settings = section(&endpoint, "");
    let mut router = scene.router(&settings, &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    let person = listened(&endpoint, "person").await;
    // The broker blocks whoever publishes.
    endpoint.emit("person", &subject(1));
    scene.routed(1).await;
    acknowledged(&endpoint).await;
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]);
    endpoint.emit("person", &subject(2));
    not_ready(&router, "broker-blocked").await;
    let requests = |operation: &'static str| {
        let router = &router;
        async move {
            let name = format!("mo_requests_total{{operation=\"{operation}\",outcome=\"ok\"}}");
            router.metric(&name).await.unwrap_or_default()
        }
    };
    // It lives, and declares, and does not fetch.
    let declared = requests("declare").await;
    ask_until("a declaration", || async { (requests("declare").await > declared).then_some(()) })
        .await;
    let (declared, fetched) = (requests("declare").await, requests("fetch").await);
    endpoint.emit("person", &subject(3));
    ask_until("another one", || async { (requests("declare").await > declared).then_some(()) })
        .await;
    assert_eq!(requests("fetch").await, fetched);
    assert!(endpoint.world().leased(person) <= 1, "the one that the broker blocked for");
    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    scene.client.take_until(ROUTED, |routed| routed.len() >= 2).await;
    acknowledged(&endpoint).await;
}

#[tokio::test]
async fn a_server_that_says_when_to_come_again_is_left_alone_until_then() {
    let (scene, endpoint) = (Scene::shared().await, Endpoint::start().await);
    let mut router =
        scene.router(&section(&endpoint, ""), &[("forward", "subscriptions = ['person']")]);
    router.start_ready().await;
    listened(&endpoint, "person").await;
    let begun = Instant::now();
    endpoint.set_faults(Faults { refuse_every: 1, retry_after: Some(2), ..Faults::default() });
    let before = endpoint.requests().0;
    // Without the header there would be as many within two seconds.
    ask_until("four requests", || async { (endpoint.requests().0 >= before + 4).then_some(()) })
        .await;
    assert!(begun.elapsed() >= Duration::from_secs(6), "{:?}", begun.elapsed());
    let reasons = not_ready(&router, "mo-unreachable").await;
    assert!(reasons.contains("status 503"), "{reasons}");
    endpoint.set_faults(Faults::default());
    ready(&router).await;
}

#[tokio::test]
async fn check_says_which_variable_set_what() {
    let router = Router::new("", &[]);
    let output = router
        .command(&["check"])
        .env("MO_URL", "http://mo.example.org:5000")
        .env("AUTH_REALM", "other")
        .env("AMQP__EXCHANGE", "os2mo")
        .env("MO_ROUTER_MO_AUTH_REALM", "ours")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for line in [
        "set    mo.url by MO_URL",
        "set    amqp.exchange by AMQP__EXCHANGE",
        "set    mo.auth_realm by MO_ROUTER_MO_AUTH_REALM",
    ] {
        assert!(said.lines().any(|other| other == line), "no {line:?}:\n{said}");
    }
    assert!(!said.contains("by AUTH_REALM"), "{said}");
}

#[tokio::test]
async fn strange_variables_of_others_stop_no_router_that_does_not_use_them() {
    let mut router = Router::new("", &[("forward", "")]);
    let strange = ["MO_URL=mo-service", "AUTH_SERVER=keycloak", "CLIENT_ID=somebody"];
    router.start_with_variables(&strange);
    router.logged("ready").await;
    let told = router.logged("MO_URL").await;
    assert!(told.contains("[mo] enabled"), "{told}");
    assert!(router.stop().await.success());
    let checked = router.command(&["check"]).env("MO_URL", "mo-service").output().await.unwrap();
    assert!(checked.status.success());
    let mut asked = router.command(&["mo", "listeners"]);
    let asked = asked.env("MO_URL", "mo-service").output().await.unwrap();
    assert!(!asked.status.success());
    assert!(String::from_utf8_lossy(&asked.stderr).contains("MO_URL"));
}
