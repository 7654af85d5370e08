//! The host: what all plugins share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::Semaphore;
use tracing::warn;
use wasmtime::Engine;

use super::cache::Cache;
use super::compile::{Apart, Compiler};
use super::engine::{Allocation, Codegen, engine};
use super::folder::SLOW;
use super::log::{Log, LogLines, RecentLines};
use super::runtime::Runtime;
use crate::clock::Clock;
use crate::settings::InstanceMode;
use crate::unhung::Turns;

/// A permit for each file that is compiled, by whatever host of this process: each can take all
/// processors and much memory.
pub(super) static COMPILING: Semaphore = Semaphore::const_new(2);

/// With so many plugins that were ever loaded, the lines of those that are gone are no longer
/// kept.
const REMEMBERED: usize = 1000;

/// Loads plugins. One is made and shared by everything.
pub struct Host {
    kept: Arc<Runtime>,
    /// Made when the first plugin needs it; none if the machine does not support it.
    fresh: OnceLock<Option<Arc<Runtime>>>,
    /// Of the kept runtime. Compiled code is the same for both.
    pub(super) engine: Engine,
    codegen: Codegen,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) clock: Clock,
    pub(super) compiler: Compiler,
    /// Of those who ask the cache again and again: if it hangs, it has one thread of theirs.
    pub(super) asking: Turns,
    /// What each plugin may log, and has logged, by its name: over all its versions.
    logs: Mutex<BTreeMap<String, Arc<Log>>>,
}

impl Host {
    /// Makes a host whose guests read the time from `clock`. Compiled code is cached
    /// in `cache_dir`. Without one, or if other users can write to it, every load
    /// compiles. It compiles in this process and without limits: for tests and benchmarks.
    ///
    /// # Errors
    /// The machine cannot run WebAssembly.
    pub fn new(cache_dir: Option<PathBuf>, clock: Clock) -> Result<Self> {
        let codegen = Codegen::Optimised;
        let engine = system_engine(codegen)?;
        let cache = cache_dir.and_then(|dir| told(Cache::open(&dir, &engine)));
        Self::with(engine, codegen, cache, clock)
    }

    fn with(engine: Engine, codegen: Codegen, cache: Option<Cache>, clock: Clock) -> Result<Self> {
        let cache = cache.map(Arc::new);
        Ok(Self {
            kept: Runtime::new(engine.clone(), cache.clone())?.into(),
            fresh: OnceLock::new(),
            engine,
            codegen,
            cache,
            clock,
            compiler: Compiler::Here,
            asking: Turns::default(),
            logs: Mutex::default(),
        })
    }

    /// Makes the host of the program `mo-router`, which compiles in processes of its own,
    /// within `[limits] compile_memory` and `compile_timeout`. A cache whose file system does not
    /// answer for [`SLOW`] is not used.
    ///
    /// # Errors
    /// The machine cannot run WebAssembly, or there is no such compiler for it.
    pub async fn of_program(
        cache_dir: Option<PathBuf>,
        clock: Clock,
        codegen: Codegen,
    ) -> Result<Self> {
        let engine = system_engine(codegen)?;
        let cache = match cache_dir {
            Some(dir) => {
                let of_cache = engine.clone();
                told(answered(dir, SLOW, move |dir| Cache::open(dir, &of_cache)).await)
            }
            None => {
                warn!("compiled code is not cached: set [plugins] cache_dir, or HOME");
                None
            }
        };
        // Of the program that runs, even if its file has been replaced.
        Ok(Self::with(engine, codegen, cache, clock)?.compiling_by("/proc/self/exe".into()))
    }

