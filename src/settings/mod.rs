//! Every setting: its name, meaning, default and limits.
//!
//! Settings come from `mo-router.toml`, then from MO's own variables
//! (`ENABLE_AMQP`, `AMQP_URL`, …), then from the environment as
//! `MO_ROUTER_<SECTION>_<KEY>`; what comes later wins. Nothing below the daemon
//! reads the environment.
//!
//! The structs here are the one place where settings are defined: their fields'
//! documentation, defaults and ranges are what `docs/settings.md` shows.

mod entry;
mod environment;
mod file;
mod load;
mod nearest;
mod reference;
mod section;
#[cfg(test)]
mod tests;
mod url;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

pub use environment::variables;
pub use load::default_file;
pub use reference::reference;
use section::{Section, section};
pub use url::ServerUrl;
use value::{Value, choice};

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `[amqp]`
    pub amqp: Amqp,
    /// `[plugins]`
    pub plugins: Plugins,
    /// `[limits]`, for plugins that have none of their own
    pub limits: Limits,
    /// `[delay]`
    pub delay: Delay,
    /// `[http]`
    pub http: Http,
    /// `[events]`
    pub events: Events,
    /// `[plugin.NAME]`, by [`canonical`] name
    pub plugin: BTreeMap<String, PluginSettings>,
}

section! {
    /// `[amqp]`: the broker.
    pub struct Amqp {
        /// Whether events come over AMQP. Off, they are JSON Lines on standard input.
        enabled: bool = false;
        /// `amqp://user:password@host:port/vhost`, or `amqps://`.
        url: ServerUrl = ServerUrl::local();
        /// The topic exchange that MO publishes to.
        exchange: String = "os2mo_queue".into();
        /// Where publications go that name no exchange.
        output_exchange: String = "os2mo_routed".into();
        /// A plugin's queue is this, a dot, and the plugin's name.
        queue_prefix: String = "mo-router".into();
        /// Of the plugins' queues: `quorum` (replicated) or `classic` (on one node); both durable.
        queue_type: QueueType = QueueType::Quorum;
        /// How many deliveries a plugin may hold unsettled.
        prefetch: u16 = 1000, within 1..=u16::MAX;
        /// Exchanges: `durable` declares them so, of type topic, if they do not exist;
        /// `passive` uses them as they are, and a missing one is an error.
        declare: Declare = Declare::Durable;
        /// Publications that no queue takes: `dead-letter` or `ignore`.
        unroutable: Unroutable = Unroutable::DeadLetter;
        /// How many times a message may pass the router before it is a dead letter.
        max_hops: u32 = 16, within 1..=u32::MAX;
        /// How many times the broker may redeliver an event before it is a dead
        /// letter, against one that takes the whole router down. Quorum queues only.
        delivery_limit: u32 = 100, within 1..=u32::MAX;
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
    /// How exchanges come to be.
    pub enum Declare {
        /// Declared durable and of type topic, if they do not exist.
        Durable = "durable",
        /// Used as they are; a missing one is an error.
        Passive = "passive",
    }
}

choice! {
    /// What to do with publications that no queue takes.
    pub enum Unroutable {
        /// Each is a dead letter.
        DeadLetter = "dead-letter",
        /// They are dropped.
        Ignore = "ignore",
    }
}

section! {
    /// `[plugins]`: where plugins are.
    pub struct Plugins {
        /// The folder that is watched.
        dir: PathBuf = "plugins".into();
        /// Where compiled code is kept. None: `mo-router/code` in the user's cache folder.
        cache_dir: Option<PathBuf> = None;
        /// How long the queue of a removed plugin is kept.
        keep_queue: Duration = Duration::from_hours(7 * 24);
    }
}

section! {
    /// `[limits]`: what one plugin may use.
    pub struct Limits {
        /// Of one call.
        timeout: Duration = Duration::from_secs(1),
            within Duration::from_millis(1)..=Duration::from_hours(1);
        /// Of all memories and tables of one instance.
        memory: u64 = 128 << 20, within 64 << 10..=4 << 30;
        /// Publications of one event.
        max_publications: usize = 1000, within 1..=1_000_000;
        /// Bytes of all publications of one event.
        max_output: u64 = 16 << 20, within 1..=4 << 30;
        /// How many times an event is tried before it is a dead letter.
        attempts: u32 = 5, within 1..=u32::MAX;
        /// The plugin is suspended when events of so many persons or units have failed and
        /// none was answered in between.
        suspend_after: u32 = 20, within 1..=u32::MAX;
    }
}

section! {
    /// `[delay]`: the delay store.
    pub struct Delay {
        /// Where delayed messages are kept: `sqlite:FILE`, or `postgres://user:password@host/database`,
        /// which several routers can share (PostgreSQL 13 or newer); with `?sslmode=require` over TLS.
        store: Store = Store::Sqlite("mo-router.db".into());
    }
}

/// Where delayed messages are kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Store {
    /// `sqlite:FILE`
    Sqlite(PathBuf),
    /// `postgres://…`, which several routers can share
    Postgres(ServerUrl),
}

