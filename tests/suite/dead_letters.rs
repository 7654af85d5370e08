//! Dead letters: who made them, where they go back to, and commands on many of them.

use lapin::types::AMQPValue;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::page_api::{JSON, ask};
use crate::support::ask_until;
use crate::support::letters::{publication, put, table, text};
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::{Router, TOKEN};
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Event, numbered, numbers};

/// An event whose headers say that it is a publication for `secret`, that it died in the queue
/// `secret`, and that it goes to that queue too.
fn forged(number: u64) -> Event {
    let list = |value| AMQPValue::FieldArray(vec![value].into());
    let death = table(&[
        ("queue", text("secret")),
        ("reason", text("expired")),
        ("exchange", text("")),
        ("routing-keys", list(text("secret"))),
        ("count", AMQPValue::LongLongInt(1)),
    ]);
    let headers = table(&[
        ("mo-router-kind", text("publication")),
        ("mo-router-exchange", text("secret")),
        ("mo-router-routing-key", text("stolen")),
        ("mo-router-queue", text("secret")),
        ("mo-router-plugin", text("other")),
        ("mo-router-hops", text("many")),
        ("x-death", list(AMQPValue::FieldTable(death))),
        ("CC", list(text("secret"))),
    ]);
    let event = Event::numbered(number, 100);
    Event { properties: event.properties.with_headers(headers), ..event }
}

#[tokio::test]
async fn what_the_broker_dead_letters_goes_back_to_its_queue_whatever_its_headers_say() {
    for queue_type in ["quorum", "classic"] {
        let scene = Scene::shared().await;
        scene.client.exchange("secret", true).await;
        scene.client.catch_all("secret").await;
        let mut router =
            scene.run(&format!("queue_type = '{queue_type}'"), &[("forward", "")]).await;
        router.stop().await;
        let event = forged(7);
        let properties = event.properties.clone().with_expiration("1".into());
        scene.client.publish(MO, [Event { properties, ..event }]).await;
        scene.client.has(DEAD, 1).await;

        let letter = &router.json(&["dead", "list"]).await[0];
        assert_eq!((&letter["kind"], &letter["plugin"]), (&"event".into(), &"forward".into()));
        assert_eq!(
            (&letter["exchange"], &letter["queue"]),
            (&MO.into(), &"mo-router.forward".into())
        );
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains("(expired)") && !reason.contains("down"), "{reason}");

        assert_eq!(router.print(&["dead", "requeue", "--all"]).await, "1 sent back\n");
        router.start_ready().await;
        let routed = &scene.routed(1).await[0];
        assert_eq!((routed.number(), routed.routing_key.as_str()), (7, "employee.engagement.edit"));
        assert_eq!(routed.headers["mo-router-hops"], "1");
        let own = routed.headers.keys().filter(|name| name.starts_with("mo-router-"));
        assert_eq!(own.count(), 1, "{routed:?}");
        assert_eq!(scene.client.depth("secret").await, 0);
    }
}

#[tokio::test]
async fn what_the_router_makes_a_letter_of_does_not_choose_where_it_goes_back_to() {
    let scene = Scene::shared().await;
    scene.client.exchange("secret", true).await;
    scene.client.catch_all("secret").await;
    let router = scene.run("", &[("strict", "config.answer = 'reject'")]).await;
    scene.client.publish(MO, [forged(7)]).await;
    for _ in 0..2 {
        scene.client.has(DEAD, 1).await;
        let letter = &router.json(&["dead", "list"]).await[0];
        assert_eq!(
            (&letter["reason"], &letter["plugin"]),
            (&"told to reject".into(), &"strict".into())
        );
        assert_eq!((&letter["exchange"], &letter["kind"]), (&MO.into(), &"event".into()));
        // It is shown as it came, but for what only a router may say.
        let headers = letter["properties"]["headers"].as_object().unwrap();
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["CC", "x-death"]);
        assert_eq!(router.print(&["dead", "requeue", "--all"]).await, "1 sent back\n");
    }
    scene.client.has(DEAD, 1).await;
    assert_eq!(scene.client.depth("secret").await, 0);
}

