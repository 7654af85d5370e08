//! Users with the least rights: the lines of docs/permissions.md are given to a real broker.

use std::process::Output;

use super::consumer::python;
use super::mo_bridge::{listened, not_ready, ready, section};
use crate::support::mo::Endpoint;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::numbered;
use crate::support::within_reason;

/// Makes the users that the page names, each with its name as the password.
fn make_users(broker: &mut RabbitMq, vhost: &str) -> usize {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/permissions.md");
    let page = std::fs::read_to_string(page).unwrap();
    let lines: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("rabbitmqctl set_")).collect();
    for line in &lines {
        let line = line.replace("os2mo_routed", ROUTED);
        let words: Vec<&str> = line.split(' ').map(|word| word.trim_matches('\'')).collect();
        let (command, user, rest) = (format!("set_{}", words[0]), words[3], &words[4..]);
        assert_eq!(words[1..3], ["-p", "/"], "{line}");
        if command == "set_permissions" {
            broker.control(&["add_user", user, user]);
        }
        broker.control(&[&[command.as_str(), "-p", vhost, user], rest].concat());
    }
    lines.len()
}

/// Runs a command as a user, with others declaring everything.
async fn call(router: &Router, user: &str, arguments: &[&str]) -> Output {
    let mut command = router.command(arguments);
    command
        .env("MO_ROUTER_AMQP_USERNAME", user)
        .env("MO_ROUTER_AMQP_PASSWORD", user)
        .env("MO_ROUTER_AMQP_DECLARE", "passive")
        .stdin(std::process::Stdio::null());
    within_reason(&format!("{arguments:?}"), command.output()).await.unwrap()
}

