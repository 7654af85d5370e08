//! mo-delay-agent replaced by the router, and back, by `deploy/mo-delay-agent/switch.sh`, while
//! events come in, with the settings of docs/replacing-mo-delay-agent.md. Everything is counted by
//! its number at a consumer of the delayed exchange.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use mo_router::event::Datetime;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::ports::free_port;
use crate::support::postgres::Server;
use crate::support::router::{ROUTER, Router};
use crate::support::scene::{DEAD, MO, Scene};
use crate::support::traffic::{Client, Event};
use crate::support::{ask_until, plugins, within_reason};

/// The exchange that the agent sends to, which it declares as not durable.
const DELAYED: &str = "os2mo_delayed";

/// The password in the URL of the agent's database, which the server does not ask for.
const PASSWORD: &str = "hunter2";

/// What the script finds as `mo-router`: it notes its arguments, which everybody on the machine sees.
const NOTING: &str = r#"() { echo "$*" >>arguments; command mo-router "$@"; }"#;

/// What the agent does: it listens with an exclusive queue, keeps each message in its table until
/// the time in it, drops what has no time or one that has passed, and sends without confirms what
/// is due, a hundred messages at a time.
struct Agent {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Agent {
    /// It listens when this returns.
    async fn start(broker: &str, database: &str) -> Self {
        let connection =
            Connection::connect(broker, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue =
            channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
        let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.name().clone(), MO.into(), "#".into(), bind, none).await.unwrap();
        let consume = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let mut events = channel
            .basic_consume(queue.name().clone(), "".into(), consume, FieldTable::default())
            .await
            .unwrap();
        let (client, postgres) = tokio_postgres::connect(database, NoTls).await.unwrap();
        tokio::spawn(postgres);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let running = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(500));
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    Some(event) = events.next() => {
                        let event = event.unwrap();
                        let body = String::from_utf8(event.data).unwrap();
                        let time = serde_json::from_str::<serde_json::Value>(&body).unwrap();
                        let time: Datetime = time["time"].as_str().unwrap().parse().unwrap();
                        if time > Datetime::now() {
                            let sql = "INSERT INTO messages (message, topic, produce_at)
                                       VALUES ($1, $2, $3::text::timestamptz)";
                            let (topic, time) = (event.routing_key.to_string(), time.to_string());
                            client.execute(sql, &[&body, &topic, &time]).await.unwrap();
                        }
                    }
                    _ = tick.tick() => {
                        let due = "SELECT id, message, topic FROM messages
                                   WHERE produce_at <= now() ORDER BY produce_at LIMIT 100";
                        for row in client.query(due, &[]).await.unwrap() {
                            let (message, topic): (String, String) = (row.get(1), row.get(2));
                            let (options, properties) =
                                (BasicPublishOptions::default(), BasicProperties::default());
                            channel
                                .basic_publish(DELAYED.into(), topic.into(), options, message.as_bytes(), properties)
                                .await
                                .unwrap();
                            client
                                .execute("DELETE FROM messages WHERE id = $1", &[&row.get::<_, i32>(0)])
                                .await
                                .unwrap();
                        }
                    }
                }
            }
            connection.close(200, "".into()).await.unwrap();
        });
        Self { stop, running }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

/// Runs the agent as the script asks for it, by the files `agent-wanted` and `agent-listens`.
async fn obey(folder: PathBuf, broker: String, database: String, end: CancellationToken) {
    let (wanted, listens) = (folder.join("agent-wanted"), folder.join("agent-listens"));
    let mut agent = None;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !end.is_cancelled() {
        tick.tick().await;
        match (wanted.exists(), agent.take()) {
            (true, None) => {
                agent = Some(Agent::start(&broker, &database).await);
                std::fs::write(&listens, "").unwrap();
            }
            (false, Some(running)) => {
                Agent::stop(running).await;
                std::fs::remove_file(&listens).unwrap();
            }
            (_, as_it_is) => agent = as_it_is,
        }
    }
    if let Some(agent) = agent {
        agent.stop().await;
    }
}

/// Events that come while everything happens: some are due at once or soon, some in an hour.
async fn traffic(client: Client, end: CancellationToken) -> u64 {
    let mut number = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while !end.is_cancelled() {
        tick.tick().await;
        client.publish(MO, [event(number)]).await;
        number += 1;
    }
    number
}

/// Every second event is due in an hour, the others in fifteen seconds: the agent drops what is
/// past when it gets it.
fn is_far(number: u64) -> bool {
    number.is_multiple_of(2)
}

