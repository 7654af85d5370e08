//! The settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use super::broker::BrokerUrls;
use super::origins::Origins;
use super::otel::OtelVariables;
use super::secret::Secret;
use super::section::{Section, section};
use super::url::{HttpUrl, StoreUrl};
use super::value::choice;

/// All settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `[amqp]`
    pub amqp: Amqp,
    /// `[plugins]`
    pub plugins: Plugins,
    /// `[limits]`, for plugins without limits of their own
    pub limits: Limits,
    /// `[delay]`
    pub delay: Delay,
    /// `[mo]`
    pub mo: Mo,
    /// `[http]`
    pub http: Http,
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[events]`
    pub events: Events,
    /// `[telemetry]`
    pub telemetry: Telemetry,
    /// `[plugin.NAME]`, by [`canonical`] name
    pub plugin: BTreeMap<String, PluginSettings>,
    /// What the environment set, and what to warn of.
    pub origins: Origins,
}

/// How long nobody may be told, at most, that an exchange or a binding is gone: the broker
/// does not say.
const CHECK_INTERVAL: Duration = Duration::from_mins(1);

section! {
    /// `[amqp]`: the broker.
    pub struct Amqp {
        /// Whether events come from RabbitMQ. If not, they are JSON Lines on standard input.
        enabled: bool = false;
        /// `amqp://user:password@host:port/vhost`, or `amqps://`. Several hosts, or several URLs,
        /// with commas between them are tried in turn.
        url: BrokerUrls = BrokerUrls::local();
        /// A file that holds the URL, in place of `url`, such as a mounted secret. It is read again
        /// whenever a connection is made.
        url_file: Option<PathBuf> = None;
        /// The user, in place of the URL's.
        username: Option<String> = None;
        /// The user's password, in place of the URL's, or an OAuth token.
        password: Option<Secret> = None;
        /// A file that holds the password, which wins over `password`. It is read again whenever a
        /// connection is made; and every few seconds, to tell the broker a new OAuth token on the
        /// connections that are open.
        password_file: Option<PathBuf> = None;
        /// For `amqps://`: a file with certificates, in PEM, of authorities to trust. If none: the
        /// system's. Also the URL's parameter `cacertfile`.
        ca_file: Option<PathBuf> = None;
        /// A file with the router's own certificate, in PEM, for brokers that ask for one. Also the
        /// parameter `certfile`. With the parameter `auth_mechanism=external` it takes the place of a
        /// password.
        cert_file: Option<PathBuf> = None;
        /// A file with the certificate's key. Also the parameter `keyfile`.
        key_file: Option<PathBuf> = None;
        /// The name in the broker's certificate, where that is not the URL's host. Also the
        /// parameter `server_name_indication`.
        server_name: Option<String> = None;
        /// The topic exchange that MO publishes to.
        exchange: String = "os2mo_queue".into(), at the broker;
        /// The exchange for publications that name none.
        output_exchange: String = "os2mo_routed".into(), at the broker;
        /// Start of the queues' names: a plugin's queue is this, a dot, and the plugin's name.
        queue_prefix: String = "mo-router".into(), at the broker;
        /// Type of the plugins' queues: `quorum` (replicated) or `classic` (on one node); both are durable.
        /// A queue keeps the type that it was declared with, and the router refuses one of another.
        queue_type: QueueType = QueueType::Quorum;
        /// How many deliveries a plugin may have in flight; up to four times as many while most
        /// of them wait behind others of the same person or unit. More than ten plugins share
        /// ten times as many.
        prefetch: u16 = 1000, within 1..=u16::MAX;
        /// How much a plugin may have in flight, headers and what it published included. More
        /// than ten plugins share ten times as much.
        prefetch_bytes: u64 = 64 << 20, within 1..=u64::MAX;
        /// `durable` declares exchanges that are missing as durable topic exchanges; `passive` declares
        /// no exchange, and a missing one is an error. Queues that exist are then used as they are.
        declare: Declare = Declare::Durable;
        /// What to do with unroutable publications (no queue is bound to their exchange for their
        /// routing key): `dead-letter` or `ignore`.
        unroutable: Unroutable = Unroutable::DeadLetter;
        /// How many times a message may pass through the router before it becomes a dead letter.
        max_hops: u32 = 16, within 1..=u32::MAX;
        /// How many times the broker may redeliver an event before it becomes a dead letter,
        /// in case the event crashes the router. Quorum queues only. A queue keeps the limit that it
        /// was declared with, and the router refuses one with another: a changed limit is for new queues.
        delivery_limit: u32 = 100, within 1..=u32::MAX;
        /// How often to check that the source exchange, the queues and their bindings are still
        /// there, and to declare again what is missing.
        check_interval: Duration = CHECK_INTERVAL, within Duration::from_millis(100)..=CHECK_INTERVAL;
    }
}