/// The same, and the command succeeds.
async fn print(router: &Router, user: &str, arguments: &[&str]) -> String {
    let output = call(router, user, arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{user} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same, and it fails for a reason that names this.
async fn refused(router: &Router, user: &str, arguments: &[&str], named: &str) {
    let output = call(router, user, arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains(named), "{user} {arguments:?}: {error}");
}

#[tokio::test]
async fn each_command_works_with_the_rights_that_its_page_gives() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let (_, vhost) = scene.url.rsplit_once('/').unwrap();
    assert_eq!(make_users(&mut broker, vhost), 8);
    let plugins = [("forward", ""), ("strict", "config.answer = 'reject'")];
    let mut router = scene.router("check_interval = '1s'", &plugins);

    // One makes everything, the next one nothing.
    for (user, declare) in [("router", "durable"), ("runner", "passive")] {
        router.start_with_variables(&[
            &format!("MO_ROUTER_AMQP_USERNAME={user}"),
            &format!("MO_ROUTER_AMQP_PASSWORD={user}"),
            &format!("MO_ROUTER_AMQP_DECLARE={declare}"),
        ]);
        router.logged("ready").await;
        scene.client.publish(MO, numbered(0..10)).await;
        scene.routed(10).await;
        router.metric_until("dead_letter_queue_messages", 10.0).await;
        let (status, reasons) = router.get("readyz").await;
        assert_eq!(status, 200, "{reasons}");
        // Whether others have bound the queues, this user cannot see; that is told for as long as it
        // is so.
        let unchecked = if user == "runner" { 1.0 } else { 0.0 };
        let metric = "not_ready_reason{reason=\"bindings-unchecked\"}";
        assert_eq!(router.metric(metric).await, Some(unchecked), "{reasons}");
        assert_eq!(
            reasons
                .contains("bindings-unchecked: the user may not bind queue \"mo-router.forward\""),
            user == "runner",
            "{reasons}"
        );
        assert_eq!(router.count_logged("may not bind queue"), if user == "runner" { 2 } else { 0 });
        broker.control(&[
            "eval",
            &format!(
                "true = lists:any(fun(C) -> string:find(io_lib:format(\"~p\", [C]), \
                 \"mo-router.forward@\") =/= nomatch end, rabbit_amqqueue:consumers_all(<<\"{vhost}\">>))."
            ),
        ]);
        if user == "runner" {
            // With the right, the router binds the queues itself from then on.
            let rights =
                ["^$", "^(os2mo_routed|routed|mo-router\\..*)$", "^(os2mo|mo-router\\..*)$"];
            broker.control(&[&["set_permissions", "-p", vhost, user][..], &rights].concat());
            router.metric_until(metric, 0.0).await;
        }
        assert!(router.stop().await.success());
        scene.dead(10).await;
    }

    // People.
    print(&router, "sender", &["publish", "employee.it.create", "--uuid", &uuid()]).await;
    refused(&router, "sender", &["publish", "org_unit.it.create", "--uuid", &uuid()], "org_unit")
        .await;
    refused(
        &router,
        "clerk",
        &["publish", "employee.it.create", "--uuid", &uuid()],
        "access to exchange 'os2mo'",
    )
    .await;
    print(&router, "sender", &["publish", "employee.it.edit", "--uuid", &uuid()]).await;
    assert_eq!(scene.client.depth("mo-router.strict").await, 2);
    for key in ["employee.it.create", "employee.it.edit"] {
        let taken = ["tail", "--queue", "mo-router.strict", "--count", "1"];
        assert!(print(&router, "runner", &taken).await.contains(key), "what is not printed stays");
    }
    refused(&router, "clerk", &["tail"], "configure permission on queue").await;
    let tail = |arguments| {
        let mut tail = router.command(arguments);
        tail.env("MO_ROUTER_AMQP_USERNAME", "watcher").env("MO_ROUTER_AMQP_PASSWORD", "watcher");
        tail
    };
    let mut consumer = tokio::process::Command::new(python().await);
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/consumer.py");
    consumer.args([program, "--exchange", ROUTED, "--count", "1"]).kill_on_drop(true);
    consumer.env("AMQP_URL", scene.url.replace("guest:guest@", "consumer:consumer@"));
    for (exchange, mut listener) in [
        (MO, tail(&["tail", "--count", "1"])),
        (ROUTED, tail(&["tail", "--exchange", ROUTED, "--count", "1"])),
        (ROUTED, consumer),
    ] {
        let listener = listener.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let published = async {
            // Until one of them has been heard.
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
            loop {
                tick.tick().await;
                scene.client.publish(exchange, numbered(0..1)).await;
            }
        };
        let heard = tokio::select! {
            heard = within_reason("a message", listener.wait_with_output()) => heard.unwrap(),
            () = published => unreachable!(),
        };
        assert!(heard.status.success() && !heard.stdout.is_empty(), "{exchange}: {heard:?}");
    }

    // When it is there, so is what was published before it and not heard any more.
    scene.client.publish(MO, numbered(0..1)).await;
    a_clerk_sends_letters_back(&scene, &mut router).await;
}

/// Events become dead letters, which the router itself may not send back.
async fn a_clerk_sends_letters_back(scene: &Scene, router: &mut Router) {
    let letters = scene.client.returned("mo-router.strict").await;
    assert!(letters > 0);
    router.start();
    scene.client.has(DEAD, letters).await;
    assert!(router.stop().await.success());
    print(router, "clerk", &["dead", "list"]).await;
    let requeued = call(router, "router", &["dead", "requeue", "--all"]).await;
    let said = String::from_utf8_lossy(&requeued.stdout);
    assert!(!requeued.status.success() && said.contains("exchange 'amq.default'"), "{said}");
    scene.client.has(DEAD, letters).await;
    print(router, "clerk", &["dead", "requeue", "--all"]).await;
    scene.client.has("mo-router.strict", letters).await;
}

#[tokio::test]
async fn a_bridge_works_with_the_rights_that_its_page_gives() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let (_, vhost) = scene.url.rsplit_once('/').unwrap();
    make_users(&mut broker, vhost);
    let endpoint = Endpoint::start().await;
    let plugins = [("forward", "subscriptions = ['person']")];
    let mut router = scene.router(&section(&endpoint, ""), &plugins);
    // Somebody makes everything.
    router.start_ready().await;
    assert!(router.stop().await.success());
    let start = |router: &mut Router, user: &str| {
        router.start_with_variables(&[
            &format!("MO_ROUTER_AMQP_USERNAME={user}"),
            &format!("MO_ROUTER_AMQP_PASSWORD={user}"),
            "MO_ROUTER_AMQP_DECLARE=passive",
        ]);
    };
    start(&mut router, "bridge");
    router.logged("this router is the bridge").await;
    listened(&endpoint, "person").await;
    endpoint.emit("person", &uuid());
    scene.routed(1).await;
    ready(&router).await;
    let (passed, said) = check(&router, "bridge", "passive").await;
    assert!(passed, "{said}");
    assert!(said.contains("\"mo-router.mo:bridge\""), "{said}");
    assert!(router.stop().await.success());

    let missing = "has no configure permission on queue 'mo-router.mo:bridge'";
    let (passed, said) = check(&router, "runner", "passive").await;
    assert!(!passed && said.contains(missing), "{said}");
    start(&mut router, "runner");
    let reasons = not_ready(&router, "mo-unreachable").await;
    assert!(reasons.contains(missing), "{reasons}");
}