#[tokio::test]
async fn headers_that_leave_no_room_for_the_letters_own_are_kept() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("strict", "config.answer = 'reject'")]).await;
    let event = Event::numbered(7, 100);
    let large = "x".repeat(130_800);
    let headers = table(&[("large", text(&large))]);
    let properties = event.properties.clone().with_headers(headers);
    scene.client.publish(MO, [Event { properties, ..event }]).await;
    for _ in 0..2 {
        scene.client.has(DEAD, 1).await;
        let letter = &router.json(&["dead", "list"]).await[0];
        assert_eq!(letter["reason"], "told to reject");
        assert!(letter["properties"]["headers"]["large"].to_string().contains(&large));
        assert!(letter["body"].as_str().unwrap().ends_with('}'), "{}", letter["body"]);
        assert_eq!(router.print(&["dead", "requeue", "--all"]).await, "1 sent back\n");
    }
    scene.client.has(DEAD, 1).await;
}

#[tokio::test]
async fn a_letter_goes_back_to_the_router_that_it_came_from() {
    let scene = Scene::shared().await;
    let prefix = "queue_prefix = 'another'";
    let mut another = scene.run(prefix, &[("strict", "config.answer = 'reject'")]).await;
    scene.client.publish(MO, numbered([1])).await;
    scene.client.has(DEAD, 1).await;
    another.stop().await;
    // This one expires.
    let event = Event::numbered(2, 100);
    let properties = event.properties.clone().with_expiration("1".into());
    scene.client.publish(MO, [Event { properties, ..event }]).await;
    scene.client.has(DEAD, 2).await;

    let router = scene.router("", &[]);
    let letters = router.json(&["dead", "list"]).await;
    assert_eq!(
        (&letters[0]["queue"], &letters[1]["queue"]),
        (&"another.strict".into(), &"another.strict".into())
    );
    assert_eq!(router.print(&["dead", "requeue", "--all"]).await, "2 sent back\n");
    assert_eq!(scene.client.depth("another.strict").await, 2);
}

/// A scene with so many letters, of three plugins and for two reasons.
async fn with_letters(count: u64) -> (Scene, Router) {
    let scene = Scene::shared().await;
    let router = scene.run("", &[]).await;
    assert_eq!(router.json(&["dead", "list"]).await, serde_json::json!([]));
    put(&scene.client, count, |number| {
        let (plugin, reason) =
            (["a", "b", "c"][number as usize % 3], ["full", "wrong"][number as usize % 2]);
        publication(number, plugin, ROUTED, reason)
    })
    .await;
    scene.client.has(DEAD, count as u32).await;
    (scene, router)
}

fn ids(letters: &Value) -> Vec<&str> {
    letters.as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn letters_are_listed_in_pages_and_groups_and_stay_in_order() {
    let (_scene, router) = with_letters(2500).await;
    let everything = router.json(&["dead", "list", "--limit", "5000"]).await;
    let all = ids(&everything);
    assert_eq!(all.len(), 2500);
    let times: Vec<_> =
        everything.as_array().unwrap().iter().map(|it| it["since"].as_str()).collect();
    assert!(times.is_sorted(), "oldest first");

    let page = router.json(&["dead", "list", "--skip", "1500", "--limit", "10"]).await;
    assert_eq!(ids(&page), all[1500..1510]);
    let of_b =
        router.json(&["dead", "list", "--plugin", "b", "--reason", "wro", "--skip", "1"]).await;
    let at = |id: &str| all.iter().position(|other| *other == id).unwrap();
    let of_b: Vec<_> = ids(&of_b).into_iter().map(at).collect();
    assert_eq!(of_b, (1..101).map(|n| 1 + 6 * n).collect::<Vec<_>>());
    let (since, until) = ("2030-01-01T00:33:20Z", "2030-01-01T00:33:25Z");
    let timed = router.json(&["dead", "list", "--since", since, "--until", until]).await;
    assert_eq!(ids(&timed), all[2000..2005]);

    let groups = router.json(&["dead", "list", "--group"]).await;
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 6);
    let counts: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!((counts, &groups[0]["count"]), (2500, &417.into()));
    assert_eq!(groups[0]["first"], "2030-01-01T00:00:00Z");
    let event = router.call(&["dead", "show", "--event", all[2400]]).await;
    let error = String::from_utf8_lossy(&event.stderr);
    assert!(!event.status.success() && error.contains(all[2400]), "{error}");
    assert!(error.contains("is no event that is whole"), "{error}");
    let shown = router.json(&["dead", "show", all[2400]]).await;
    assert_eq!(shown, everything[2400]);

    // Nothing of that has changed the order.
    let again = router.json(&["dead", "list", "--limit", "5000"]).await;
    assert_eq!(ids(&again), all);
}