choice! {
    /// The type of the plugins' queues.
    pub enum QueueType {
        /// Replicated and durable.
        Quorum = "quorum",
        /// On one node, durable.
        Classic = "classic",
    }
}

choice! {
    /// Whether the router declares exchanges.
    pub enum Declare {
        /// Missing ones are declared as durable topic exchanges.
        Durable = "durable",
        /// Nothing is declared; a missing exchange is an error.
        Passive = "passive",
    }
}

choice! {
    /// What to do with unroutable publications.
    pub enum Unroutable {
        /// Each becomes a dead letter.
        DeadLetter = "dead-letter",
        /// They are dropped.
        Ignore = "ignore",
    }
}

section! {
    /// `[plugins]`: where plugins are.
    pub struct Plugins {
        /// The folder to load plugins from, and to watch for changes.
        dir: PathBuf = "plugins".into();
        /// Where to keep compiled code. If not set: `mo-router/code` in the user's cache folder.
        cache_dir: Option<PathBuf> = None;
        /// How long to keep the bindings of a removed plugin, so that its queue keeps filling. They
        /// stay if another router consumes from the queue at any time until then.
        keep_bindings: Duration = Duration::from_mins(10);
        /// How long to keep the queue of a removed plugin.
        keep_queue: Duration = Duration::from_hours(7 * 24);
    }
}

section! {
    /// `[limits]`: what one plugin may use.
    pub struct Limits {
        /// How long one call may take.
        timeout: Duration = Duration::from_secs(1),
            within Duration::from_millis(1)..=Duration::from_hours(1);
        /// How much memory one instance may use: all its memories and tables together.
        memory: u64 = 128 << 20, within 64 << 10..=4 << 30;
        /// How many publications one event may cause.
        max_publications: usize = 1000, within 1..=1_000_000;
        /// How large all publications of one event together may be.
        max_output: u64 = 16 << 20, within 1..=4 << 30;
        /// How many times to try an event before it becomes a dead letter.
        attempts: u32 = 5, within 1..=u32::MAX;
        /// The plugin is suspended after failing on the events of this many different
        /// persons or units in a row.
        suspend_after: u32 = 20, within 1..=u32::MAX;
        /// How much memory compiling the plugin may take.
        compile_memory: u64 = 2 << 30, within 256 << 20..=1 << 40;
        /// How much of the processors' time compiling the plugin may take. On a busy machine it
        /// may last five times as long.
        compile_timeout: Duration = Duration::from_mins(2),
            within Duration::from_secs(1)..=Duration::from_hours(1);
    }
}

section! {
    /// `[delay]`: the delay store.
    pub struct Delay {
        /// Where to keep delayed messages: `sqlite:FILE`, or `postgres://user:password@host/database`,
        /// which several routers can share (PostgreSQL 13 or newer). TLS is tried first; libpq's
        /// `sslmode`, `sslrootcert`, `sslcert` and `sslkey` say more.
        store: StoreUrl = StoreUrl::Sqlite("mo-router.db".into());
        /// A file that holds the database's password, which wins over the URL's. It is read again
        /// whenever a connection is made.
        password_file: Option<PathBuf> = None;
    }
}

