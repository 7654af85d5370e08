//! Loading a plugin from its file.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::Instant;
use tracing::{info, warn};

use super::cache::NotWritten;
use super::call::RunningGuest;
use super::compile::{Code, Compiled, Description, Task};
use super::component::Kind;
use super::digest::Digest;
use super::failure::Broken;
use super::file::PluginFile;
use super::folder::SLOW;
use super::guest::GuestSetup;
use super::homes::Homes;
use super::host::{COMPILING, Host};
use super::interface::Interface;
use super::log::Threshold;
use super::metadata::Metadata;
use super::plugin::Plugin;
use crate::event::SHORT_STRING;
use crate::settings::{InstanceMode, Limits, PluginSettings};

/// How many topic patterns a plugin may subscribe to.
const MOST_PATTERNS: usize = 1000;

/// The compiled code of a file, ready to run.
struct Ready {
    homes: Homes,
    interface: Interface,
    kind: Kind,
    cached: bool,
}

impl Host {
    /// Says what a file is, whether or not it is a plugin that can run here.
    ///
    /// # Errors
    /// No component can be made from it.
    pub async fn describe(&self, file: &PluginFile, limits: &Limits) -> Result<Description> {
        let _permit = COMPILING.acquire().await?;
        let described = self.compiler.compile(&self.engine, Task::Describe, file, limits, None);
        Ok(described.await?.description)
    }

