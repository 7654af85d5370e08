//! What plugins can answer, over AMQP: each event is delivered or a dead letter.

use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Event, Received, assert_ordered, numbered, numbers};

#[tokio::test]
async fn forward_keeps_key_bytes_and_properties() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[("forward", "")]).await;
    let mut event = Event::numbered(7, 100);
    event.properties = lapin::BasicProperties::default()
        .with_content_type("application/json".into())
        .with_correlation_id("c".into())
        .with_priority(3);
    scene.client.publish(MO, [event.clone()]).await;

    let routed = &scene.routed(1).await[0];
    assert_eq!(routed.routing_key, event.key);
    assert_eq!(routed.body, event.body);
    let properties = &routed.properties;
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "c");
    assert_eq!(*properties.priority(), Some(3));
    assert_eq!(*properties.delivery_mode(), Some(2), "what leaves is persistent");
    assert!(properties.message_id().is_some());
    assert_eq!(routed.headers["mo-router-hops"], "1");
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn events_of_all_generations() {
    let scene = Scene::shared().await;
    let _router = scene.run("", &[("forward", "")]).await;
    let uuid = "0174ad1c-7b4c-4b5a-9b1e-2f1a6a1b0c0d";
    let bodies = [
        (
            "employee.it.create",
            format!(r#"{{"uuid": "{uuid}", "time": "2019-03-24T13:02:15.132025"}}"#),
        ),
        (
            "org_unit.owner.terminate",
            format!(r#"{{"uuid": "{uuid}", "time": "2024-07-01 00:00:00+02:00"}}"#),
        ),
        (
            "employee.leave.edit",
            format!(
                r#"{{"uuid": "{uuid}", "object_uuid": "{uuid}", "time": "9999-12-31T23:59:59.999999+00:00"}}"#
            ),
        ),
        (
            "employee.employee.create",
            format!(r#"{{"uuid": "{uuid}", "time": "1880-01-01T00:00:00+00:50:20"}}"#),
        ),
        ("engagement", format!("\"{uuid}\"")),
        ("person", uuid.to_string()),
    ];
    scene.client.publish(MO, bodies.iter().map(|(key, body)| Event::new(key, body.as_str()))).await;
    let routed = scene.routed(bodies.len()).await;
    for (sent, came) in bodies.iter().zip(&routed) {
        assert_eq!((sent.0, sent.1.as_bytes()), (&*came.routing_key, &*came.body));
    }
}

#[tokio::test]
async fn transform_replaces_key_body_and_header() {
    let scene = Scene::shared().await;
    let script = "config = { key = 'changed', body = '{\"number\": 1}', header = 'colour=blue' }";
    let _router = scene.run("", &[("transform", script)]).await;
    let mut event = Event::numbered(0, 1);
    let mut headers = lapin::types::FieldTable::default();
    headers.insert("own".into(), lapin::types::AMQPValue::LongString("kept".into()));
    event.properties = event.properties.with_headers(headers);
    scene.client.publish(MO, [event]).await;

    let routed = &scene.routed(1).await[0];
    assert_eq!((&*routed.routing_key, routed.number()), ("changed", 1));
    assert_eq!((&*routed.headers["colour"], &*routed.headers["own"]), ("blue", "kept"));
}

#[tokio::test]
async fn fan_out_to_two_exchanges() {
    let scene = Scene::shared().await;
    scene.client.exchange("second", true).await;
    scene.client.catch_all("second").await;
    let script = "exchanges = ['routed', 'second']\nconfig.to = 'routed second'";
    let _router = scene.run("", &[("fan-out", script)]).await;
    scene.client.publish(MO, numbered(0..1000)).await;

    let all: std::collections::BTreeSet<u64> = (0..1000).collect();
    assert_eq!(numbers(&scene.routed(1000).await), all);
    assert_eq!(numbers(&scene.client.take("second", 1000).await), all);
}

#[tokio::test]
async fn an_exchange_that_was_not_granted_is_a_dead_letter() {
    let scene = Scene::shared().await;
    let _router = scene.run("", &[("escape", "config.to = 'secret'")]).await;
    scene.client.publish(MO, numbered(0..1)).await;
    let dead = &scene.dead(1).await[0];
    assert!(dead.headers["mo-router-reason"].contains("secret"), "{dead:?}");
}

#[tokio::test]
async fn dropped_events_are_done() {
    let scene = Scene::shared().await;
    let script = "config = { answer = 'drop', only = '\"number\":1' }";
    let mut router = scene.run("", &[("drop", script)]).await;
    // 1, 10 to 19 and 100 to 109 are dropped.
    scene.client.publish(MO, numbered(0..110)).await;
    let routed = scene.routed(89).await;
    assert!(numbers(&routed).iter().all(|number| !number.to_string().starts_with('1')));
    assert!(router.stop().await.success());
    assert_eq!(scene.client.depth("mo-router.drop").await, 0);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn rejected_events_are_dead_letters_with_all_that_is_known() {
    let scene = Scene::shared().await;
    let _router = scene.run("", &[("reject", "config.answer = 'reject'")]).await;
    let event = Event::numbered(5, 100);
    scene.client.publish(MO, [event.clone()]).await;

    let dead = &scene.dead(1).await[0];
    assert_eq!(dead.body, event.body);
    for (header, expected) in [
        ("mo-router-reason", "told to reject"),
        ("mo-router-plugin", "reject"),
        ("mo-router-attempts", "1"),
        ("mo-router-kind", "event"),
        ("mo-router-exchange", MO),
        ("mo-router-routing-key", "employee.engagement.edit"),
    ] {
        assert_eq!(dead.headers[header], expected, "{header}");
    }
    assert!(!dead.headers["mo-router-version"].is_empty());
}

#[tokio::test]
async fn retries_until_the_attempts_are_spent() {
    for answer in ["retry", "trap"] {
        let scene = Scene::shared().await;
        let script = format!(
            "limits.attempts = 2\nconfig = {{ answer = '{answer}', only = '\"number\":7,' }}"
        );
        let _router = scene.run("", &[("fails", &script)]).await;
        scene.client.publish(MO, numbered(0..10)).await;

        let dead = &scene.dead(1).await[0];
        assert_eq!((dead.number(), &*dead.headers["mo-router-attempts"]), (7, "2"), "{answer}");
        assert_eq!(numbers(&scene.routed(9).await).len(), 9, "{answer}");
    }
}

#[tokio::test]
async fn what_fails_at_first_is_delivered_in_the_end() {
    let scene = Scene::shared().await;
    let script =
        "limits.attempts = 3\nconfig = { answer = 'retry', only = '\"number\":3,', attempts = 2 }";
    let _router = scene.run("", &[("flaky", script)]).await;
    // All of one person, so that those after it must wait.
    scene.client.publish(MO, (0..6).map(|number| Event::numbered(number, 1))).await;
    let routed: Vec<u64> = scene.routed(6).await.iter().map(Received::number).collect();
    assert_eq!(routed, [0, 1, 2, 3, 4, 5]);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn unroutable_publications_are_dead_letters() {
    let scene = Scene::shared().await;
    scene.client.exchange("nobody-listens", true).await;
    let script = "exchanges = ['nobody-listens']\nconfig.to = 'nobody-listens'";
    let _router = scene.run("", &[("lost", script)]).await;
    scene.client.publish(MO, numbered(0..50)).await;
    let dead = scene.dead(50).await;
    assert_eq!(numbers(&dead).len(), 50);
    assert_eq!(dead[0].headers["mo-router-kind"], "publication");
    assert_eq!(dead[0].headers["mo-router-exchange"], "nobody-listens");
}

#[tokio::test]
async fn of_many_under_way_just_the_unroutable_ones_are_dead_letters() {
    let scene = Scene::shared().await;
    scene.client.exchange("nobody-listens", true).await;
    let script = "exchanges = ['nobody-listens', 'routed']\nconfig.to = 'routed nobody-listens'";
    let _router = scene.run("", &[("half-lost", script)]).await;
    scene.client.publish(MO, numbered(0..2000)).await;
    assert_eq!(numbers(&scene.routed(2000).await).len(), 2000);
    let dead = scene.dead(2000).await;
    assert_eq!(numbers(&dead).len(), 2000);
    assert!(dead.iter().all(|letter| letter.headers["mo-router-exchange"] == "nobody-listens"));
    assert_eq!(scene.client.depth("mo-router.half-lost").await, 0);
}

#[tokio::test]
async fn unroutable_publications_can_be_ignored() {
    let scene = Scene::shared().await;
    scene.client.exchange("nobody-listens", true).await;
    let script = "exchanges = ['nobody-listens', 'routed']\nconfig.to = 'nobody-listens routed'";
    let mut router = scene.run("unroutable = 'ignore'", &[("half-lost", script)]).await;
    scene.client.publish(MO, numbered(0..50)).await;
    assert_eq!(numbers(&scene.routed(50).await).len(), 50);
    assert!(router.stop().await.success());
    assert_eq!(scene.client.depth("mo-router.half-lost").await, 0);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn what_is_no_event_is_a_dead_letter_with_a_reason() {
    let scene = Scene::shared().await;
    let _router = scene.run("", &[("forward", "")]).await;
    let broken = [
        ("employee.it.create", "not JSON", "JSON"),
        ("employee.it.create", r#"{"time": "2024-07-01T00:00:00+02:00"}"#, "uuid"),
        (
            "employee.it.create",
            r#"{"uuid": "0174ad1c-7b4c-4b5a-9b1e-2f1a6a1b0c0d", "time": "soon"}"#,
            "soon",
        ),
        ("employee.it", r#"{"uuid": "0174ad1c-7b4c-4b5a-9b1e-2f1a6a1b0c0d"}"#, "employee.it"),
    ];
    scene.client.publish(MO, broken.iter().map(|(key, body, _)| Event::new(key, *body))).await;
    scene.client.publish(MO, numbered(0..1)).await;
    for ((key, body, hint), dead) in broken.iter().zip(scene.dead(broken.len()).await) {
        assert_eq!((body.as_bytes(), *key), (&*dead.body, &*dead.headers["mo-router-routing-key"]));
        assert!(dead.headers["mo-router-reason"].contains(hint), "{dead:?}");
    }
    assert_eq!(numbers(&scene.routed(1).await), [0].into());
}

#[tokio::test]
async fn a_reason_that_fits_no_frame_is_shortened() {
    let scene = Scene::shared().await;
    let _router =
        scene.run("", &[("wordy", "config = { answer = 'reject', words = 20000 }")]).await;
    scene.client.publish(MO, numbered(0..1)).await;
    let reason = &scene.dead(1).await[0].headers["mo-router-reason"];
    assert!(reason.starts_with("told to reject") && reason.len() < 5000, "{}", reason.len());
    let length = 20_000 * "told to reject ".len() - 1;
    assert!(reason.ends_with(&format!("… ({length} bytes)")), "{reason}");
}

#[tokio::test]
async fn a_dead_letter_that_no_queue_takes_is_not_lost() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("reject", "config.answer = 'reject'")]).await;
    scene.client.delete(DEAD).await;
    scene.client.publish(MO, numbered(0..3)).await;
    router.logged("dead letters of reject are not taken, and wait").await;
    // The queue is made again, and no session ends for that.
    router.logged("dead letters of reject are taken again").await;
    assert_eq!(numbers(&scene.dead(3).await).len(), 3);
    assert_eq!(router.count_logged("plugin consumes"), 1);
}

#[tokio::test]
async fn messages_that_come_back_as_events_end_as_dead_letters() {
    let scene = Scene::shared().await;
    let _router =
        scene.run("max_hops = 4", &[("echo", "exchanges = ['os2mo']\nconfig.to = 'os2mo'")]).await;
    scene.client.publish(MO, numbered(0..1)).await;
    let dead = &scene.dead(1).await[0];
    assert!(dead.headers["mo-router-reason"].contains("max_hops"), "{dead:?}");
    assert_eq!(dead.headers["mo-router-hops"], "5");
}

#[tokio::test]
async fn order_is_kept_for_each_person() {
    let scene = Scene::shared().await;
    let plugins =
        [("one-lane", ""), ("four-lanes", "lanes = 4\nexchanges = ['lanes']\nconfig.to = 'lanes'")];
    scene.client.exchange("lanes", true).await;
    scene.client.catch_all("lanes").await;
    let _router = scene.run("", &plugins).await;
    scene.client.publish(MO, numbered(0..10_000)).await;
    for queue in [ROUTED, "lanes"] {
        let routed = scene.client.take(queue, 10_000).await;
        assert_eq!(numbers(&routed).len(), 10_000, "{queue}");
        assert_ordered(&routed);
    }
}

#[tokio::test]
async fn a_plugin_that_always_fails_holds_back_no_other() {
    let scene = Scene::shared().await;
    let bad = ("bad", "limits.attempts = 2\nconfig.answer = 'trap'");
    let mut router = scene.run("", &[("good", ""), bad]).await;
    scene.client.publish(MO, numbered(0..5000)).await;
    let routed = scene.routed(5000).await;
    assert_eq!(numbers(&routed).len(), 5000);
    assert_ordered(&routed);
    // The bad one has begun, and is not done: whatever it was given is still in its
    // queue, or dead.
    router.status_until("bad", |plugin| plugin["state"] == "suspended").await;
    // What it is tried with is not counted as waiting.
    assert!(router.stop().await.success());
    let held = || async {
        let waiting = scene.client.depth("mo-router.bad").await;
        (waiting + scene.client.depth(DEAD).await == 5000).then_some(waiting)
    };
    assert!(crate::support::ask_until("its events", held).await > 4000);
}

#[tokio::test]
async fn many_failing_events_of_one_person_leave_room_for_others() {
    const OF_ONE: u64 = 60;
    for queue_type in ["quorum", "classic"] {
        let scene = Scene::shared().await;
        // The first event never succeeds while the test lasts.
        let script = "limits.attempts = 100\nconfig = { answer = 'retry', only = '\"number\":0,' }";
        let lines = format!("prefetch = 20\nqueue_type = '{queue_type}'");
        let _router = scene.run(&lines, &[("forward", script)]).await;
        scene.client.publish(MO, (0..OF_ONE).map(|number| Event::numbered(number, 1))).await;
        let others = (OF_ONE..OF_ONE + 500).map(|number| Event::numbered(number, u64::MAX));
        scene.client.publish(MO, others).await;
        let routed = scene.routed(500).await;
        assert_eq!(numbers(&routed), (OF_ONE..OF_ONE + 500).collect());
    }
}
