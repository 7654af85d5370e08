//! Brokers that the tests start themselves.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::block_until;
use super::ports::free_port_of_broker;

/// How many virtual hosts a broker has when it starts. Each makes that take longer.
const AT_START: usize = 8;
/// How many are made together when all have been given away, which takes seconds for few and
/// for many.
const MORE: usize = 64;

/// A RabbitMQ on a free port, with data of its own. It ends with this value, or
/// with the process of the tests, however that ends.
pub struct RabbitMq {
    port: u16,
    virtual_hosts: Mutex<VirtualHosts>,
    script: Child,
    talk: Mutex<Talk>,
}

/// Virtual hosts, by their numbers.
struct VirtualHosts {
    given: usize,
    made: usize,
}

/// What is said to the script that runs the broker, and what it answers.
struct Talk {
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl RabbitMq {
    /// Starts one and waits until it takes connections.
    pub fn start() -> Self {
        Launch::default().start()
    }

    /// The same with lines of its configuration, and plugins of its.
    pub fn configured(configuration: &str, plugins: &str) -> Self {
        Launch { configuration, plugins, ..Launch::default() }.start()
    }

    /// One that can be a node of a cluster: nodes share `epmd`, the port of a running epmd,
    /// and have one virtual host.
    pub fn member(configuration: &str, epmd: u16) -> Self {
        Launch { virtual_hosts: 1, configuration, epmd: Some(epmd), ..Launch::default() }.start()
    }

    /// The URL of a virtual host that nobody else was given.
    pub fn url(&self) -> String {
        let mut hosts = self.virtual_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.given == hosts.made {
            let more = hosts.made + MORE;
            self.tell(&format!("hosts {} {more}", hosts.made), "made");
            hosts.made = more;
        }
        let number = hosts.given;
        hosts.given += 1;
        format!("amqp://guest:guest@127.0.0.1:{}/test{number}", self.port)
    }

    /// Its name among Erlang's nodes.
    pub fn node(&self) -> String {
        format!("mo-router-{}@localhost", self.port)
    }

    /// Where it takes connections.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.tell("kill", "killed");
    }

    /// Starts it again, with the data that it had, and waits until it takes connections.
    pub fn restart(&mut self) {
        self.talk().say("start");
        self.wait();
    }

    /// Makes its queues and bindings old enough to survive SIGKILL: it writes late to disk
    /// that there is a new one.
    pub fn settle(&mut self) {
        self.tell("settle", "settled");
    }

    /// Stops all its processes where they are: connections stay, and nothing answers.
    pub fn freeze(&mut self) {
        self.tell("freeze", "frozen");
    }

    /// Lets them go on.
    pub fn thaw(&mut self) {
        self.tell("thaw", "thawed");
    }

    /// Has rabbitmqctl do something, until it succeeds; gives the lines that it prints.
    pub fn control(&mut self, words: &[&str]) -> Vec<String> {
        let reply = self.ask(&format!("ctl {}", words.join("\x1f")));
        reply.split('\x1f').map(str::to_owned).collect()
    }

    /// Sets a policy for one queue and waits until the queue goes by it, which it does some
    /// time after `rabbitmqctl` has come back.
    pub fn set_policy(&mut self, virtual_host: &str, queue: &str, definition: &str) {
        let (of, pattern) = (["-p", virtual_host], format!("^{queue}$"));
        self.control(&[&["set_policy"], &of[..], &[queue, &pattern, definition]].concat());
        let list = [&["list_queues", "--no-table-headers"], &of[..], &["name", "policy"]].concat();
        let applied = format!("{queue}\t{queue}");
        block_until("a policy", || self.control(&list).contains(&applied));
    }

    /// Has the process of a queue do what Erlang's `sys` can have it do. While that of a classic
    /// queue is told to `suspend`, until `resume`, the broker confirms nothing that is routed there.
    pub fn tell_queue(&mut self, what: &str, virtual_host: &str, queue: &str) {
        let queue = resource(virtual_host, "queue", queue);
        let call = format!(
            "{{ok, Queue}} = rabbit_amqqueue:lookup({queue}), sys:{what}(amqqueue:get_pid(Queue))."
        );
        self.control(&["eval", &call]);
    }