section! {
    /// `[mo]`: MO's GraphQL events.
    pub struct Mo {
        /// Whether to fetch MO's GraphQL events and publish them to the source exchange, for all
        /// plugins and other consumers. Without AMQP they go to the plugins of this router only.
        enabled: bool = false;
        /// MO's address: `http://host:port` or `https://`.
        url: HttpUrl = HttpUrl::constant("http://mo-service:5000");
        /// The client at Keycloak that the router logs in as. If none, it does not log in.
        client_id: Option<String> = None;
        /// The client's secret.
        client_secret: Option<Secret> = None;
        /// A file with the client's secret, which wins over `client_secret`. It is read again for
        /// each token.
        client_secret_file: Option<PathBuf> = None;
        /// Keycloak's address.
        auth_server: HttpUrl = HttpUrl::constant("http://keycloak-service:8080/auth");
        /// The realm at Keycloak.
        auth_realm: String = "mo".into();
        /// A file with certificates, in PEM, of authorities to trust. If none: the system's.
        ca_file: Option<PathBuf> = None;
        /// The version of MO's GraphQL interface.
        api_version: String = "v25".into();
        /// The exchange to publish to. If none: the source exchange.
        exchange: Option<String> = None, at the broker;
        /// The routing keys to fetch events of. If none: the one-word keys that plugins ask for.
        routing_keys: Vec<String> = Vec::new(), at the broker;
        /// How many events to ask for in one request.
        batch: usize = 25, within 1..=500;
        /// How long to wait before asking again when there was no event.
        pause: Duration = Duration::from_secs(5),
            within Duration::from_millis(50)..=Duration::from_mins(10);
        /// Start of the names of the listeners at MO: a listener's `user_key` is this, a dot, and
        /// its routing key.
        user_key: String = "mo-router".into();
    }
}

section! {
    /// `[http]`: the page, health, metrics and status.
    pub struct Http {
        /// The IP address and port to listen on. Port 0 takes any free one.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9095));
        /// A file with the token that whoever changes something over HTTP has to know: the page and
        /// commands such as `plugin resume`. It has 16 characters or more, and is read again each
        /// time. Without one, nothing can be changed over HTTP.
        token_file: Option<PathBuf> = None;
        /// The names, besides `localhost` and IP addresses, under which browsers may ask for the page,
        /// such as that of a proxy before it.
        allowed_hosts: Vec<String> = Vec::new();
    }
}

section! {
    /// `[daemon]`: the process.
    pub struct Daemon {
        /// How long stopping may take, all together. What is not settled by then is redelivered.
        stop_timeout: Duration = Duration::from_secs(25),
            within Duration::from_millis(100)..=Duration::from_hours(1);
    }
}

/// The part of the time for a stop that is kept for closing the connections, when not everything can
/// be settled.
const FOR_CLOSING: f64 = 0.2;

/// The part of it that plugins have to finish what is in flight: one that does not says so, and tells
/// the broker what it has settled.
const FOR_FINISHING: f64 = 0.75;

impl Daemon {
    /// How long a plugin may take to finish what is in flight when the router is told to stop. Less than
    /// [`Daemon::for_settling`], which begins before it.
    pub fn for_finishing(&self) -> Duration {
        self.stop_timeout.mul_f64(FOR_FINISHING)
    }

    /// How long what is in flight may take to be settled when the router is told to stop.
    pub fn for_settling(&self) -> Duration {
        self.stop_timeout.mul_f64(1.0 - FOR_CLOSING)
    }
}

section! {
    /// `[events]`: how to read events.
    pub struct Events {
        /// The time zone of times without an offset.
        naive_time_zone: Tz = Tz::Europe__Copenhagen;
    }
}

