//! Plugins that take their time, with a backlog behind them: nothing else waits for all of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::ask_until;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::slow::slow;
use crate::support::traffic::{Event, Received, numbered, numbers};

/// The plugin's name, and its queue.
const NAME: &str = "slow";
const QUEUE: &str = "mo-router.slow";
/// How many events wait.
const BACKLOG: u64 = 400;
/// How long each takes.
const CALL: Duration = Duration::from_millis(500);

/// A router whose plugin works on its backlog.
async fn busy(scene: &Scene, lanes: usize, takes: Duration) -> Router {
    let sections = format!(
        "[plugin.{NAME}]\nlanes = {lanes}\n[plugin.next]\nsubscriptions = ['employee.none.none']"
    );
    let mut router = scene.router(&sections, &[]);
    router.put(NAME, &slow("A", takes));
    // It is compiled then when it is to take the other's place.
    router.put("next", &slow("B", Duration::ZERO));
    router.start_ready().await;
    scene.client.publish(MO, numbered(0..BACKLOG)).await;
    ask_until("some to be routed", || async {
        (scene.client.depth(ROUTED).await >= 8).then_some(())
    })
    .await;
    router
}

/// How many events may be routed while something happens that waits for no more than the calls
/// that have begun. It takes no time of its own, but a busy machine does.
fn few(lanes: usize) -> u32 {
    60 * lanes as u32 + 8
}

fn by(received: &[Received], stamp: &str) -> BTreeSet<u64> {
    let stamped = received.iter().filter(|message| message.headers["stamp"] == stamp);
    stamped.map(Received::number).collect()
}

#[tokio::test]
async fn a_new_version_waits_for_the_calls_that_have_begun() {
    for lanes in [1, 4] {
        let scene = Scene::shared().await;
        let mut router = busy(&scene, lanes, CALL).await;
        let before = scene.client.depth(ROUTED).await;
        router.put(NAME, &slow("B", Duration::ZERO));
        router.logged("plugin replaced").await;
        let routed = scene.routed(BACKLOG as usize).await;
        assert_eq!(numbers(&routed), (0..BACKLOG).collect(), "{lanes} lanes: each once");
        let (old, new) = (by(&routed, "A"), by(&routed, "B"));
        assert_eq!(old.len() + new.len(), BACKLOG as usize);
        let more = old.len() as u32 - before;
        assert!(more <= few(lanes), "{lanes} lanes: {more} more of the old version");
        assert!(router.stop().await.success());
        assert_eq!(scene.client.depth(QUEUE).await + scene.client.depth(DEAD).await, 0);
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_calls_that_have_begun() {
    for lanes in [1, 4] {
        let scene = Scene::shared().await;
        let mut router = busy(&scene, lanes, CALL).await;
        let before = scene.client.depth(ROUTED).await;
        assert!(router.stop().await.success());
        let routed = scene.client.depth(ROUTED).await;
        let more = routed - before;
        assert!(more <= few(lanes), "{lanes} lanes: {more} more");
        scene.client.has(QUEUE, BACKLOG as u32 - routed).await;
    }
}

#[tokio::test]
async fn what_came_on_a_connection_that_is_lost_is_not_routed() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let scene = Scene::on(&broker).await;
    let router = busy(&scene, 1, CALL / 5).await;
    let before = close_consuming(&mut broker, &scene.virtual_host());
    router.logged("session lost").await;
    let more = scene.client.depth(ROUTED).await - before;
    assert!(more < BACKLOG as u32 / 4, "{more} of what was buffered were routed");
    let routed =
        scene.client.take_until(ROUTED, |routed| numbers(routed).len() == BACKLOG as usize).await;
    // Those in flight come again, and those that were routed since.
    assert!(routed.len() < BACKLOG as usize + BACKLOG as usize / 4, "{} came", routed.len());
}

/// Has the broker close the connection that the router consumes on, and gives how many events were
/// routed then: by one command, since each takes seconds to start on a busy machine.
fn close_consuming(broker: &mut RabbitMq, virtual_host: &str) -> u32 {
    let close = format!(
        "Name = fun(C) -> io_lib:format(\"~0p\", \
         [rabbit_networking:connection_info(C, [client_properties])]) end, \
         [Consuming] = [C || C <- rabbit_networking:connections(), \
         string:find(Name(C), \"(consuming)\") =/= nomatch], \
         {{ok, Queue}} = rabbit_amqqueue:lookup( \
         rabbit_misc:r(<<\"{virtual_host}\">>, queue, <<\"{ROUTED}\">>)), \
         {{ok, Routed, _}} = rabbit_amqqueue:stat(Queue), \
         ok = rabbit_networking:close_connection(Consuming, \"for the test\"), Routed."
    );
    broker.control(&["eval", &close])[0].parse().expect("a number")
}

/// An event of a hundred KiB.
fn large(number: u64) -> Event {
    let mut event = Event::numbered(number, 100);
    event.key = "employee.large.edit".into();
    event.body.resize(100 << 10, b' ');
    event
}

#[tokio::test]
async fn large_events_that_wait_for_one_plugin_hold_up_no_other() {
    const LARGE: u64 = 1000;
    let scene = Scene::shared().await;
    scene.client.exchange("quick", true).await;
    scene.client.catch_all("quick").await;
    let sections = format!(
        "[plugin.{NAME}]\nsubscriptions = ['employee.large.edit']\n[plugin.quick]\n\
         subscriptions = ['employee.engagement.edit']\nexchanges = ['quick']\nconfig.to = 'quick'"
    );
    let mut router = scene.router(&sections, &[]);
    router.put(NAME, &slow("A", CALL));
    router.add_plugin("quick");
    router.start_ready().await;
    for start in (0..LARGE).step_by(50) {
        scene.client.publish(MO, (start..start + 50).map(large)).await;
    }
    let before = scene.client.depth(ROUTED).await;
    scene.client.publish(MO, numbered(0..2000)).await;
    let quick = scene.client.take("quick", 2000).await;
    assert_eq!(numbers(&quick), (0..2000).collect());
    // Where they wait for those of the other plugin, that has time for a hundred.
    let more = scene.client.depth(ROUTED).await - before;
    assert!(more < 50, "{more} of the slow plugin's meanwhile");
    router.logged("session renewed").await;
    router.kill().await;
}
