//! The consumer that MO's documentation gives, behind mo-delay: what took the
//! place of mo-delay-agent.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mo_router::event::Datetime;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::{Event, numbered};
use crate::support::{plugins, within_reason};

/// The folder of a Python that has pika, made on first use.
pub async fn python() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/python.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().await.unwrap();
    assert!(output.status.success(), "no Python with pika");
    format!("{}/python3", String::from_utf8(output.stdout).unwrap().trim())
}

#[tokio::test]
async fn the_consumer_in_python_prints_what_falls_due() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    router.add_file("mo-delay", &plugins::built(Path::new("examples/mo-delay")));
    router.start_ready().await;
    let consumer = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/consumer.py");
    let mut consumer = Command::new(python().await)
        .args([consumer, "--exchange", ROUTED, "--queue", ROUTED, "--count", "12"])
        .env("AMQP_URL", &scene.url)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines();

    let uuid = "0174ad1c-7b4c-4b5a-9b1e-2f1a6a1b0c0d";
    let event = |time: &str| {
        Event::new("employee.it.create", format!(r#"{{"uuid": "{uuid}", "time": "{time}"}}"#))
    };
    let far = event("9999-12-31T00:00:00+00:00");
    let no_time = Event::new("engagement", format!("\"{uuid}\""));
    scene.client.publish(MO, [far].into_iter().chain(numbered(0..10)).chain([no_time])).await;
    let mut printed = Vec::new();
    while printed.len() < 11 {
        let line = within_reason("a line of the consumer", lines.next_line()).await.unwrap();
        printed.push(line.expect("the consumer goes on"));
    }
    assert!(
        printed[10].starts_with("engagement "),
        "what has passed is sent at once, in order: {printed:?}"
    );
    assert!(!printed.iter().any(|line| line.contains("9999-12-31T00")), "{printed:?}");

    let soon = Datetime::now().saturating_add(Duration::from_secs(2));
    scene.client.publish(MO, [event(&soon.to_string())]).await;
    let line = within_reason("a line of the consumer", lines.next_line()).await.unwrap().unwrap();
    assert!(Datetime::now() >= soon, "sent before it was due");
    assert!(line.contains(&soon.to_string()), "{line}");
    assert!(within_reason("the consumer to end", consumer.wait()).await.unwrap().success());
    assert_eq!(lines.next_line().await.unwrap(), None);
}