section! {
    /// `[telemetry]`: traces, for an OpenTelemetry collector.
    pub struct Telemetry {
        /// The address of a collector that takes OTLP over HTTP, such as `http://localhost:4318`. Without
        /// one there are no traces. Also `OTEL_EXPORTER_OTLP_ENDPOINT`.
        endpoint: Option<HttpUrl> = None;
        /// The fraction of the events that are traced, unless their publisher has decided. Failures are
        /// traced in any case.
        sample: f64 = 0.01, within 0.0..=1.0;
        also {
            /// What OpenTelemetry's own variables say.
            otel: OtelVariables;
        }
    }
}

section! {
    /// `[plugin.NAME]`: one plugin.
    pub struct PluginSettings {
        /// The exchanges that the plugin may publish to. If none: only the output exchange.
        exchanges: Vec<String> = Vec::new(), at the broker;
        /// The events that the plugin gets, as AMQP topic patterns. If none: those it asks for itself.
        subscriptions: Option<Vec<String>> = None, at the broker;
        /// How many workers route the plugin's events side by side; all events of one uuid go to the
        /// same worker.
        lanes: usize = 1, within 1..=1024;
        /// How long an instance lives: `kept` until it fails or is replaced, or `fresh` for each event.
        instance: InstanceMode = InstanceMode::Kept;
        /// Whether only one router at a time consumes the plugin's events, which keeps their order
        /// across routers. Fixed when the queue is declared: to change it, let the queue
        /// run empty and delete it (`plugin forget`).
        single_active_consumer: bool = false;
        /// From which level on the plugin's lines are logged: `error`, `warn`, `info`, `debug`,
        /// `trace`, or `off`. If not set: as the router's own, from `info` on or as `RUST_LOG` says.
        log_level: Option<LogLevel> = None;
        also {
            /// What the plugin may use: `limits.*`, otherwise as in `[limits]`.
            limits: Limits;
            /// The plugin's own settings, `config.*`, which it reads through `wasi:config/store`.
            config: BTreeMap<String, String>;
        }
    }
}

choice! {
    /// How long an instance lives.
    pub enum InstanceMode {
        /// Until it fails or is replaced.
        Kept = "kept",
        /// For one event.
        Fresh = "fresh",
    }
}

choice! {
    /// How much a line of a plugin's log matters.
    pub enum LogLevel {
        /// None is logged.
        Off = "off",
        /// Errors.
        Error = "error",
        /// Warnings and errors.
        Warn = "warn",
        /// What people want to know of.
        Info = "info",
        /// What an author wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

impl Settings {
    /// The settings of one plugin.
    pub fn of_plugin(&self, name: &str) -> PluginSettings {
        let mut own =
            self.plugin.get(&canonical(name)).cloned().unwrap_or_else(|| self.plugin_defaults());
        if own.exchanges.is_empty() {
            own.exchanges.push(self.amqp.output_exchange.clone());
        }
        own
    }

    /// These settings with the plugins' part of `newer`: only that can change while
    /// the router runs. Connections, queues and stores were made with the rest.
    pub fn with_plugins_of(&self, newer: &Self) -> Self {
        Self { limits: newer.limits.clone(), plugin: newer.plugin.clone(), ..self.clone() }
    }

    /// The settings of a plugin before its own section is read.
    pub(super) fn plugin_defaults(&self) -> PluginSettings {
        PluginSettings { limits: self.limits.clone(), ..PluginSettings::default() }
    }

    /// All sections but the plugins', by name.
    pub(super) fn sections(&mut self) -> [(&'static str, &mut dyn Section); 9] {
        [
            ("amqp", &mut self.amqp),
            ("plugins", &mut self.plugins),
            ("limits", &mut self.limits),
            ("delay", &mut self.delay),
            ("mo", &mut self.mo),
            ("http", &mut self.http),
            ("daemon", &mut self.daemon),
            ("events", &mut self.events),
            ("telemetry", &mut self.telemetry),
        ]
    }
}

/// The name that a plugin's settings are stored under. Variables have neither
/// lower-case letters nor hyphens, so `my-plugin`, `my_plugin` and `MY_PLUGIN` are one.
pub fn canonical(plugin: &str) -> String {
    plugin.to_lowercase().replace('_', "-")
}
