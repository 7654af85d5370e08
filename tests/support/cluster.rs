//! Three RabbitMQ nodes that are one cluster.

use std::process::{Child, Command, Stdio};

use super::ports::free_port;
use super::rabbitmq::RabbitMq;

/// What the documentation tells operators to set: the smaller side of a partition pauses, and
/// a node that says nothing is missed after a quarter of a minute.
const CONFIGURATION: &str = "cluster_partition_handling = pause_minority\nnet_ticktime = 15\n";

/// Three nodes. They end with this value, or with the process of the tests.
pub struct Cluster {
    /// The nodes; what is asked of one works while that one runs.
    pub nodes: [RabbitMq; 3],
    /// Erlang's name server, which none of them may take down with it. It ends when its
    /// input does.
    _epmd: Child,
}

impl Cluster {
    /// Starts the nodes and makes them one cluster. Blocks for half a minute or so.
    pub fn start() -> Self {
        let port = free_port();
        let epmd = Command::new("sh")
            .args(["-c", "epmd & cat; kill $!"])
            .env("ERL_EPMD_PORT", port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell runs");
        let starting =
            [0; 3].map(|_| std::thread::spawn(move || RabbitMq::member(CONFIGURATION, port)));
        let mut nodes = starting.map(|starting| starting.join().expect("a node starts"));
        let first = nodes[0].node();
        for node in &mut nodes[1..] {
            node.control(&["stop_app"]);
            node.control(&["join_cluster", &first]);
            node.control(&["start_app"]);
        }
        Self { nodes, _epmd: epmd }
    }

    /// The nodes' URL: the hosts are tried in turn, that of `first` before the others.
    pub fn url(&self, first: usize) -> String {
        let host = |number: usize| {
            format!("127.0.0.1:{}", self.nodes[(first + number) % self.nodes.len()].port())
        };
        let hosts = [0, 1, 2].map(host).join(",");
        format!("amqp://guest:guest@{hosts}/test0?heartbeat=5")
    }

    /// The URL of each node.
    pub fn urls(&self) -> Vec<String> {
        let url = |node: &RabbitMq| {
            format!("amqp://guest:guest@127.0.0.1:{}/test0?heartbeat=5", node.port())
        };
        self.nodes.iter().map(url).collect()
    }

    /// Which node leads a quorum queue; `asked` is one that runs.
    pub fn leader(&mut self, asked: usize, queue: &str) -> usize {
        let lines = self.queues(asked);
        let leader = lines.iter().find_map(|line| {
            let (name, rest) = line.split_once('\t')?;
            (name == queue).then(|| rest.split('\t').next().unwrap_or_default())
        });
        let leader = leader.unwrap_or_else(|| panic!("no queue {queue:?} in {lines:?}"));
        self.nodes.iter().position(|node| node.node() == leader).expect("one of the three")
    }

    /// How the quorum queues are, a line each, as a node that runs sees them: the name, the leader, the
    /// state, the members that are online, messages, consumers.
    pub fn queues(&mut self, asked: usize) -> Vec<String> {
        let columns = ["name", "leader", "state", "online", "messages", "consumers"];
        let list = ["list_queues", "--no-table-headers", "-p", "test0"];
        self.nodes[asked].control(&[&list[..], &columns].concat())
    }

    /// Another node.
    pub fn other_than(&self, node: usize) -> usize {
        (node + 1) % self.nodes.len()
    }

    /// Cuts a node off from the others: they and it refuse one another's connections.
    pub fn cut_off(&mut self, node: usize) {
        let cut = |other: String| {
            format!("erlang:set_cookie('{other}', other), erlang:disconnect_node('{other}')")
        };
        self.eval_for_others(node, cut);
    }

    /// Undoes [`Cluster::cut_off`].
    pub fn join(&mut self, node: usize) {
        self.eval_for_others(node, |other| {
            format!("erlang:set_cookie('{other}', erlang:get_cookie())")
        });
    }

    fn eval_for_others(&mut self, node: usize, code: impl Fn(String) -> String) {
        let others = self.nodes.iter().enumerate().filter(|(number, _)| *number != node);
        let code: Vec<String> = others.map(|(_, other)| code(other.node())).collect();
        self.nodes[node].control(&["eval", &format!("{}.", code.join(", "))]);
    }
}