    /// Removes compiled code that was not loaded for 30 days, as far as it can, and what a router
    /// that was killed was writing. For when the plugins are loaded. Blocks.
    pub fn prune_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.prune();
        }
    }

    /// Compiles in processes of `program`, which is `mo-router` of this version.
    #[must_use]
    pub fn compiling_by(self, program: PathBuf) -> Self {
        Self { compiler: Compiler::Apart(Apart { program, codegen: self.codegen }), ..self }
    }

    /// The runtimes that can run instances of this mode, the best first.
    pub(super) fn runtimes(&self, mode: InstanceMode) -> impl Iterator<Item = &Arc<Runtime>> {
        let fresh = match mode {
            InstanceMode::Kept => None,
            InstanceMode::Fresh => self.fresh(),
        };
        fresh.into_iter().chain([&self.kept])
    }

    fn fresh(&self) -> Option<&Arc<Runtime>> {
        let make = || {
            engine(Allocation::Pool, self.codegen)
                .and_then(|engine| Runtime::new(engine, self.cache.clone()))
                .inspect_err(|error| warn!("fresh instances will be slow: {error:#}"))
                .ok()
                .map(Arc::new)
        };
        self.fresh.get_or_init(make).as_ref()
    }

    /// The log of the plugin with this name.
    pub(super) fn log(&self, plugin: &str) -> Arc<Log> {
        let mut logs = self.logs();
        if let Some(log) = logs.get(plugin) {
            return Arc::clone(log);
        }
        if logs.len() >= REMEMBERED {
            // Of plugins that are gone, their counts stay.
            let gone = logs.values().filter(|log| Arc::strong_count(log) == 1);
            gone.for_each(|log| log.forget_lines());
        }
        Arc::clone(logs.entry(plugin.to_owned()).or_insert_with(|| Log::new(plugin)))
    }

    /// How many lines the plugin with this name has logged.
    pub fn log_lines(&self, plugin: &str) -> LogLines {
        self.logs().get(plugin).map(|log| log.lines()).unwrap_or_default()
    }

    /// The newest lines of a plugin after the one with this number; if there is none yet, waits
    /// for it so long. None if no plugin of this name was loaded.
    pub async fn recent_lines(
        &self,
        plugin: &str,
        after: u64,
        wait: Duration,
    ) -> Option<RecentLines> {
        let log = self.logs().get(plugin).map(Arc::clone)?;
        Some(log.recent(after, wait).await)
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Log>>> {
        // No holder leaves anything half done.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn system_engine(codegen: Codegen) -> Result<Engine> {
    engine(Allocation::System, codegen).context("WebAssembly does not run on this machine")
}

/// The cache; none if it cannot be used, which is told.
fn told(opened: Result<Cache>) -> Option<Cache> {
    opened.inspect_err(|error| warn!("compiled code is not cached: {error:#}")).ok()
}

/// What `open` makes of the cache folder.
///
/// # Errors
/// Those of `open`; or the file system does not answer for so long: the thread that opens goes on
/// waiting, and nobody else does.
async fn answered<T: Send + 'static>(
    dir: PathBuf,
    patience: Duration,
    open: impl FnOnce(&Path) -> Result<T> + Send + 'static,
) -> Result<T> {
    let of_thread = dir.clone();
    let opening = tokio::task::spawn_blocking(move || open(&of_thread));
    let unanswered = || {
        anyhow!(
            "the cache folder {} has not answered for {}: look at its file system, and restart the \
             router",
            dir.display(),
            humantime::format_duration(patience)
        )
    };
    tokio::time::timeout(patience, opening)
        .await
        .map_err(|_| unanswered())?
        .context("opening it")?
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn a_cache_that_does_not_answer_holds_up_nobody() {
        let engine = system_engine(Codegen::Optimised).unwrap();
        let (barrier, of_cache) = (Arc::new(Barrier::new(2)), engine.clone());
        let hung = Arc::clone(&barrier);
        let opened = answered("/hangs".into(), Duration::from_millis(50), move |dir| {
            hung.wait();
            Cache::open(dir, &of_cache)
        });
        let error = opened.await.err().expect("it hangs");
        let expected = "the cache folder /hangs has not answered for 50ms: look at its file system";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(told(Err(error)).is_none());
        assert!(Host::with(engine, Codegen::Optimised, None, Clock::system()).is_ok());
        barrier.wait();
        let dir = "/answers".into();
        assert_eq!(answered(dir, Duration::from_secs(60), |_| Ok(7)).await.unwrap(), 7);
    }
}
