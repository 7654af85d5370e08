//! Messages that the client library cannot read: each is one dead letter, and nobody
//! else notices.

use std::process::Stdio;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::memory::memory;
use crate::support::rabbitmq::RabbitMq;
use crate::support::raw::{Publisher, Raw, correlation_id, header, nested, short};
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::{Event, numbered, numbers};
use crate::support::{ask_until, within_reason};

/// Event `number` about `person`, with this key and these properties.
fn poison(number: u64, key: &[u8], properties: Vec<u8>) -> Raw {
    Raw { key: key.to_vec(), properties, body: Event::numbered(number, 100).body }
}

/// An event of each kind, and what its dead letter says of it.
pub fn poisons() -> [(Raw, &'static str); 4] {
    let key = b"employee.it.terminate";
    [
        (
            poison(1001, key, correlation_id(&[0xff; 16])),
            "the property correlation_id is not UTF-8",
        ),
        (poison(1002, b"employee.bl\xe5.terminate", Vec::new()), "the routing key is not UTF-8"),
        (poison(1003, key, header(b"bl\xe5", b'S', b"x")), "the name of a header is not UTF-8"),
        (
            poison(1004, key, header(b"deep", b'F', &nested(1000))),
            "the header \"deep\" is nested more than 32 levels deep",
        ),
    ]
}

/// Publishes to MO's exchange, on a connection of its own.
pub async fn publish(url: &str, messages: Vec<Raw>) {
    let url = url.to_owned();
    let publish = move || {
        let mut publisher = Publisher::connect(&url);
        messages.iter().for_each(|message| publisher.publish(MO, message));
    };
    tokio::task::spawn_blocking(publish).await.unwrap();
}

/// Waits for so many dead letters, and gives them sorted by their reasons.
async fn letters(scene: &Scene, router: &Router, count: usize) -> Vec<Value> {
    let depth = || async { (scene.client.depth(DEAD).await as usize == count).then_some(()) };
    ask_until("the dead letters", depth).await;
    let Value::Array(mut letters) = router.json(&["dead", "list"]).await else { panic!() };
    assert_eq!(letters.len(), count);
    letters.sort_by_key(|letter| letter["body"].to_string());
    letters
}

fn assert_are_poisons(letters: &[Value]) {
    for (letter, (raw, reason)) in letters.iter().zip(poisons()) {
        assert_eq!(letter["reason"].as_str().unwrap().find(reason), Some(12), "{letter}");
        assert_eq!(letter["body"].as_str().unwrap().as_bytes(), raw.body);
        assert_eq!(letter["routing_key"], *String::from_utf8_lossy(&raw.key));
        assert_eq!((&letter["exchange"], &letter["kind"]), (&MO.into(), &"event".into()));
        if let Some(original) = letter["unreadable"].as_str() {
            // When it has been sent back, it is persistent; nothing else changes.
            let original = BASE64_STANDARD.decode(original).unwrap();
            let content = &raw.properties[2..];
            assert!(original.windows(content.len()).any(|part| part == content), "{letter}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_the_rest_goes_on() {
    for queue_type in ["quorum", "classic"] {
        let scene = Scene::shared().await;
        let lines = format!("queue_type = '{queue_type}'");
        let router =
            scene.run(&lines, &[("forward", ""), ("other", "config.answer = 'drop'")]).await;
        scene.client.publish(MO, numbered(0..50)).await;
        publish(&scene.url, poisons().map(|(raw, _)| raw).into()).await;
        scene.client.publish(MO, numbered(50..100)).await;

        assert_eq!(numbers(&scene.routed(100).await), (0..100).collect());
        // Both plugins have got each.
        let all = letters(&scene, &router, 8).await;
        let (one, two): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|letter| letter["plugin"] == "forward");
        assert_are_poisons(&one);
        assert_are_poisons(&two);

        for letter in &one {
            let shown = router.json(&["dead", "show", letter["id"].as_str().unwrap()]).await;
            assert_eq!(shown, *letter);
        }
        router.print(&["dead", "discard", "--plugin", "other"]).await;
        assert_are_poisons(&letters(&scene, &router, 4).await);
        // Sent back as they were, they still cannot be read.
        let sent = router.print(&["dead", "requeue", "--all"]).await;
        assert_eq!(sent, "4 sent back\n");
        assert_are_poisons(&letters(&scene, &router, 4).await);
        assert_eq!(router.print(&["dead", "discard", "--all", "--yes"]).await, "4 discarded\n");

        scene.client.publish(MO, numbered(100..110)).await;
        assert_eq!(numbers(&scene.routed(10).await), (100..110).collect());
        assert_eq!(scene.client.depth(DEAD).await, 0);
        assert_eq!(scene.client.depth("mo-router.forward").await, 0);
    }
}

#[tokio::test]
async fn what_cannot_be_read_stays_a_dead_letter_where_its_queue_is_gone() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[("forward", "")]).await;
    publish(&scene.url, poisons().map(|(raw, _)| raw).into()).await;
    letters(&scene, &router, 4).await;
    router.stop().await;
    scene.client.delete("mo-router.forward").await;

    let output = router.call(&["dead", "requeue", "--all"]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("0 sent back, 4 not\n4 not: no queue is bound"), "{text}");
    assert_are_poisons(&letters(&scene, &router, 4).await);
}

#[tokio::test]
async fn what_the_broker_gives_up_need_not_be_readable() {
    let scene = Scene::shared().await;
    let mut router = scene.run("", &[("forward", "")]).await;
    router.stop().await;
    // To expire at once, and with headers that the router's own fit beside in a frame, and
    // the broker's do not.
    let mut expiring = poisons().map(|(raw, _)| raw);
    expiring[0].properties = [&[0x05, 0], &short(&[0xff; 16])[..], &short(b"1")].concat();
    let large = header(b"large", b'S', &[b'x'; 130_880]);
    expiring[3].properties = [&[0x21, 0], &large[2..], &short(b"1")].concat();
    let [id, _, _, large] = expiring;
    publish(&scene.url, vec![id, large]).await;

    let letters = letters(&scene, &router, 2).await;
    for letter in &letters {
        assert_eq!((&letter["plugin"], &letter["exchange"]), (&"forward".into(), &MO.into()));
        assert_eq!(letter["routing_key"], "employee.it.terminate");
        assert!(letter["unreadable"].is_string(), "{letter}");
    }
    router.print(&["dead", "requeue", "--all"]).await;
    router.start_ready().await;
    // The id is no text still; the headers can be read without those of the broker.
    let dead = scene.dead(1).await;
    assert!(dead[0].headers["mo-router-reason"].contains("correlation_id"), "{dead:?}");
    assert_eq!(dead[0].number(), 1001);
    router.stop().await;
}

#[tokio::test]
async fn tail_shows_what_can_be_read() {
    let scene = Scene::shared().await;
    let router = scene.router("", &[]);
    let mut tail = router.command(&["tail", "--count", "4"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap()).lines();
    let listening = within_reason("the tail", said.next_line()).await.unwrap().unwrap();
    assert!(listening.contains("listening"), "{listening}");
    publish(&scene.url, poisons().map(|(raw, _)| raw).into()).await;
    let output = within_reason("the end of the tail", tail.wait_with_output()).await.unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 4);
    assert!(lines.contains("employee.bl\u{fffd}.terminate"), "{lines}");
}

/// The router agrees on frames of 128 KiB with it: lapin makes room for 64 of the largest, in two
/// buffers, on each connection. A header may be larger all the same.
#[tokio::test]
async fn a_broker_without_a_limit_of_frames_is_one_like_others() {
    let start = || RabbitMq::configured("frame_max = 0", "");
    let broker = tokio::task::spawn_blocking(start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let router = scene.run("", &[("forward", "")]).await;
    scene.client.publish(MO, numbered(0..100)).await;
    let large = header(b"large", b'S', &[b'x'; 200 << 10]);
    publish(&scene.url, vec![poison(1001, b"employee.it.terminate", large)]).await;
    scene.client.publish(MO, numbered(100..200)).await;
    assert_eq!(numbers(&scene.routed(200).await), (0..200).collect());
    let found = letters(&scene, &router, 1).await;
    let reason = found[0]["reason"].as_str().unwrap();
    assert!(reason.contains("more than the 131072 of this connection"), "{reason}");
    let kept = found[0]["properties"]["headers"]["large"]["Text"].as_str().map(str::len);
    assert_eq!(kept, Some(200 << 10), "{}", found[0]["properties"].to_string().len());
    let most = memory(router.id(), "VmHWM:") >> 20;
    assert!(most < 1000, "{most} MiB");
}
