//! The host: what all plugins share.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use anyhow::Result;
use tracing::warn;

use super::engine::Allocation;
use super::runtime::Runtime;
use crate::clock::Clock;
use crate::settings::InstanceMode;

/// Loads plugins. One is made and shared by everything.
pub struct Host {
    kept: Runtime,
    /// Made when the first plugin needs it; none if the machine does not support it.
    fresh: OnceLock<Option<Runtime>>,
    cache_dir: Option<PathBuf>,
    pub(super) clock: Clock,
    /// Held while compiling, which uses all cores and much memory: one at a time.
    pub(super) compiling: Mutex<()>,
}

impl Host {
    /// Makes a host whose guests read the time from `clock`. Compiled code is cached
    /// in `cache_dir`. Without one, or if other users can write to it, every load
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

    /// The runtimes that can run instances of this mode, the best first.
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