#[tokio::test]
async fn check_names_each_right_that_is_missing_and_changes_nothing() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let (_, vhost) = scene.url.rsplit_once('/').unwrap();
    make_users(&mut broker, vhost);
    let router =
        scene.router("queue_type = 'quorum'", &[("forward", "exchanges = ['routed', 'new']")]);
    let all = [
        "^(os2mo|routed|new|mo-router\\..*)$",
        "^(routed|new|mo-router\\..*)$",
        "^(os2mo|mo-router\\..*)$",
    ];

    broker.control(&[&["set_permissions", "-p", vhost, "router"], &all[..]].concat());
    let (passed, said) = check(&router, "router", "durable").await;
    assert!(passed, "{said}");
    for expected in [
        r#"exchange "os2mo" exists, and may be declared"#,
        r#"exchange "new" does not exist yet, and may be declared, published to"#,
        r#"exchange "mo-router.dead" does not exist yet, and may be declared, published to"#,
        r#"queue "mo-router.dead" does not exist yet, and may be declared, bound"#,
        r#"queue "mo-router.forward" does not exist yet, and may be consumed from, declared, bound"#,
    ] {
        assert!(said.contains(expected), "no {expected}:\n{said}");
    }
    assert_eq!(queues(&mut broker, vhost), ["routed"], "nothing is made");
    assert!(!scene.client.has_exchange("new").await && !scene.client.has_exchange(DEAD).await);

    // What nobody has made is missing where the router makes nothing.
    let (passed, said) = check(&router, "router", "passive").await;
    assert!(!passed, "{said}");
    for expected in [
        r#"exchange "new" does not exist: create it"#,
        r#"queue "mo-router.forward" does not exist: create it"#,
        r#"queue "mo-router.dead" does not exist: create it"#,
    ] {
        assert!(said.contains(expected), "no {expected}:\n{said}");
    }

    // With all of it there and events that wait, too.
    let mut running = scene.run("", &[("forward", "exchanges = ['routed', 'new']")]).await;
    assert!(running.stop().await.success());
    scene.client.publish(MO, numbered(0..3)).await;
    for (what, right, pattern) in [
        ("declaring exchange \"os2mo\"", 0, "^(routed|new|mo-router\\..*)$"),
        ("publishing to exchange \"routed\"", 1, "^(new|mo-router\\..*)$"),
        ("publishing to exchange \"mo-router.dead\"", 1, "^(routed|new|mo-router\\.forward)$"),
        ("binding queue \"mo-router.forward\"", 1, "^(routed|new|mo-router\\.dead)$"),
        ("binding queue \"mo-router.forward\"", 2, "^mo-router\\..*$"),
        ("consuming from queue \"mo-router.forward\"", 2, "^(os2mo|mo-router\\.dead)$"),
        ("declaring queue \"mo-router.forward\"", 0, "^(os2mo|routed|new|mo-router\\.dead)$"),
    ] {
        let mut rights = all;
        rights[right] = pattern;
        broker.control(&[&["set_permissions", "-p", vhost, "router"], &rights[..]].concat());
        let (passed, said) = check(&router, "router", "durable").await;
        let right = ["configure", "write", "read"][right];
        let named = said.lines().any(|line| {
            line.starts_with("wrong")
                && line.contains(what)
                && line.contains(&format!("no {right} permission"))
        });
        assert!(!passed && named, "no word of {what}, {right}:\n{said}");
    }
    broker.control(&[&["set_permissions", "-p", vhost, "router"], &all[..]].concat());
    let (passed, said) = check(&router, "router", "durable").await;
    assert!(passed, "{said}");

    // Of a plugin whose file is refused, too.
    router.put_file("plugins/refused.wasm", b"no component");
    let (passed, said) = check(&router, "router", "durable").await;
    let queue =
        r#"queue "mo-router.refused" does not exist yet, and may be consumed from, declared"#;
    assert!(!passed && said.contains(queue), "{said}");
    std::fs::remove_file(router.path("plugins/refused.wasm")).unwrap();

    let least = ["^$", "^(routed|new|mo-router\\.dead)$", "^mo-router\\..*$"];
    broker.control(&[&["set_permissions", "-p", vhost, "runner"], &least[..]].concat());
    let (passed, said) = check(&router, "runner", "passive").await;
    assert!(passed, "{said}");
    let waiting = scene.client.take("mo-router.forward", 3).await;
    assert_eq!(waiting.len(), 3);
    assert!(waiting.iter().all(|message| !message.headers.contains_key("x-delivery-count")));
    assert_eq!(scene.client.depth(ROUTED).await + scene.client.depth(DEAD).await, 0);

    router.set("queue_type", "classic");
    let (passed, said) = check(&router, "router", "durable").await;
    let expected = r#"queue "mo-router.forward" exists, but its properties differ"#;
    assert!(!passed && said.contains(expected), "{said}");

    // Made by somebody with other properties: no setting of ours helps.
    router.set("queue_type", "quorum");
    scene.client.delete(DEAD).await;
    scene.client.catch_all(DEAD).await;
    let (passed, said) = check(&router, "router", "durable").await;
    let wrong =
        |line: &&str| line.starts_with("wrong") && line.contains("\"mo-router.dead\" exists");
    let line = said.lines().find(wrong).unwrap_or_else(|| panic!("{said}"));
    assert!(!passed && line.contains("delete the queue") && !line.contains("queue_type"), "{said}");
    let (_, said) = check(&router, "router", "passive").await;
    assert!(said.lines().find(wrong).is_none(), "it is used as it is:\n{said}");
}

