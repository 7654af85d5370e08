//! Loading a plugin from its file.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::Instant;
use tracing::warn;
use wasmtime::component::Component;
use xxhash_rust::xxh3::xxh3_128;

use super::bindings::GuestPre;
use super::call::RunningGuest;
use super::component::{self, Kind};
use super::engine::Ticker;
use super::file::PluginFile;
use super::guest::{GuestSetup, GuestState};
use super::host::Host;
use super::interface::Interface;
use super::log::Log;
use super::plugin::Plugin;
use super::runtime::Runtime;
use crate::event::SHORT_STRING;
use crate::settings::{InstanceMode, PluginSettings};

/// How many topic patterns a plugin may subscribe to.
const MOST_PATTERNS: usize = 1000;

/// The kind of a file's content, and its imports and exports, whether or not it is a
/// plugin that can run here.
///
/// # Errors
/// No component can be made from it.
pub fn inspect(content: &[u8]) -> Result<(Kind, Interface)> {
    let component = component::component(content)?;
    let interface = Interface::of(&component.bytes).context("the file is damaged")?;
    Ok((component.kind, interface))
}

/// The compiled code of a file, ready to run.
struct Compiled {
    guest: GuestPre<GuestState>,
    ticker: Arc<Ticker>,
    interface: Interface,
    kind: Kind,
    cached: bool,
    took: Duration,
}

impl Host {
    /// Loads a plugin: compiles it or takes its code from the cache, and asks it for its
    /// subscriptions, within the limits of `settings`.
    ///
    /// # Errors
    /// Names the file, and says why it cannot be loaded and how to fix it.
    pub async fn load(
        self: &Arc<Self>,
        file: PluginFile,
        settings: &PluginSettings,
    ) -> Result<Arc<Plugin>> {
        let (name, path) = (file.name.clone(), file.path.clone());
        let plugin = self.clone().load_file(file, settings).await;
        plugin.with_context(|| format!("plugin {name} ({})", path.display()))
    }

    async fn load_file(
        self: Arc<Self>,
        file: PluginFile,
        settings: &PluginSettings,
    ) -> Result<Arc<Plugin>> {
        let content = xxh3_128(&file.bytes);
        let size = file.bytes.len();
        let (host, mode) = (self.clone(), settings.instance);
        let prepare = move || host.prepare(content, &file.bytes, mode);
        let compiled = tokio::task::spawn_blocking(prepare).await.context("compiling failed")??;
        let interface_version = compiled.interface.version().context("it exports no filter")?;
        let setup = GuestSetup {
            limits: settings.limits.clone(),
            config: Arc::new(settings.config.clone().into_iter().collect()),
            log: Log::new(&file.name),
            clock: self.clock.clone(),
            in_use: Arc::default(),
            _ticker: compiled.ticker,
        };
        let guest = RunningGuest::start(&compiled.guest, &setup).await?;
        let subscriptions = guest.subscriptions().await?;
        check_patterns(&subscriptions)?;
        if subscriptions.is_empty() && settings.subscriptions.is_none() {
            warn!(plugin = file.name, "the plugin subscribes to nothing and gets no events");
        }
        Ok(Arc::new(Plugin {
            version: format!("{content:032x}")[..12].to_owned(),
            interface_version,
            kind: compiled.kind,
            interface: compiled.interface,
            subscriptions,
            size,
            compile_time: compiled.took,
            cached: compiled.cached,
            guest: compiled.guest,
            setup,
            mode,
            name: file.name,
            path: file.path,
        }))
    }

    /// Compiles a file's content, or finds its code in the cache.
    fn prepare(&self, content: u128, bytes: &[u8], mode: InstanceMode) -> Result<Compiled> {
        let started = Instant::now();
        for runtime in self.runtimes(mode) {
            if let Some(component) = runtime.cached(content) {
                return Ok(Compiled {
                    guest: runtime.link(&component)?,
                    ticker: runtime.ticker.clone(),
                    interface: Interface::of_compiled(&component),
                    kind: Kind::of(bytes),
                    cached: true,
                    took: started.elapsed(),
                });
            }
        }
        let converted = component::component(bytes)?;
        let interface = Interface::of(&converted.bytes).context("the file is damaged")?;
        interface.check()?;
        let (runtime, component) = self.compile(content, &converted.bytes, mode)?;
        Ok(Compiled {
            guest: runtime.link(&component)?,
            ticker: runtime.ticker.clone(),
            interface,
            kind: converted.kind,
            cached: false,
            took: started.elapsed(),
        })
    }

    /// Compiles for the first runtime that can hold the component: the pool has slots of
    /// a fixed size.
    fn compile(
        &self,
        content: u128,
        component: &[u8],
        mode: InstanceMode,
    ) -> Result<(&Runtime, Component)> {
        let _one_at_a_time = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failure = None;
        for runtime in self.runtimes(mode) {
            // Another load, or the previous runtime, may have compiled it in the meantime.
            if let Some(component) = runtime.cached(content) {
                return Ok((runtime, component));
            }
            match runtime.compile(content, component) {
                Ok(component) => return Ok((runtime, component)),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| anyhow!("no runtime can run it")))
    }
}

fn check_patterns(patterns: &[String]) -> Result<()> {
    if patterns.len() > MOST_PATTERNS {
        bail!("it subscribes to {} patterns; the limit is {MOST_PATTERNS}", patterns.len());
    }
    for pattern in patterns {
        if pattern.is_empty() || pattern.len() > SHORT_STRING {
            bail!(
                "it subscribes to {pattern:?}, of {} bytes: a pattern has 1 to {SHORT_STRING}",
                pattern.len()
            );
        }
    }
    Ok(())
}
