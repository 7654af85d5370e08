//! The host: what all plugins share.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use anyhow::Result;
use tracing::warn;

use super::engine::Allocation;
use super::runtime::Runtime;
use crate::clock::Clock;
use crate::settings::InstanceMode;

/// Loads plugins. Made once, and shared.
pub struct Host {
    kept: Runtime,
    /// Made when the first plugin wants it; none if the machine cannot have it.
    fresh: OnceLock<Option<Runtime>>,
    cache_dir: Option<PathBuf>,
    pub(super) clock: Clock,
    /// Held while compiling, which takes all cores and much memory: one at a time.
    pub(super) compiling: Mutex<()>,
}

impl Host {
    /// Makes a host whose guests read the time from `clock`. Compiled code is
    /// kept in `cache_dir`; with none, or one that others can write to, each load
    /// compiles.
    ///
    /// # Errors
    /// The machine cannot run WebAssembly.
    pub fn new(cache_dir: Option<PathBuf>, clock: Clock) -> Result<Self> {
        Ok(Self {
            kept: Runtime::new(Allocation::System, cache_dir.as_deref())?,
            fresh: OnceLock::new(),
            cache_dir,
            clock,
            compiling: Mutex::new(()),
        })
    }

    /// The runtimes for instances that live so long, the best first.
    pub(super) fn runtimes(&self, mode: InstanceMode) -> impl Iterator<Item = &Runtime> {
        let fresh = match mode {
            InstanceMode::Kept => None,
            InstanceMode::Fresh => self.fresh(),
        };
        fresh.into_iter().chain([&self.kept])
    }

    fn fresh(&self) -> Option<&Runtime> {
        let make = || {
            Runtime::new(Allocation::Pool, self.cache_dir.as_deref())
                .inspect_err(|error| warn!("fresh instances will be slow: {error:#}"))
                .ok()
        };
        self.fresh.get_or_init(make).as_ref()
    }
}