fn event(number: u64) -> Event {
    let delay = if is_far(number) { 3600 } else { 15 };
    let time = Datetime::now().saturating_add(Duration::from_secs(delay));
    let uuid = Uuid::from_u128(u128::from(number) + 1);
    let body = json!({ "uuid": uuid, "time": time, "number": number });
    Event::new("employee.it.create", body.to_string())
}

fn number_in(text: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(text).unwrap()["number"].as_u64().unwrap()
}

/// Runs the script to its end; gives whether it succeeded, and what it said.
async fn switch(router: &Router, direction: &str, database: &str) -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/mo-delay-agent/switch.sh");
    let program = Path::new(ROUTER).parent().unwrap();
    let output = Command::new(script)
        .arg(direction)
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", program.display()))
        .env("BASH_FUNC_mo-router%%", NOTING)
        .env("AGENT_DATABASE", database)
        .env("START_AGENT", "touch agent-wanted")
        .env("AGENT_LISTENS", "test -e agent-listens")
        .env("STOP_AGENT", "rm -f agent-wanted; while test -e agent-listens; do sleep 0.1; done")
        .env("START_ROUTER", "touch router-wanted")
        .env("PATIENCE", "280")
        .current_dir(router.path(""))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within_reason("the switch", output).await.unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let arguments = std::fs::read_to_string(router.path("arguments")).unwrap();
    assert!(arguments.contains("status"), "they are noted: {arguments}");
    assert!(!arguments.contains(PASSWORD) && !said.contains(PASSWORD), "{arguments}\n{said}");
    (output.status.success(), said)
}

/// The same for one that must succeed.
async fn switched(router: &Router, direction: &str, database: &str) -> String {
    let (succeeded, said) = switch(router, direction, database).await;
    assert!(succeeded, "switch.sh {direction}:\n{said}");
    said
}

/// What the page says is to be in `mo-router.toml`.
fn settings_of_the_page() -> &'static str {
    let page = include_str!("../../docs/replacing-mo-delay-agent.md");
    let (_, settings) = page.split_once("```toml\n# mo-router.toml\n").expect("the settings");
    settings.split_once("```").expect("their end").0
}

/// A router with these settings, at the places of the test, and the plugin `mo-delay`. There are
/// the exchanges that the agent uses, with a queue that catches what it sends.
async fn router_beside_agent(scene: &Scene, settings: &str) -> Router {
    scene.client.exchange(DELAYED, false).await;
    scene.client.catch_all(DELAYED).await;
    let router = Router::new("", &[]);
    let port = free_port();
    let path = |name: &str| router.path(name).display().to_string();
    let code = concat!(env!("CARGO_TARGET_TMPDIR"), "/code");
    let mut settings = format!("limits.timeout = '1min'\n{settings}");
    for (theirs, ours) in [
        ("amqp://user:password@broker:5672/%2f", scene.url.clone()),
        ("/srv/mo-router/plugins", path("plugins")),
        ("/var/lib/mo-router/delays.db", path("delays.db")),
        ("[plugins]", format!("[plugins]\ncache_dir = {code:?}")),
        ("[http]", format!("[http]\nlisten = \"127.0.0.1:{port}\"")),
    ] {
        assert!(settings.contains(theirs), "the page's settings have no {theirs}");
        settings = settings.replace(theirs, &ours);
    }
    let token = "/run/credentials/mo-router.service/mo-router_http-token";
    router.put_file("mo-router.toml", settings.replace(token, &path("token")).as_bytes());
    router.add_file("mo-delay", &plugins::built(Path::new("examples/mo-delay")));
    router
}

/// A database with the agent's table: its URL, with a password, and its name.
fn agents_database(server: &Server) -> (String, String) {
    let database = server.database().replace("postgres@", &format!("postgres:{PASSWORD}@"));
    let name = database.rsplit('/').next().unwrap().to_owned();
    server.sql(
        &name,
        "CREATE TABLE messages (id serial PRIMARY KEY, message text, topic text, produce_at timestamptz)",
    );
    (database, name)
}

/// How often each event has come so far.
async fn take(scene: &Scene, counts: &mut BTreeMap<u64, usize>) {
    let waiting = scene.client.depth(DELAYED).await as usize;
    for message in scene.client.take(DELAYED, waiting).await {
        *counts.entry(message.number()).or_default() += 1;
    }
}

/// The numbers in the agent's table.
fn in_table(server: &Server, database: &str) -> Vec<u64> {
    server.sql(database, "SELECT message FROM messages").lines().map(number_in).collect()
}

