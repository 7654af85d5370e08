//! Delayed messages while routers, brokers and stores fail: repeats are allowed
//! and have the same `message_id`, losses are not.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use mo_router::event::Datetime;
use tokio::time::Instant;

use crate::support::load::Load;
use crate::support::postgres::Server;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::{ROUTER, Router};
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{Event, Received, all_of, numbered, numbers};
use crate::support::{PATIENCE, ask_until, plugins, within_reason};

/// The plugin that sends each event at its time.
const MO_DELAY: &str = "mo-delay";
/// Its queue.
const QUEUE: &str = "mo-router.mo-delay";

/// How much longer than allowed something may take because the machine is slow.
const SLOWNESS: Duration = Duration::from_secs(20);

/// Later than any test runs: what is due then is sent when the test says so.
const HOUR: Duration = Duration::from_secs(3600);

/// A router with the example plugin `mo-delay`, and its store.
fn router(scene: &Scene, store: Option<&str>) -> Router {
    router_with("", scene, store)
}

/// The same with more lines of settings.
fn router_with(lines: &str, scene: &Scene, store: Option<&str>) -> Router {
    let router = scene.router(lines, &[]);
    router.add_file(MO_DELAY, &plugins::built(&Path::new("examples").join(MO_DELAY)));
    if let Some(store) = store {
        router.set("delay.store", store);
    }
    router
}

/// An event that takes effect at `time`.
fn event(number: u64, time: Datetime) -> Event {
    let mut event = Event::numbered(number, 100);
    let mut body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
    body["time"] = time.to_string().into();
    event.body = body.to_string().into_bytes();
    event
}

/// So many events, the first due after `first` and each further one a step later.
fn events(count: u64, first: Duration, step: Duration) -> impl Iterator<Item = Event> {
    let start = Datetime::now().saturating_add(first);
    (0..count).map(move |number| event(number, start.saturating_add(step * number as u32)))
}

/// An event that is due in a second.
fn soon(number: u64) -> Event {
    event(number, Datetime::now().saturating_add(Duration::from_secs(1)))
}

/// Checks that repeats are repeats, and says how many there were.
fn repeats(received: &[Received]) -> usize {
    let mut ids = HashMap::new();
    for message in received {
        let id = message.properties.message_id().clone().expect("each has an id");
        let first = ids.entry(message.number()).or_insert_with(|| id.clone());
        assert_eq!(*first, id, "a repeat of {} has another id", message.number());
    }
    received.len() - ids.len()
}

async fn until_stored(router: &Router, count: u64) {
    ask_until("messages to be stored", || async {
        let census = router.json(&["delayed", "count"]).await;
        (census["total"] == count).then_some(())
    })
    .await;
}

/// Makes everything that is stored due.
async fn send_all_now(router: &Router) {
    let list = router.json(&["delayed", "list", "--limit", "1000000"]).await;
    let list = list.as_array().expect("a list of messages").iter();
    let ids: Vec<String> = list.map(|stored| stored["id"].to_string()).collect();
    let ids = ids.iter().map(String::as_str);
    router.json(&["delayed", "send-now"].into_iter().chain(ids).collect::<Vec<_>>()).await;
}

/// Waits until everything is sent, stops the router, which is the last one, and takes what was sent
/// with all repeats.
async fn all_that_was_sent(scene: &Scene, router: &mut Router, count: u64) -> Vec<Received> {
    loop {
        ask_until("everything to be sent", || async {
            let sent = u64::from(scene.client.depth(ROUTED).await);
            let waiting = scene.client.depth(QUEUE).await;
            let stored = router.json(&["delayed", "count"]).await;
            (sent >= count && waiting == 0 && stored["total"] == 0).then_some(())
        })
        .await;
        assert!(router.stop().await.success());
        // With repeats that is enough messages before it is all: what the router had taken
        // and not yet routed is back in its queue, or stored by now.
        let stored = router.json(&["delayed", "count"]).await;
        if scene.client.returned(QUEUE).await == 0 && stored["total"] == 0 {
            break;
        }
        router.start();
    }
    assert_eq!(scene.client.depth(DEAD).await, 0);
    assert_eq!(router.json(&["delayed", "count"]).await["total"], 0);
    let sent = scene.client.depth(ROUTED).await as usize;
    let received = scene.client.take(ROUTED, sent).await;
    assert_eq!(numbers(&received).len() as u64, count, "some are lost");
    received
}