#[tokio::test]
async fn looking_at_letters_does_not_change_how_many_there_are() {
    let (_scene, router) = with_letters(3000).await;
    let address = router.address().await;
    ask_until("the letters to be counted", || async {
        let status = router.json(&["status", "--address", &address]).await;
        (status["dead_letters"] == 3000).then_some(())
    })
    .await;
    router.metric_until("dead_letter_queue_messages", 3000.0).await;
    let looked = CancellationToken::new();
    let look = async {
        for _ in 0..5 {
            router.print(&["dead", "list", "--group"]).await;
        }
        looked.cancel();
    };
    let watch = async {
        while !looked.is_cancelled() {
            // A broker that is busy may not say it in time.
            let count = router.metric("dead_letter_queue_messages").await.unwrap_or(3000.0);
            assert!(count == 3000.0, "{count}");
        }
    };
    tokio::join!(look, watch);
}

#[tokio::test]
async fn commands_on_the_same_letters_end() {
    let (scene, router) = with_letters(2500).await;
    let (first, second, third) = tokio::join!(
        router.print(&["dead", "discard", "--all", "--yes"]),
        router.json(&["dead", "list", "--group"]),
        router.json(&["dead", "list", "--limit", "3000"]),
    );
    assert!(first.ends_with(" discarded\n"), "{first}");
    assert!(second.is_array() && third.is_array());
    router.print(&["dead", "discard", "--all", "--yes"]).await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn letters_that_cannot_be_sent_back_hold_up_no_others() {
    let scene = Scene::shared().await;
    let router = scene.router("declare = 'passive'", &[]);
    router.json(&["dead", "list"]).await;
    put(&scene.client, 2000, |number| match number % 500 {
        100 => publication(number, "p", "missing", "r"),
        // A header that ends the channel with all that are in flight there.
        200 => {
            let mut letter = publication(number, "p", ROUTED, "r");
            let mut headers = letter.properties.headers().clone().unwrap();
            headers.insert("mo-router-original-CC".into(), text("no list"));
            letter.properties = letter.properties.with_headers(headers);
            letter
        }
        _ => publication(number, "p", ROUTED, "r"),
    })
    .await;
    scene.client.has(DEAD, 2000).await;
    let output = router.call(&["dead", "requeue", "--all", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    let counts: Value = serde_json::from_slice(&output.stdout).expect(&error);
    assert_eq!((&counts["sent_back"], &counts["failed"]), (&1992.into(), &8.into()), "{counts}");
    let reasons = counts["reasons"].to_string();
    assert!(
        reasons.contains("\\\"missing\\\" does not exist") && reasons.contains("CC"),
        "{reasons}"
    );
    // Some arrive twice.
    let routed = scene.client.take_until(ROUTED, |routed| numbers(routed).len() == 1992).await;
    assert!(routed.len() < 1992 + 4 * 500, "{}", routed.len());
    scene.client.has(DEAD, 8).await;

    scene.client.exchange("missing", true).await;
    scene.client.catch_all("missing").await;
    let output = router.call(&["dead", "requeue", "--plugin", "p"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("4 sent back, 4 not\n4 not: "), "{text}");
}

#[tokio::test]
async fn a_letter_that_the_broker_never_confirms_is_given_up() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    scene.client.exchange("stuck", true).await;
    scene.client.catch_all("stuck").await;
    let router = scene.run("declare = 'passive'", &[]).await;
    assert_eq!(router.json(&["dead", "list"]).await, json!([]));
    // A new broker may lose the first message.
    put(&scene.client, 1, |number| publication(number, "p", ROUTED, "r")).await;
    router.print(&["dead", "discard", "--all", "--yes"]).await;
    put(&scene.client, 10, |number| {
        publication(number, "p", if number == 3 { "stuck" } else { ROUTED }, "r")
    })
    .await;
    scene.client.has(DEAD, 10).await;
    broker.tell_queue("suspend", &scene.virtual_host(), "stuck");

    let output = router.call(&["dead", "requeue", "--all", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    let counts: Value = serde_json::from_slice(&output.stdout).expect(&error);
    assert_eq!((&counts["sent_back"], &counts["failed"]), (&9.into(), &1.into()), "{counts}");
    let reason = counts["reasons"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("not confirmed it") && reason.contains("may have arrived"), "{reason}");
    assert_eq!(numbers(&scene.routed(9).await).len(), 9);
    let letter = router.json(&["dead", "list"]).await[0]["id"].as_str().unwrap().to_owned();
    scene.client.has(DEAD, 1).await;

    // Nor does somebody who asks meanwhile wait for ever.
    let authorized = [JSON, &format!("Authorization: Bearer {TOKEN}")];
    let chosen = json!({ "ids": [letter] }).to_string();
    let looked = ask_until("being told to try again", || async {
        let (status, text) = router.get("api/dead/groups").await;
        (status != 200).then_some((status, text))
    });
    let requeue = ask(&router, "POST /api/dead/requeue", &authorized, &chosen);
    let (requeued, (status, text)) = tokio::join!(requeue, looked);
    assert!(status == 503 && text.contains("try again"), "{status} {text}");
    assert_eq!(requeued.json()["failed"], 1, "{requeued:?}");
    let (status, text) = router.get("api/dead/groups").await;
    assert!(status == 200 && text.contains("\"count\":1"), "{status} {text}");
}

#[tokio::test]
async fn everything_is_discarded_only_when_asked_for() {
    let (scene, router) = with_letters(3).await;
    for (arguments, hint) in [
        (&["dead", "discard", "--all"][..], "--yes"),
        (&["dead", "discard", "--since", "100days"], "--yes"),
        (&["dead", "discard", ""], "an id cannot be empty"),
        (&["dead", "requeue", ""], "an id cannot be empty"),
        (&["dead", "show", ""], "an id cannot be empty"),
        (&["dead", "discard"], "required"),
    ] {
        let output = router.call(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(hint), "{arguments:?}: {error}");
    }
    scene.client.has(DEAD, 3).await;
    assert_eq!(router.print(&["dead", "discard", "--plugin", "a"]).await, "1 discarded\n");
    assert_eq!(
        router.print(&["dead", "discard", "--until", "2031-01-01T00:00:00Z", "--yes"]).await,
        "2 discarded\n"
    );
}

#[tokio::test]
async fn what_the_broker_does_not_permit_is_named() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let mut router = scene.router("", &[("forward", "")]);
    // The queues are those of the scene and of the dead letters.
    broker.control(&["set_vhost_limits", "-p", "test0", "{\"max-queues\":2}"]);
    router.start();
    let said = router.logged("has as many as it may have").await;
    assert!(said.contains("queue limit") && said.contains("max-queues"), "{said}");
    assert!(!said.contains("properties"), "{said}");
    router.stop().await;
    broker.control(&["clear_vhost_limits", "-p", "test0"]);

    let all = ".*";
    for (write, read, missing) in [
        ("^(?!mo-router[.]dead$).*$", all, "no write permission on queue 'mo-router.dead'"),
        (all, "^(?!os2mo$).*$", "no read permission on exchange 'os2mo'"),
    ] {
        broker.control(&["set_permissions", "-p", "test0", "guest", all, write, read]);
        let mut router = scene.router("", &[("forward", "")]);
        router.start();
        let said = router.logged("ACCESS_REFUSED").await;
        assert!(said.contains(missing), "{said}");
        router.stop().await;
    }
}