    /// Loads a plugin: compiles it or takes its code from the cache, and asks it for its
    /// subscriptions, within the limits of `settings`. Dropping the future ends it.
    ///
    /// # Errors
    /// Names the file, and says why it cannot be loaded and how to fix it, also if that may pass by
    /// itself ([`MachineFault`](super::MachineFault), [`Temporary`](super::Temporary)); or it was found
    /// in the folder and is no longer there as it was ([`NotAsFound`](super::NotAsFound)).
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
        mut file: PluginFile,
        settings: &PluginSettings,
    ) -> Result<Arc<Plugin>> {
        let started = Instant::now();
        let size = file.bytes.len();
        let ready = self.prepare(&mut file, settings).await?;
        let of_content = file.bytes.clone();
        let metadata = self.blocking(move |_| Ok(Metadata::of(&of_content))).await?;
        let took = started.elapsed();
        let interface_version = ready.interface.version().context("it exports no filter")?;
        let (setup, subscriptions) = self.set_up(&file.name, &ready.homes, settings).await?;
        let version = file.digest.to_string()[..12].to_owned();
        Ok(Arc::new(Plugin {
            label: match metadata.build() {
                Some(build) => format!("{version} ({build})"),
                None => version.clone(),
            },
            version,
            metadata,
            interface_version,
            kind: ready.kind,
            interface: ready.interface,
            subscriptions,
            size,
            compile_time: took,
            cached: ready.cached,
            content: file.digest,
            homes: Arc::new(ready.homes),
            setup,
            mode: settings.instance,
            name: file.name,
            path: file.path,
        }))
    }

    /// A loaded plugin with other settings, whatever has become of its file: its code is the same.
    ///
    /// # Errors
    /// Names the plugin, and says why it does not run with these settings.
    pub async fn with_settings(
        self: &Arc<Self>,
        plugin: &Plugin,
        settings: &PluginSettings,
    ) -> Result<Arc<Plugin>> {
        let mut homes = Arc::clone(&plugin.homes);
        if settings.instance != plugin.mode {
            // Without a cache that answers, it stays where it is, and runs as it is told to all the same.
            let (content, kind, mode) = (plugin.content, plugin.kind, settings.instance);
            let host = Arc::clone(self);
            let cached = move || host.cached(content, kind, mode);
            let ready = self.asking.answer_within(SLOW, cached).await.unwrap_or(Ok(None))?;
            homes = ready.map_or(homes, |ready| Arc::new(ready.homes));
        }
        let set_up = self.set_up(&plugin.name, &homes, settings).await;
        let (setup, subscriptions) = set_up.with_context(|| {
            format!("plugin {} ({}) with new settings", plugin.name, plugin.path.display())
        })?;
        let mode = settings.instance;
        Ok(Arc::new(Plugin { homes, setup, subscriptions, mode, ..plugin.clone() }))
    }

    /// How a plugin's guests are set up with these settings, and what it subscribes to then.
    async fn set_up(
        &self,
        name: &str,
        homes: &Homes,
        settings: &PluginSettings,
    ) -> Result<(GuestSetup, Vec<String>)> {
        let setup = GuestSetup {
            limits: settings.limits.clone(),
            config: Arc::new(settings.config.clone().into_iter().collect()),
            log: self.log(name),
            threshold: Arc::new(Threshold::of(settings.log_level)),
            clock: self.clock.clone(),
            in_use: Arc::default(),
        };
        let guest = RunningGuest::start(homes, &setup).await;
        let subscriptions = guest.map_err(Broken::while_loading)?.subscriptions().await;
        let subscriptions = subscriptions.map_err(Broken::while_loading)?;
        check_patterns(&subscriptions)?;
        if subscriptions.is_empty() && settings.subscriptions.is_none() {
            warn!(plugin = name, "the plugin subscribes to nothing and gets no events");
        }
        Ok((setup, subscriptions))
    }

    /// Finds a file's code in the cache, or compiles its content. What waits for others that are
    /// compiled takes no room meanwhile, so that it does not hold up what need not be compiled.
    async fn prepare(
        self: &Arc<Self>,
        file: &mut PluginFile,
        settings: &PluginSettings,
    ) -> Result<Ready> {
        let (content, mode) = (file.digest, settings.instance);
        let of_content = file.bytes.clone();
        let ready =
            self.blocking(move |host| host.cached(content, Kind::of(&of_content), mode)).await?;
        if let Some(ready) = ready {
            return Ok(ready);
        }
        let _permit = match COMPILING.try_acquire() {
            Ok(permit) => permit,
            Err(_) => file.put_aside_for(COMPILING.acquire()).await??,
        };
        let file = &*file;
        let PluginFile { name, bytes, .. } = file;
        // Another load may have compiled it in the meantime.
        let of_content = bytes.clone();
        let ready =
            self.blocking(move |host| host.cached(content, Kind::of(&of_content), mode)).await?;
        if let Some(ready) = ready {
            return Ok(ready);
        }
        // It can take a minute, in which nothing else says that the file was seen.
        info!(plugin = name, bytes = bytes.len(), "compiling");
        let compile_and_adopt = async |into| {
            let (engine, limits) = (&self.engine, &settings.limits);
            let compiled = self.compiler.compile(engine, Task::Compile, file, limits, into).await?;
            self.blocking(move |host| host.adopt(content, compiled, mode)).await
        };
        let into = self.blocking(|host| Ok(host.cache.as_ref().and_then(|cache| cache.file())));
        match (&self.cache, into.await?) {
            (Some(cache), Some(into)) => match compile_and_adopt(Some(into)).await {
                Err(error) if error.is::<NotWritten>() => {
                    cache.not_stored(&error);
                    compile_and_adopt(None).await
                }
                ready => ready,
            },
            _ => compile_and_adopt(None).await,
        }
    }

    /// Does what takes longer than a task may.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Host) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let host = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&host)).await.context("loading failed")?
    }

    /// The cached code of a file's content.
    fn cached(&self, content: Digest, kind: Kind, mode: InstanceMode) -> Result<Option<Ready>> {
        let mut runtimes = self.runtimes(mode);
        let loaded = runtimes.find_map(|runtime| Some((runtime, runtime.cached(content)?)));
        let Some((best, component)) = loaded else { return Ok(None) };
        let interface = Interface::of_compiled(&component);
        let (version, spare) = (interface.checked()?, runtimes.next());
        let homes = Homes::new(&component, best, spare, content, Vec::new(), version)?;
        Ok(Some(Ready { homes, interface, kind, cached: true }))
    }

    /// Takes compiled code into the cache, and into the best runtime that can hold the component:
    /// the pool has slots of a fixed size.
    fn adopt(&self, content: Digest, compiled: Compiled, mode: InstanceMode) -> Result<Ready> {
        let Compiled { description: Description { kind, interface }, code } = compiled;
        // It is not asked whether it was: what was compiled apart is not trusted with that.
        let version = interface.checked()?;
        let code = match (code, &self.cache) {
            (Code::File(file), Some(cache)) => cache.keep(content, file)?.unwrap_or_default(),
            (Code::File(_), None) => bail!("there is no cache that the code could be in"),
            (Code::Memory(code), cache) => {
                if let Some(cache) = cache {
                    cache.put(content, &code);
                }
                code
            }
        };
        let (mut runtimes, mut failure) = (self.runtimes(mode), None);
        while let Some(best) = runtimes.next() {
            match best.adopt(content, &code) {
                Ok(component) => {
                    let spare = runtimes.next();
                    let homes = Homes::new(&component, best, spare, content, code, version)?;
                    return Ok(Ready { homes, interface, kind, cached: false });
                }
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

#[cfg(test)]
mod tests;