/// Sends the daemon a signal.
fn signal(router: &Router, name: &str) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-s", name, &router.id().to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn the_router_is_killed_fifty_times_while_messages_come_and_fall_due() {
    const ROUNDS: u64 = 50;
    const EACH: u64 = 400;
    let scene = Scene::shared().await;
    let mut router = router(&scene, None);
    router.start_ready().await;
    let (mut sent, mut interrupted) = (0, 0);
    for round in 0..ROUNDS {
        // Due within the next two seconds: some before the router is killed, some later.
        let start = Datetime::now();
        let due = |number: u64| start.saturating_add(Duration::from_millis(5 * (number % EACH)));
        let numbers = round * EACH..(round + 1) * EACH;
        let publishing = scene.client.publish(MO, numbers.map(|number| event(number, due(number))));
        let killing = async {
            // Every other time it has sent something since the last time.
            if round % 2 == 0 {
                ask_until("messages to be sent", || async {
                    (scene.client.depth(ROUTED).await > sent).then_some(())
                })
                .await;
            }
            // Not a wait for something: the moment is random.
            #[expect(clippy::disallowed_methods, reason = "what is killed does not repeat either")]
            let moment = Duration::from_millis(rand::random_range(0..300));
            tokio::time::sleep(moment).await;
            router.kill().await;
        };
        tokio::join!(publishing, killing);
        sent = scene.client.depth(ROUTED).await;
        interrupted += u32::from(u64::from(sent) < (round + 1) * EACH);
        router.start();
    }
    let received = all_that_was_sent(&scene, &mut router, ROUNDS * EACH).await;
    assert!(interrupted > 0, "there was nothing left to do whenever it was killed");
    println!(
        "router killed {ROUNDS} times, {interrupted} of them at work: {} delayed events, {} repeats",
        ROUNDS * EACH,
        repeats(&received)
    );
}