impl Value for Store {
    fn read(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            Some(("postgres" | "postgresql", _)) => ServerUrl::postgres(text).map(Self::Postgres),
            _ => Err(format!(
                "{:?} must be \"sqlite:FILE\" or \"postgres://user:password@host/database\"",
                url::without_password(text)
            )),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(url) => url.to_string(),
        }
    }
}

section! {
    /// `[http]`: health, metrics and status.
    pub struct Http {
        /// The address to listen on: IP and port. Port 0 takes any free one.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9095));
    }
}

section! {
    /// `[events]`: how events are read.
    pub struct Events {
        /// Where times without an offset are local.
        naive_time_zone: Tz = Tz::Europe__Copenhagen;
    }
}

section! {
    /// `[plugin.NAME]`: one plugin.
    pub struct PluginSettings {
        /// The exchanges that it may publish to. None: the output exchange alone.
        exchanges: Vec<String> = Vec::new();
        /// The events it gets, as AMQP topic patterns. None: those that the plugin asks for.
        subscriptions: Option<Vec<String>> = None;
        /// How many instances route side by side; events of one uuid always go to the same.
        lanes: usize = 1, within 1..=1024;
        /// How long an instance lives: `kept` until it fails or is replaced, or `fresh` for each event.
        instance: InstanceMode = InstanceMode::Kept;
        /// Whether only one router at a time consumes for it, so that order is kept
        /// across routers. A queue keeps what it was made with: to change this, let the
        /// plugin's queue run empty and delete it (`plugin forget`).
        single_active_consumer: bool = false;
        also {
            /// What it may use: `limits.*`, else what `[limits]` says.
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
        /// One event.
        Fresh = "fresh",
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

    /// These, with what `newer` says of plugins: all that may change while the
    /// router runs. The rest is what connections, queues and stores were made with.
    pub fn with_plugins_of(&self, newer: &Self) -> Self {
        Self { limits: newer.limits.clone(), plugin: newer.plugin.clone(), ..self.clone() }
    }

    /// The settings of a plugin before its own section is read.
    fn plugin_defaults(&self) -> PluginSettings {
        PluginSettings { limits: self.limits.clone(), ..PluginSettings::default() }
    }

    /// The sections that are there but once.
    fn sections(&mut self) -> [(&'static str, &mut dyn Section); 6] {
        [
            ("amqp", &mut self.amqp),
            ("plugins", &mut self.plugins),
            ("limits", &mut self.limits),
            ("delay", &mut self.delay),
            ("http", &mut self.http),
            ("events", &mut self.events),
        ]
    }
}

/// A plugin's name as its settings are kept under it. Variables know neither
/// small letters nor hyphens, so `my-plugin`, `my_plugin` and `MY_PLUGIN` are one.
pub fn canonical(plugin: &str) -> String {
    plugin.to_lowercase().replace('_', "-")
}