// The agent goes on while the test waits for psql.
#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_no_event_is_lost() {
    let scene = Scene::shared().await;
    let server = Server::shared();
    let (database, name) = agents_database(&server);
    let name = name.as_str();
    let router = router_beside_agent(&scene, settings_of_the_page()).await;

    router.put_file("agent-wanted", b"");
    let (end_agent, end_traffic) = (CancellationToken::new(), CancellationToken::new());
    let obeying =
        tokio::spawn(obey(router.path(""), scene.url.clone(), database.clone(), end_agent.clone()));
    until_there("agent-listens", &router).await;
    let publisher = Client::connect(&scene.url).await;
    let traffic = tokio::spawn(traffic(publisher, end_traffic.clone()));
    until_table_has(&server, name, 50).await;

    let starting = async {
        until_there("router-wanted", &router).await;
        router_process(&router)
    };
    let (said, mut process) = tokio::join!(switched(&router, "there", &database), starting);
    assert!(said.contains("Done. The agent can be removed"), "{said}");
    until_stored(&router, 100).await;

    let said = switched(&router, "back", &database).await;
    assert!(said.contains(" moved, "), "{said}");
    until_table_has(&server, name, 50).await;
    end_traffic.cancel();
    let sent = traffic.await.unwrap();
    ask_until("all that is due soon to leave", || async {
        let soon = in_table(&server, name).into_iter().filter(|&number| !is_far(number));
        let held = router.json(&["delayed", "count"]).await;
        (soon.count() == 0 && held["total"] == 0).then_some(())
    })
    .await;
    end_agent.cancel();
    obeying.await.unwrap();
    process.kill().await.unwrap();
    let mut counts = BTreeMap::new();
    take(&scene, &mut counts).await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
    let mut far: BTreeMap<u64, usize> = BTreeMap::new();
    for number in in_table(&server, name) {
        *far.entry(number).or_default() += 1;
    }
    let lost_soon: Vec<u64> =
        (0..sent).filter(|&n| !is_far(n) && !counts.contains_key(&n)).collect();
    let lost_far: Vec<u64> = (0..sent).filter(|&n| is_far(n) && !far.contains_key(&n)).collect();
    let twice = counts.values().chain(far.values()).filter(|&&times| times > 1).count();
    println!("{sent} events, {twice} of them twice");
    assert_eq!((lost_soon, lost_far), (vec![], vec![]));
    let early: BTreeSet<u64> = counts.keys().copied().filter(|&number| is_far(number)).collect();
    assert!(early.is_empty(), "sent before their time: {early:?}");
}

/// Nobody may have the router remove the plugin: that is found out before the agent is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_way_back_ends_before_it_begins() {
    let scene = Scene::shared().await;
    let server = Server::shared();
    let (database, name) = agents_database(&server);
    let row = "INSERT INTO messages (message, topic, produce_at)
               VALUES ('{\"number\": 1}', 'employee.it.create', now() + interval '1 hour')";
    server.sql(&name, row);
    let settings: Vec<&str> =
        settings_of_the_page().lines().filter(|line| !line.starts_with("token_file")).collect();
    let mut router = router_beside_agent(&scene, &settings.join("\n")).await;
    router.start_ready().await;
    router.put_file("agent-wanted", b"");

    let (succeeded, said) = switch(&router, "back", &database).await;
    assert!(!succeeded, "{said}");
    let why = "would not remove plugin mo-delay: mo-router: nothing can be changed over HTTP: set [http] token_file";
    assert!(said.contains(why), "{said}");
    assert!(router.path("agent-wanted").exists(), "the agent was stopped:\n{said}");
    assert!(router.plugin("mo-delay").exists(), "the plugin's file was put aside:\n{said}");
    assert_eq!(router.status_of("mo-delay").await["state"], "running");
    assert_eq!(in_table(&server, &name), [1]);
}

async fn until_there(file: &str, router: &Router) {
    ask_until(file, || async { router.path(file).exists().then_some(()) }).await;
}

/// The router, as the service manager would start it.
fn router_process(router: &Router) -> tokio::process::Child {
    router.command(&["run"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn until_table_has(server: &Server, database: &str, more: usize) {
    let before = in_table(server, database).len();
    ask_until("more rows in the agent's table", || async {
        (in_table(server, database).len() >= before + more).then_some(())
    })
    .await;
}

async fn until_stored(router: &Router, more: u64) {
    let count = || async { router.json(&["delayed", "count"]).await["total"].as_u64().unwrap() };
    let before = count().await;
    ask_until("more delayed messages", || async { (count().await >= before + more).then_some(()) })
        .await;
}