#[tokio::test]
async fn what_falls_due_while_the_broker_is_away_is_sent_in_due_order() {
    const EVENTS: u64 = 2000;
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let mut scene = Scene::on(&broker).await;
    let mut router = router(&scene, None);
    router.start_ready().await;
    // Published last first: what comes in order was put in order.
    let mut events: Vec<Event> = events(EVENTS, HOUR, Duration::from_millis(1)).collect();
    events.reverse();
    scene.client.publish(MO, events).await;
    until_stored(&router, EVENTS).await;
    broker.settle();
    broker.kill();
    let store = rusqlite::Connection::open(router.path("delays.db")).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    store.execute("UPDATE message SET due = due - ?", [HOUR.as_micros() as i64]).unwrap();
    // As commands do that change the store.
    std::fs::write(router.path("delays.db-changed"), "changed").unwrap();
    ask_until("messages to be due", || async {
        let census = router.json(&["delayed", "count"]).await;
        (census["due"]["now"] == EVENTS).then_some(())
    })
    .await;
    broker.restart();
    scene.reconnect().await;
    let received = scene.client.take_until(ROUTED, all_of(EVENTS)).await;
    let repeats = repeats(&received);
    println!("broker away: {EVENTS} delayed events, {repeats} repeats");
    let order: Vec<u64> = received.iter().map(Received::number).collect();
    assert!(order.is_sorted() && repeats == 0, "{order:?}");
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn a_full_disk_keeps_events_with_the_broker_until_there_is_room() {
    const EVENTS: u64 = 5000;
    let scene = Scene::shared().await;
    let mut router = router(&scene, None);
    let disk = router.path("disk");
    std::fs::create_dir(&disk).unwrap();
    router.set("delay.store", &format!("sqlite:{}", disk.join("delays.db").display()));
    let mount = format!("mount -t tmpfs -o size=2m tmpfs {}", disk.display());
    router.start_after(&mount);
    router.logged("ready").await;
    scene.client.publish(MO, events(EVENTS, HOUR, Duration::ZERO)).await;
    let line = router.logged("cannot keep delayed messages").await;
    assert!(line.contains("disk is full") && line.contains("delays.db"), "{line}");
    router.in_its_namespace(&format!("mount -o remount,size=200m {}", disk.display()));
    router.logged("the delay store is available again").await;
    // The disk is in the daemon's namespace only.
    let until_stored = |count: u64| {
        router.in_its_namespace(&format!(
            "cd {} && until {ROUTER} delayed count --json | grep -q '.total.:{count}\\b'; do sleep 0.1; done",
            router.path("").display()
        ));
    };
    until_stored(EVENTS);
    router.in_its_namespace(&format!(
        "cd {} && {ROUTER} delayed list --limit {EVENTS} --json | grep -o '.id.:[0-9]*' | cut -d : -f 2 \
         | xargs {ROUTER} delayed send-now",
        router.path("").display()
    ));
    let received = scene.client.take_until(ROUTED, all_of(EVENTS)).await;
    println!("disk full: {EVENTS} delayed events, {} repeats", repeats(&received));
    until_stored(0);
    assert!(router.stop().await.success());
    assert_eq!((scene.client.depth(QUEUE).await, scene.client.depth(DEAD).await), (0, 0));
}

#[tokio::test]
async fn a_store_that_is_read_only_is_waited_for() {
    let scene = Scene::shared().await;
    let mut router = router(&scene, None);
    router.start_ready().await;
    assert!(router.stop().await.success());
    scene.client.publish(MO, events(10, Duration::ZERO, Duration::ZERO)).await;

    let file = router.path("delays.db");
    let mode = |mode| {
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap()
    };
    mode(0o444);
    router.start_without_privileges();
    let line = router.logged("cannot open it").await;
    assert!(line.contains("read-only") && line.contains("delays.db"), "{line}");
    mode(0o644);
    router.logged("ready").await;
    assert_eq!(numbers(&scene.routed(10).await).len(), 10);
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn postgresql_crashes_while_messages_come_and_fall_due() {
    const EVENTS: u64 = 5000;
    let scene = Scene::shared().await;
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let mut router = router(&scene, Some(&server.database()));
    router.start_ready().await;
    scene.client.publish(MO, events(EVENTS, Duration::ZERO, Duration::from_millis(1))).await;
    ask_until("messages to be sent", || async {
        (scene.client.depth(ROUTED).await > 1000).then_some(())
    })
    .await;
    server.crash();
    scene.client.publish(MO, (EVENTS..EVENTS + 1000).map(soon)).await;
    router.logged("the delay store is unavailable").await;
    server.restart();
    let received = all_that_was_sent(&scene, &mut router, EVENTS + 1000).await;
    println!(
        "PostgreSQL crashed: {} delayed events, {} repeats",
        EVENTS + 1000,
        repeats(&received)
    );
}

/// Two routers on a database of their own, which knows them by these names.
async fn two_routers(scene: &Scene, server: &Server) -> (String, [Router; 2]) {
    let store = server.database();
    let database = store.rsplit_once('/').unwrap().1.to_owned();
    let named = |name: &str| router(scene, Some(&format!("{store}?application_name={name}")));
    let mut routers = [named("one"), named("other")];
    for router in &mut routers {
        router.start_ready().await;
    }
    (database, routers)
}

#[tokio::test]
async fn two_routers_share_a_database_and_send_each_message_once() {
    /// More than one claim takes, and fewer than a router has in flight at most: in a crowd, a message
    /// whose confirm takes a second is let go, and claimed again.
    const ROUND: u64 = 700;
    let scene = Scene::shared().await;
    let server = Server::shared();
    let (database, [mut one, mut other]) = two_routers(&scene, &server).await;
    server.sql(
        &database,
        "CREATE TABLE claimed (router text, messages bigint);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO claimed SELECT current_setting('application_name'), count(*) FROM gone;
             RETURN NULL;
         END $$;
         CREATE TRIGGER note AFTER DELETE ON mo_router_delayed REFERENCING OLD TABLE AS gone
             FOR EACH STATEMENT EXECUTE FUNCTION note()",
    );
    let claimed = |what: &str| {
        server.sql(&database, &format!("SELECT {what} FROM claimed WHERE messages > 0"))
    };
    // What is due when it comes is sent without the store: on a busy machine, that is much of
    // what is due soon.
    let mut events = 0;
    let rounds = async {
        while claimed("count(DISTINCT router)") != "2" {
            let round = events..events + ROUND;
            let due = Datetime::now().saturating_add(HOUR);
            scene.client.publish(MO, round.map(|number| event(number, due))).await;
            events += ROUND;
            until_stored(&one, ROUND).await;
            send_all_now(&one).await;
            ask_until("everything to be sent", || async {
                (u64::from(scene.client.depth(ROUTED).await) >= events).then_some(())
            })
            .await;
        }
    };
    within_reason("both routers to send", rounds).await;
    assert!(other.stop().await.success());
    let received = all_that_was_sent(&scene, &mut one, events).await;
    assert_eq!(received.len() as u64, events, "none twice");
    let stored = server.sql(&database, "SELECT last_value FROM mo_router_delayed_id_seq");
    assert_eq!(claimed("sum(messages)"), stored, "each message is claimed once");
}

/// Stops the router called `one` (SIGSTOP) while it holds a claim.
async fn stop_with_a_claim(one: &Router, server: &Server, database: &str) {
    let connections = |state: &str| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = '{database}' AND application_name = 'one' AND state = '{state}'"
        );
        server.sql(database, &sql).parse::<u64>().unwrap()
    };
    ask_until("a moment when it holds a claim", || async {
        signal(one, "STOP");
        // What it has said still, the server does.
        while connections("active") > 0 {}
        let holds = connections("idle in transaction") > 0;
        if !holds {
            signal(one, "CONT");
        }
        holds.then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_two_routers_on_one_database_one_is_killed() {
    let scene = Scene::shared().await;
    let server = Server::shared();
    let (database, [mut doomed, mut other]) = two_routers(&scene, &server).await;
    let load = Load::start(&scene.url, 0, 2000, soon);
    ask_until("messages to be sent", || async {
        (scene.client.depth(ROUTED).await > 1000).then_some(())
    })
    .await;
    stop_with_a_claim(&doomed, &server, &database).await;
    doomed.kill().await;
    let events = load.stop().await;
    let received = all_that_was_sent(&scene, &mut other, events).await;
    println!("one of two routers killed: {events} delayed events, {} repeats", repeats(&received));
}

#[tokio::test]
async fn of_two_routers_on_one_database_one_freezes_and_its_claim_is_given_back() {
    let scene = Scene::shared().await;
    let server = Server::shared();
    let (database, [mut frozen, mut other]) = two_routers(&scene, &server).await;
    let load = Load::start(&scene.url, 0, 2000, soon);
    ask_until("messages to be sent", || async {
        (scene.client.depth(ROUTED).await > 1000).then_some(())
    })
    .await;
    stop_with_a_claim(&frozen, &server, &database).await;
    let events = load.stop().await;
    // What the frozen one claimed is not stored for others, until the server gives it back.
    ask_until("the claim to be given back, and sent by the other router", || async {
        let sent = u64::from(scene.client.depth(ROUTED).await);
        let stored = other.json(&["delayed", "count"]).await;
        (sent >= events && stored["total"] == 0).then_some(())
    })
    .await;
    let before = scene.client.depth(ROUTED).await;
    signal(&frozen, "CONT");
    assert!(frozen.stop().await.success());
    let received = all_that_was_sent(&scene, &mut other, events).await;
    println!(
        "one of two routers frozen: {events} delayed events, {} repeats, {} of them since it went on",
        repeats(&received),
        received.len() as u64 - u64::from(before)
    );
}

#[tokio::test]
async fn a_second_router_waits_for_a_local_store_and_takes_it_over() {
    let scene = Scene::shared().await;
    let (mut first, mut second) = (router(&scene, None), router(&scene, None));
    second.set("delay.store", &format!("sqlite:{}", first.path("delays.db").display()));
    first.start_ready().await;
    scene.client.publish(MO, events(100, HOUR, Duration::ZERO)).await;
    until_stored(&first, 100).await;
    second.start();
    second.logged("in use by another mo-router").await;
    first.kill().await;
    second.logged("ready").await;
    send_all_now(&second).await;
    let received = scene.client.take_until(ROUTED, all_of(100)).await;
    println!("store taken over: 100 delayed events, {} repeats", repeats(&received));
    assert!(second.stop().await.success());
}

#[tokio::test]
async fn people_see_and_change_what_a_running_router_holds() {
    let scene = Scene::shared().await;
    for store in [None, Some(Server::shared())] {
        let url = store.as_ref().map(|server| server.database());
        let mut router = router(&scene, url.as_deref());
        router.start_ready().await;
        let year = Datetime::now().saturating_add(Duration::from_secs(365 * 24 * 3600));
        scene
            .client
            .publish(
                MO,
                [event(0, "9999-12-31T00:00:00Z".parse().unwrap()), event(1, year), event(2, year)],
            )
            .await;
        until_stored(&router, 3).await;

        let list = router.json(&["delayed", "list"]).await;
        let number = |at: usize| -> u64 {
            let id = list[at]["id"].to_string();
            id.parse().unwrap()
        };
        assert_eq!(list[2]["due"], "9999-12-31T00:00:00Z");
        assert_eq!(list[2]["plugin"], MO_DELAY);
        let uuid = list[2]["uuid"].as_str().unwrap();
        let same = router
            .json(&["delayed", "list", "--uuid", uuid, "--plugin", MO_DELAY, "--from", "+400days"])
            .await;
        assert_eq!(same[0]["id"], list[2]["id"]);
        let whole = router.json(&["delayed", "show", &number(2).to_string()]).await;
        assert_eq!(whole["message_id"], list[2]["message_id"]);
        assert!(whole["body"].as_str().unwrap().contains("9999-12-31"));

        router.json(&["delayed", "cancel", &number(0).to_string()]).await;
        router.json(&["delayed", "send-now", &number(2).to_string()]).await;
        assert_eq!(numbers(&scene.routed(1).await), [0].into());
        router.json(&["delayed", "reschedule", &number(1).to_string(), "+0s"]).await;
        assert_eq!(scene.routed(1).await.len(), 1);
        let again = router.call(&["delayed", "cancel", &number(1).to_string()]).await;
        assert!(!again.status.success());
        let (reader, nobody_reads) = std::io::pipe().unwrap();
        drop(reader);
        let mut list = router.command(&["delayed", "list"]);
        assert!(list.stdout(nobody_reads).status().await.unwrap().success());
        let list = router.call(&["delayed", "list", "--after", &number(0).to_string()]).await;
        let error = String::from_utf8_lossy(&list.stderr).into_owned();
        assert!(!list.status.success() && error.contains("sent or cancelled"), "{error}");
        until_stored(&router, 0).await;
        assert!(router.stop().await.success());
    }
}

#[tokio::test]
async fn where_the_unroutable_is_ignored_a_missing_exchange_is_a_dead_letter() {
    let scene = Scene::shared().await;
    scene.client.exchange("nobody-listens", true).await;
    let to = "nobody-listens no-such-exchange routed";
    let script = format!(
        "exchanges = ['nobody-listens', 'no-such-exchange', 'routed']\nconfig = {{ to = '{to}', delay = 1 }}"
    );
    let ignoring = "unroutable = 'ignore'\ndeclare = 'passive'";
    let mut router = scene.run(ignoring, &[("later", &script)]).await;
    // Fewer than those after which the others would wait for the exchange.
    scene.client.publish(MO, numbered(0..15)).await;
    assert_eq!(numbers(&scene.routed(15).await).len(), 15);
    let dead = scene.dead(15).await;
    assert_eq!(numbers(&dead).len(), 15);
    assert_eq!(dead[0].headers["mo-router-exchange"], "no-such-exchange");
    assert!(router.stop().await.success());
    assert_eq!(router.json(&["delayed", "count"]).await["total"], 0);
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn the_agents_messages_are_imported_once_and_sent() {
    let scene = Scene::shared().await;
    let server = Server::shared();
    let agent = server.database();
    let database = agent.rsplit('/').next().unwrap();
    server.sql(
        database,
        "CREATE TABLE messages (id serial, message text, topic text, produce_at timestamptz)",
    );
    server.sql(
        database,
        r#"INSERT INTO messages (message, topic, produce_at)
           SELECT '{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "number": ' || n || '}', 'employee.it.create',
                  CASE WHEN n < 10 THEN now() WHEN n < 2500 THEN now() + '100 years'
                       WHEN n = 2500 THEN 'infinity' ELSE '9999-12-31T23:59:59.999999Z' END
           FROM generate_series(0, 2501) n"#,
    );
    let mut router = router(&scene, None);
    router.start_ready().await;
    let import = ["delayed", "import", "--from", &agent];
    let dry = router.json(&[&import[..], &["--dry-run"]].concat()).await;
    let counted = |added, known| serde_json::json!({"read": 2502, "added": added, "known": known, "undated": 2, "set_aside": 0});
    assert_eq!(dry, counted(2500, 0), "the agent would never send what has no date");
    assert_eq!(router.json(&["delayed", "count"]).await["total"], 0);
    assert_eq!(router.json(&import).await["added"], 2500);
    let received = scene.client.take_until(ROUTED, all_of(10)).await;
    assert_eq!((received.len(), repeats(&received)), (10, 0));
    assert_eq!(received[0].routing_key, "employee.it.create");
    let again = router.json(&import).await;
    assert_eq!(again, counted(0, 2500));
    until_stored(&router, 2490).await;
    let list = router.json(&["delayed", "list", "--limit", "1"]).await;
    assert_eq!(list[0]["uuid"], "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60");
    assert!(router.stop().await.success());
}

/// Rows as people make them by hand, in a database that does not know what its text is.
#[tokio::test]
async fn what_an_import_cannot_read_is_named_and_the_rest_imported() {
    let server = Server::shared();
    let agent = format!("{}_ascii", server.database());
    let database = agent.rsplit('/').next().unwrap();
    let options = "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0";
    server.sql("postgres", &format!("CREATE DATABASE {database} {options}"));
    server.sql(
        database,
        r"CREATE TABLE messages (id serial, message text, topic text, produce_at timestamptz);
          INSERT INTO messages (message, topic, produce_at) VALUES
              ('{}', 'employee.it.create', '2999-01-01'), (NULL, 'employee.it.create', '2999-01-01'),
              (E'\xff', 'employee.it.create', '2999-01-01'), ('{}', 'employee.it.create', NULL),
              ('blåbær', repeat('x', 300), '2999-01-01')",
    );
    let router = Router::new("", &[]);
    let import = ["delayed", "import", "--from", &agent];
    let dry = router.json(&[&import[..], &["--dry-run"]].concat()).await;
    let expected =
        serde_json::json!({"read": 5, "added": 2, "known": 0, "undated": 0, "set_aside": 3});
    assert_eq!(dry, expected);
    assert!(!router.path("delays.db").exists(), "a dry run leaves nothing behind");
    let imported = router.call(&[&import[..], &["--json"]].concat()).await;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&imported.stdout).unwrap(), expected);
    let said = String::from_utf8_lossy(&imported.stderr).into_owned();
    for row in [2, 3, 4] {
        assert!(said.contains(&format!("row {row} of the agent's messages")), "{said}");
    }
}

/// A restored store is looked at before anything of it leaves.
#[tokio::test]
async fn what_a_restore_would_send_again_is_held_until_it_is_released() {
    let scene = Scene::shared().await;
    let mut router = router(&scene, None);
    router.start_ready().await;
    let new = router.log();
    assert!(new.contains("created a new, empty delay store: sqlite:"), "{new}");
    scene.client.publish(MO, events(20, HOUR, Duration::ZERO)).await;
    until_stored(&router, 20).await;
    router.print(&["delayed", "backup", "backup.db"]).await;
    send_all_now(&router).await;
    let first = scene.routed(20).await;
    assert!(router.stop().await.success());

    // The file alone is the store, before and after.
    for name in ["delays.db-wal", "delays.db-shm"] {
        assert!(!router.path(name).exists(), "{name}");
    }
    std::fs::rename(router.path("backup.db"), router.path("delays.db")).unwrap();
    let store = rusqlite::Connection::open(router.path("delays.db")).unwrap();
    store.execute("UPDATE message SET due = due - ?", [2 * HOUR.as_micros() as i64]).unwrap();
    drop(store);
    router.start_with(&["--hold-delayed"]);
    router.logged("ready").await;
    let overdue = router.json(&["delayed", "list", "--overdue"]).await;
    assert_eq!(overdue.as_array().unwrap().len(), 20);
    let (status, text) = router.get("readyz").await;
    assert!(status == 200 && text.contains("delayed-held"), "{status} {text}");
    ask_until("the overdue to be seen", || async {
        let (_, metrics) = router.get("metrics").await;
        metrics.contains("\nmo_router_delayed_overdue_messages 20.0\n").then_some(())
    })
    .await;
    assert_eq!(scene.client.depth(ROUTED).await, 0);
    router.print(&["delayed", "release", "--address", &router.address().await]).await;
    let again = scene.routed(20).await;
    let ids = |received: &[Received]| {
        let ids = received.iter().map(|message| message.properties.message_id().clone());
        ids.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ids(&first), ids(&again), "a repeat has the first one's message_id");
    assert!(router.stop().await.success());
}

/// It takes connections, answers nothing and ends none, as a machine that hangs.
#[tokio::test]
async fn a_router_whose_database_is_gone_says_so_and_stops() {
    let scene = Scene::shared().await;
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let stop = "[daemon]\nstop_timeout = '3s'";
    let mut router = router_with(stop, &scene, Some(&server.database()));
    router.start_ready().await;
    scene.client.publish(MO, events(3, HOUR, Duration::ZERO)).await;
    router.metric_until("delayed_messages", 3.0).await;
    server.freeze();
    ask_until("the router to say so", || async {
        let (status, text) = router.get("readyz").await;
        (status == 503 && text.contains("store-unavailable")).then_some(())
    })
    .await;
    assert_eq!(router.metric("store_up").await, Some(0.0));
    ask_until("what was counted to be too old", || async {
        router.metric("delayed_messages").await.is_none().then_some(())
    })
    .await;
    assert_eq!(router.metric("delayed_next_due_timestamp_seconds").await, None);
    let counted = router.metric("delayed_counted_timestamp_seconds").await.unwrap();
    let age = Datetime::now().seconds() as f64 - counted;
    assert!(age >= 59.0, "{age}");

    scene.client.publish(MO, events(10, HOUR, Duration::ZERO)).await;
    let begun = Instant::now();
    assert!(router.stop().await.success());
    let limit = Duration::from_secs(3) + SLOWNESS;
    assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
    scene.client.has(QUEUE, 10).await;
    server.thaw();
}