    /// Suspends a queue's process until there is an exchange of this name, which is declared sooner
    /// than rabbitmqctl starts on a busy machine.
    pub fn suspend_queue_until(&mut self, virtual_host: &str, queue: &str, exchange: &str) {
        let queue = resource(virtual_host, "queue", queue);
        let exchange = resource(virtual_host, "exchange", exchange);
        let call = format!(
            "{{ok, Queue}} = rabbit_amqqueue:lookup({queue}), Pid = amqqueue:get_pid(Queue), \
             sys:suspend(Pid), spawn(fun Wait() -> case rabbit_exchange:lookup({exchange}) of \
             {{ok, _}} -> sys:resume(Pid); _ -> timer:sleep(50), Wait() end end)."
        );
        self.control(&["eval", &call]);
    }

    fn tell(&self, command: &str, expected: &str) {
        assert_eq!(self.ask(command), expected);
    }

    fn ask(&self, command: &str) -> String {
        let mut talk = self.talk();
        talk.say(command);
        talk.hear()
    }

    fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It listens only once all else is ready.
    fn wait(&mut self) {
        block_until("RabbitMQ to start", || {
            let ended = self.script.try_wait().expect("broker.sh is ours");
            assert_eq!(ended, None, "broker.sh has ended and says why on standard error");
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }
}

impl Talk {
    fn say(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("broker.sh listens");
    }

    fn hear(&mut self) -> String {
        let mut reply = String::new();
        self.replies.read_line(&mut reply).expect("broker.sh replies");
        assert!(reply.pop() == Some('\n'), "broker.sh has ended");
        reply
    }
}

/// How a broker starts.
struct Launch<'a> {
    virtual_hosts: usize,
    configuration: &'a str,
    plugins: &'a str,
    epmd: Option<u16>,
}

impl Default for Launch<'_> {
    fn default() -> Self {
        Self { virtual_hosts: AT_START, configuration: "", plugins: "", epmd: None }
    }
}

impl Launch<'_> {
    fn start(self) -> RabbitMq {
        let Self { virtual_hosts, configuration, plugins, epmd } = self;
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let configurations = folder.join("conf.d");
        std::fs::create_dir(&configurations).expect("a folder for its configuration");
        std::fs::write(configurations.join("20-own.conf"), configuration)
            .expect("its configuration");
        let port = free_port_of_broker();
        let mut script =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/broker.sh"));
        script
            .arg(&folder)
            .arg(port.to_string())
            .arg(virtual_hosts.to_string())
            .env("DEV_RABBITMQ_PLUGINS", plugins);
        if let Some(epmd) = epmd {
            script.env("DEV_RABBITMQ_EPMD_PORT", epmd.to_string());
            write_cookie(&folder.join(".erlang.cookie"));
        }
        let mut script =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("broker.sh runs");
        let commands = script.stdin.take().expect("its input is ours");
        let replies = BufReader::new(script.stdout.take().expect("its output is ours"));
        let virtual_hosts = Mutex::new(VirtualHosts { given: 0, made: virtual_hosts });
        let talk = Mutex::new(Talk { commands, replies });
        let mut broker = RabbitMq { port, virtual_hosts, script, talk };
        broker.wait();
        broker
    }
}

/// What RabbitMQ itself calls a queue or an exchange: `rabbit_types:r`.
fn resource(virtual_host: &str, kind: &str, name: &str) -> String {
    format!("rabbit_misc:r(<<\"{virtual_host}\">>, {kind}, <<\"{name}\">>)")
}

/// By the same cookie Erlang's nodes know that they may talk to one another. Nobody but
/// its owner may read it.
fn write_cookie(file: &Path) {
    let mut cookie = std::fs::OpenOptions::new();
    let mut cookie = cookie.write(true).create_new(true).mode(0o400).open(file).unwrap();
    cookie.write_all(b"cookie").unwrap();
}

/// The broker that most tests use, each in a virtual host of its own.
pub fn shared() -> &'static RabbitMq {
    static BROKER: OnceLock<RabbitMq> = OnceLock::new();
    BROKER.get_or_init(|| Launch { virtual_hosts: MORE, ..Launch::default() }.start())
}