/// Whether `check --connect` passes for a user, and what it says of the broker.
async fn check(router: &Router, user: &str, declare: &str) -> (bool, String) {
    let mut command = router.command(&["check", "--connect"]);
    command
        .env("MO_ROUTER_AMQP_USERNAME", user)
        .env("MO_ROUTER_AMQP_PASSWORD", user)
        .env("MO_ROUTER_AMQP_DECLARE", declare);
    let output = within_reason("check --connect", command.output()).await.unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn queues(broker: &mut RabbitMq, vhost: &str) -> Vec<String> {
    broker.control(&["list_queues", "--no-table-headers", "-p", vhost, "name"])
}

fn uuid() -> String {
    uuid::Uuid::from_u128(7).to_string()
}

/// A queue that the router may not delete is deleted once it may.
#[tokio::test]
async fn the_queue_of_a_removed_plugin_is_deleted_once_that_is_permitted() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let (_, vhost) = scene.url.rsplit_once('/').unwrap();
    let mut router = scene.router("", &[("forward", "")]);
    router.keep("1s", "1s");
    router.start_ready().await;
    // To delete takes the right to configure.
    broker.control(&["set_permissions", "-p", vhost, "guest", "^$", ".*", ".*"]);
    std::fs::remove_file(router.plugin("forward")).unwrap();
    router.logged("the queue of a removed plugin cannot be deleted").await;
    broker.control(&["set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"]);
    router.logged("the queue of a removed plugin is deleted").await;
}
