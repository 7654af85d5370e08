//! From a file to a plugin.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use semver::Version;
use tokio::time::Instant;
use tracing::warn;
use wasmtime::component::Component;
use xxhash_rust::xxh3::xxh3_128;

use super::bindings::GuestPre;
use super::component::{self, Kind};
use super::engine::Ticker;
use super::guest::{Guest, Surroundings};
use super::host::Host;
use super::instance::{Instance, Live};
use super::interface::Interface;
use super::log::Log;
use super::runtime::Runtime;
use crate::settings::{InstanceMode, PluginSettings};

/// The longest topic pattern, in bytes: AMQP's longest routing key.
const LONGEST_PATTERN: usize = 255;

/// The most topic patterns that a plugin may ask for.
const MOST_PATTERNS: usize = 1000;

/// A file to load.
#[derive(Clone, Debug)]
pub struct Source {
    /// The plugin's name.
    pub name: String,
    /// Where the file is, for messages.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Bytes,
}

impl Source {
    /// Reads one plugin's file, whose name is the plugin's.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, path: file.to_owned(), bytes: bytes.into() })
    }
}

/// A plugin that loaded: compiled code, and what it said about itself.
pub struct Plugin {
    /// Its name: the file's, without the ending.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// 12 hexadecimal digits that tell one content of the file from another.
    pub version: String,
    /// The version of `os2mo:router` that it was built against.
    pub interface_version: Version,
    /// What the file was.
    pub kind: Kind,
    /// What it imports and exports.
    pub interface: Interface,
    /// The topic patterns that it asks for.
    pub subscriptions: Vec<String>,
    /// Bytes of the file.
    pub size: usize,
    /// How long it took to get the compiled code.
    pub compile_time: Duration,
    /// Whether the code came from the cache.
    pub cached: bool,
    pub(super) guest: GuestPre<Guest>,
    pub(super) surroundings: Surroundings,
    pub(super) mode: InstanceMode,
}

/// What a file is and what it has to do with its host, whether or not it is a
/// plugin that can run here.
///
/// # Errors
/// It is nothing that a component could be made of.
pub fn inspect(content: &[u8]) -> Result<(Kind, Interface)> {
    let made = component::component(content)?;
    let interface = Interface::of(&made.bytes).context("the file is damaged")?;
    Ok((made.kind, interface))
}

/// A file that has become code, ready to run.
struct Ready {
    guest: GuestPre<Guest>,
    ticker: Arc<Ticker>,
    interface: Interface,
    kind: Kind,
    cached: bool,
    took: Duration,
}

impl Host {
    /// Loads a plugin: compiles it or takes its code from the cache, and asks it
    /// for its subscriptions, under the limits of `settings`.
    ///
    /// # Errors
    /// Names the file, says why it is no plugin that can run here, and what to do.
    pub async fn load(
        self: &Arc<Self>,
        source: Source,
        settings: &PluginSettings,
    ) -> Result<Arc<Plugin>> {
        let (name, path) = (source.name.clone(), source.path.clone());
        let plugin = self.clone().load_source(source, settings).await;
        plugin.with_context(|| format!("plugin {name} ({})", path.display()))
    }

    async fn load_source(
        self: Arc<Self>,
        source: Source,
        settings: &PluginSettings,
    ) -> Result<Arc<Plugin>> {
        let content = xxh3_128(&source.bytes);
        let size = source.bytes.len();
        let (host, mode) = (self.clone(), settings.instance);
        let prepare = move || host.prepare(content, &source.bytes, mode);
        let ready = tokio::task::spawn_blocking(prepare).await.context("compiling failed")??;
        let mut plugin = Plugin {
            version: format!("{content:032x}")[..12].to_owned(),
            interface_version: ready.interface.version().context("it exports no filter")?,
            kind: ready.kind,
            interface: ready.interface,
            subscriptions: Vec::new(),
            size,
            compile_time: ready.took,
            cached: ready.cached,
            guest: ready.guest,
            surroundings: Surroundings {
                limits: settings.limits.clone(),
                config: Arc::new(settings.config.clone().into_iter().collect()),
                log: Log::new(&source.name),
                clock: self.clock.clone(),
                _ticker: ready.ticker,
            },
            mode,
            name: source.name,
            path: source.path,
        };
        let subscriptions = Live::start(&plugin).await?.subscriptions().await?;
        check_patterns(&subscriptions)?;
        if subscriptions.is_empty() && settings.subscriptions.is_none() {
            warn!(plugin = plugin.name, "the plugin subscribes to nothing and gets no events");
        }
        plugin.subscriptions = subscriptions;
        Ok(Arc::new(plugin))
    }

    /// Makes code of a file's content, or finds that made before.
    fn prepare(&self, content: u128, bytes: &[u8], mode: InstanceMode) -> Result<Ready> {
        let started = Instant::now();
        for runtime in self.runtimes(mode) {
            if let Some(component) = runtime.cached(content) {
                return Ok(Ready {
                    guest: runtime.link(&component)?,
                    ticker: runtime.ticker.clone(),
                    interface: Interface::of_compiled(&component),
                    kind: Kind::of(bytes),
                    cached: true,
                    took: started.elapsed(),
                });
            }
        }
        let made = component::component(bytes)?;
        let interface = Interface::of(&made.bytes).context("the file is damaged")?;
        interface.check()?;
        let (runtime, component) = self.compile(content, &made.bytes, mode)?;
        Ok(Ready {
            guest: runtime.link(&component)?,
            ticker: runtime.ticker.clone(),
            interface,
            kind: made.kind,
            cached: false,
            took: started.elapsed(),
        })
    }

    /// Compiles for the first runtime that can hold the component: a pool has
    /// places of one size.
    fn compile(
        &self,
        content: u128,
        component: &[u8],
        mode: InstanceMode,
    ) -> Result<(&Runtime, Component)> {
        let _one_at_a_time = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failure = None;
        for runtime in self.runtimes(mode) {
            // Another load may have compiled it meanwhile, or the runtime before this one.
            if let Some(component) = runtime.cached(content) {
                return Ok((runtime, component));
            }
            match runtime.compile(content, component) {
                Ok(component) => return Ok((runtime, component)),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| anyhow!("there is nothing to run it")))
    }
}

impl Plugin {
    /// An instance that starts with its first event.
    pub fn instance(self: &Arc<Self>) -> Instance {
        Instance::idle(self.clone())
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// It trapped or broke a limit while starting.
    pub async fn instantiate(self: &Arc<Self>) -> Result<Instance> {
        Instance::start(self.clone()).await
    }
}

fn check_patterns(patterns: &[String]) -> Result<()> {
    if patterns.len() > MOST_PATTERNS {
        bail!("it subscribes to {} patterns, but {MOST_PATTERNS} are the most", patterns.len());
    }
    for pattern in patterns {
        if pattern.is_empty() || pattern.len() > LONGEST_PATTERN {
            bail!(
                "it subscribes to {pattern:?}, of {} bytes: a pattern has 1 to {LONGEST_PATTERN}",
                pattern.len()
            );
        }
    }
    Ok(())
}
