//! Three broker nodes, a database and two routers: what happens to the flow while each of
//! them fails, and whether anything is lost.
//!
//! ```text
//! cargo test --release --test suite cluster::                         # three failures, slowly
//! RATE=1200 cargo test --release --test suite cluster:: -- --nocapture    # all, as a table
//! ```
//!
//! `RATE` is how many events are sent a second, of which a sixth is delayed: 1,000 at once and 200
//! delays. `make cluster` runs the second. With `BASELINE=PROGRAM` the routers are that program, an
//! older one, until each is replaced by this one.

mod effort;
mod ledger;
mod streams;

use std::pin::pin;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::support::ask_until;
use crate::support::cluster::Cluster;
use crate::support::plugins;
use crate::support::postgres::Server;
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::{ROUTER, Router};
use crate::support::scene::{DEAD, MO, ROUTED};
use crate::support::traffic::Client;
use effort::Effort;
use ledger::Ledger;
use streams::{NOW, Streams};

/// Events a second of the short form.
const RATE: u64 = 180;

/// How long events pass before and after each failure, counted in events.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(15);

/// After waiting so long for an event it is of interest what the brokers make of the queues.
const LONG_WAIT: Duration = Duration::from_secs(120);

/// Two routers, alike but for the node that they try first.
struct World {
    cluster: Cluster,
    database: Server,
    routers: [Router; 2],
    streams: Streams,
    /// How many events a stage is left alone for, before and after what happens in it.
    calm: u64,
    /// Whether the routers are an older program at first.
    is_upgraded: bool,
    /// A node that runs.
    well: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_loses_nothing() {
    let asked = rate();
    let rate = asked.unwrap_or(RATE);
    let calm = if asked.is_some() { LONG } else { SHORT };
    let mut world = World::start(rate, calm.as_secs() * rate).await;
    let each = world.measure().await;
    world.kill_router().await;
    world.kill_leader().await;
    world.restart_database().await;
    if asked.is_some() {
        world.stop_node().await;
        world.freeze_leader().await;
        world.cut_off_leader().await;
        world.replace_plugins().await;
        world.replace_routers().await;
        world.quiet("nothing fails again").await;
    }
    let ledger = world.end().await;
    println!("{rate} events a second, of which a sixth is delayed by {:?}\n", streams::DELAY);
    println!("{}", ledger.table());
    println!("While nothing fails, an event costs processor time: {each}");
    println!("At ten times the rate, {} events a second: {}\n", 10 * rate, each.at(10 * rate));
    assert_eq!(ledger.lost(), [0, 0], "lost of both streams");
    assert_eq!(ledger.out_of_order(), 0, "one router at a time consumes, so the order stays");
}

#[expect(clippy::disallowed_methods, reason = "what to run, not what a run does")]
fn rate() -> Option<u64> {
    let text = std::env::var("RATE").ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("RATE={text} is not a number")))
}

#[expect(clippy::disallowed_methods, reason = "what to run, not what a run does")]
fn baseline() -> Option<String> {
    std::env::var("BASELINE").ok()
}

impl World {
    async fn start(rate: u64, calm: u64) -> Self {
        let starting = std::thread::spawn(Server::start);
        let cluster = block_in_place(Cluster::start);
        let database = block_in_place(|| starting.join().expect("PostgreSQL starts"));
        let client = Client::connect(&cluster.urls()[0]).await;
        for exchange in [MO, ROUTED] {
            client.exchange(exchange, true).await;
        }
        client.catch_replicated(ROUTED).await;
        let store = database.database();
        let mut routers = [0, 1].map(|first| router(&cluster.url(first), &store));
        let baseline = baseline();
        for router in &mut routers {
            if let Some(program) = &baseline {
                router.use_program(program);
            }
            router.start_ready().await;
        }
        let streams = Streams::start(cluster.urls(), rate);
        let is_upgraded = baseline.is_some();
        Self { cluster, database, routers, streams, calm, is_upgraded, well: 0 }
    }

    /// A stage in which nothing is done.
    async fn quiet(&mut self, name: &'static str) {
        self.begin(name).await;
        self.pass(self.calm).await;
    }

    /// The first stage, in which nothing fails: what an event costs.
    async fn measure(&mut self) -> Effort {
        self.begin("nothing fails").await;
        let (before, sent) = (self.effort(), self.streams.ledger().sent());
        self.pass(self.calm).await;
        let (after, now) = (self.effort(), self.streams.ledger().sent());
        after.since(before).each(now[0] + now[1] - sent[0] - sent[1])
    }

    fn effort(&self) -> Effort {
        let nodes = self.cluster.nodes.each_ref().map(RabbitMq::node);
        Effort::so_far(&nodes, &self.routers.each_ref().map(Router::id), self.database.folder())
    }

    async fn kill_router(&mut self) {
        self.begin("kill -9 of a router").await;
        self.routers[0].kill().await;
        self.flow().await;
        self.routers[0].start_ready().await;
        self.pass(self.calm).await;
    }

    async fn kill_leader(&mut self) {
        self.begin("kill -9 of the node that leads the plugins' queues").await;
        let leader = self.next_to_fail();
        block_in_place(|| self.cluster.nodes[leader].kill());
        self.flow().await;
        block_in_place(|| self.cluster.nodes[leader].restart());
        self.pass(self.calm).await;
    }

