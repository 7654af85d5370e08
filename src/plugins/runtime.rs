//! A runtime for components: an engine, what they may import, and the code cache.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use tracing::warn;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::GuestPre;
use super::cache::Cache;
use super::engine::{Allocation, Ticker, engine};
use super::guest::GuestState;
use super::imports::linker;

/// Opens the cache. Without one, loading is slower.
fn open_cache(dir: &Path, engine: &Engine) -> Option<Cache> {
    Cache::open(dir, engine)
        .inspect_err(|error| warn!("compiled code is not cached: {error:#}"))
        .ok()
}

/// An engine and everything that belongs to it.
pub(super) struct Runtime {
    engine: Engine,
    linker: Linker<GuestState>,
    cache: Option<Cache>,
    pub(super) ticker: Arc<Ticker>,
}

impl Runtime {
    /// A runtime that caches compiled code in `cache_dir`, if that folder is private.
    ///
    /// # Errors
    /// The machine does not support this kind of allocation.
    pub(super) fn new(allocation: Allocation, cache_dir: Option<&Path>) -> Result<Self> {
        let engine = engine(allocation).context("WebAssembly does not run on this machine")?;
        Ok(Self {
            linker: linker(&engine)?,
            cache: cache_dir.and_then(|dir| open_cache(dir, &engine)),
            ticker: Arc::new(Ticker::start(&engine)?),
            engine,
        })
    }

    /// The cached code of the file with this hash.
    pub(super) fn cached(&self, content: u128) -> Option<Component> {
        self.cache.as_ref()?.get(&self.engine, content)
    }

    /// Compiles a component. This takes seconds for languages that bring a runtime.
    /// `content` is the hash of the file that the component was made from.
    pub(super) fn compile(&self, content: u128, component: &[u8]) -> Result<Component> {
        let code = self.engine.precompile_component(component);
        let code = code.map_err(Error::from).context("the file does not compile")?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(content, &code)
        {
            warn!("{error:#}");
        }
        // Loaded from the file, the code is mapped and shared rather than held in memory.
        match self.cached(content) {
            Some(component) => Ok(component),
            #[expect(unsafe_code, reason = "wasmtime cannot know whose code it is; we do")]
            // SAFETY: this engine has just compiled the code.
            None => Ok(unsafe { Component::deserialize(&self.engine, code) }?),
        }
    }

    /// Links a component's imports to the host, and finds its exports.
    pub(super) fn link(&self, component: &Component) -> Result<GuestPre<GuestState>> {
        let linked = self.linker.instantiate_pre(component).and_then(GuestPre::new);
        linked.map_err(Error::from).context(
            "the plugin imports or exports something whose type differs from the router's: build it \
             against the router's wit folder and WASI 0.2",
        )
    }
}