    async fn restart_database(&mut self) {
        self.begin("crash and restart of PostgreSQL").await;
        block_in_place(|| {
            self.database.crash();
            self.database.restart();
        });
        self.flow().await;
        self.pass(self.calm).await;
    }

    async fn stop_node(&mut self) {
        self.begin("stop and start of a node").await;
        let leader = self.next_to_fail();
        block_in_place(|| self.cluster.nodes[leader].control(&["stop_app"]));
        self.flow().await;
        block_in_place(|| self.cluster.nodes[leader].control(&["start_app"]));
        self.pass(self.calm).await;
    }

    async fn freeze_leader(&mut self) {
        self.begin("the leading node hangs (SIGSTOP)").await;
        let leader = self.next_to_fail();
        block_in_place(|| self.cluster.nodes[leader].freeze());
        self.flow().await;
        block_in_place(|| self.cluster.nodes[leader].thaw());
        self.pass(self.calm).await;
    }

    async fn cut_off_leader(&mut self) {
        self.begin("the leading node is cut off from the others").await;
        let leader = self.next_to_fail();
        block_in_place(|| self.cluster.cut_off(leader));
        self.flow().await;
        block_in_place(|| self.cluster.join(leader));
        self.pass(self.calm).await;
    }

    async fn replace_plugins(&mut self) {
        self.begin("a new version of the plugins, on one router after the other").await;
        let plugin = std::fs::read(plugins::scripted()).expect("the plugin is built");
        let new = plugins::marked(&plugin, 1);
        for number in 0..self.routers.len() {
            let router = &self.routers[number];
            for name in PLUGINS {
                router.put(name, &new);
            }
            router.logged_times("plugin replaced", PLUGINS.len()).await;
            self.flow().await;
        }
        self.pass(self.calm).await;
    }

    async fn replace_routers(&mut self) {
        let name = match self.is_upgraded {
            true => "a new version of the router, one after the other",
            false => "stop and start of one router after the other, of the same version",
        };
        self.begin(name).await;
        for number in 0..self.routers.len() {
            assert!(self.routers[number].stop().await.success());
            self.flow().await;
            let router = &mut self.routers[number];
            router.use_program(ROUTER);
            router.start_ready().await;
        }
        self.pass(self.calm).await;
    }

    async fn begin(&mut self, name: &'static str) {
        let dead = self.dead().await;
        {
            let mut ledger = self.streams.ledger();
            ledger.note_dead(dead);
            ledger.begin(name);
        }
        self.pass(self.calm).await;
    }

    /// The node that leads the queue of the plugin that forwards at once.
    fn next_to_fail(&mut self) -> usize {
        let queue = format!("mo-router.{NOW}");
        let leader = block_in_place(|| self.cluster.leader(0, &queue));
        self.well = self.cluster.other_than(leader);
        leader
    }

    async fn flow(&mut self) {
        shown(&mut self.cluster, self.well, self.streams.flow()).await;
    }

    async fn pass(&mut self, events: u64) {
        shown(&mut self.cluster, self.well, self.streams.pass(events)).await;
    }

    /// How many dead letters wait. A node that has just come back may know of no queue yet.
    async fn dead(&self) -> u64 {
        let urls = self.cluster.urls();
        let waiting = ask_until("the dead letters to be counted", || async {
            let client = Client::try_connect(&urls[0]).await.ok()?;
            client.try_depth(DEAD).await.ok()
        });
        waiting.await.into()
    }

    /// Stops sending, and waits until all has arrived that was sent.
    async fn end(mut self) -> Ledger {
        let mut ledger = self.streams.end().await;
        for router in &mut self.routers {
            assert!(router.stop().await.success());
        }
        let dead = self.dead().await;
        ledger.note_dead(dead);
        assert_eq!(dead, 0, "dead letters:\n{}", ledger.table());
        ledger
    }
}

/// Waits, and says how the queues are, as the node `well` sees it, if that takes long.
async fn shown(cluster: &mut Cluster, well: usize, waiting: impl Future<Output = ()>) {
    let mut waiting = pin!(waiting);
    if timeout(LONG_WAIT, &mut waiting).await.is_err() {
        println!("{}", block_in_place(|| cluster.queues(well)).join("\n"));
        waiting.await;
    }
}

/// One forwards each event at once, the other after [`streams::DELAY`].
const PLUGINS: [&str; 2] = [NOW, streams::LATER];

fn router(url: &str, store: &str) -> Router {
    let amqp = format!(
        "[amqp]\nenabled = true\nurl = {url:?}\nexchange = {MO:?}\noutput_exchange = {ROUTED:?}\n"
    );
    let now = format!(
        "subscriptions = ['{}']\nsingle_active_consumer = true\nconfig.key = '{NOW}'",
        streams::NOW_KEY
    );
    let later = format!(
        "subscriptions = ['{}']\nconfig.key = '{}'\nconfig.delay = '{}'",
        streams::LATER_KEY,
        streams::LATER,
        streams::DELAY.as_millis()
    );
    let router = Router::new(&amqp, &[(NOW, &now), (streams::LATER, &later)]);
    router.set("delay.store", store);
    router
}
