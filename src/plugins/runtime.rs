//! What runs components: an engine, what they may import, and their code.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use tracing::warn;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::GuestPre;
use super::cache::Cache;
use super::engine::{Allocation, Ticker, engine};
use super::guest::Guest;
use super::imports::linker;

/// The cache; none, which costs time and nothing else, if it cannot be used.
fn open_cache(dir: &Path, engine: &Engine) -> Option<Cache> {
    Cache::open(dir, engine).inspect_err(|error| warn!("compiled code is not kept: {error:#}")).ok()
}

/// An engine with all that belongs to it.
pub(super) struct Runtime {
    engine: Engine,
    linker: Linker<Guest>,
    cache: Option<Cache>,
    pub(super) ticker: Arc<Ticker>,
}

impl Runtime {
    /// A runtime that keeps code in `cache_dir`, if that is private.
    ///
    /// # Errors
    /// The machine cannot run WebAssembly so.
    pub(super) fn new(allocation: Allocation, cache_dir: Option<&Path>) -> Result<Self> {
        let engine = engine(allocation).context("WebAssembly does not run on this machine")?;
        Ok(Self {
            linker: linker(&engine)?,
            cache: cache_dir.and_then(|dir| open_cache(dir, &engine)),
            ticker: Arc::new(Ticker::start(&engine)?),
            engine,
        })
    }

    /// The cached code of a file with this hash, if there is any.
    pub(super) fn cached(&self, content: u128) -> Option<Component> {
        self.cache.as_ref()?.get(&self.engine, content)
    }

    /// Compiles a component, which takes seconds for languages that bring a
    /// runtime. `content` is the hash of the file that it was made of.
    pub(super) fn compile(&self, content: u128, component: &[u8]) -> Result<Component> {
        let code = self.engine.precompile_component(component);
        let code = code.map_err(Error::from).context("the file does not compile")?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(content, &code)
        {
            warn!("{error:#}");
        }
        // Read back as a file, the code is shared and not counted as our memory.
        match self.cached(content) {
            Some(component) => Ok(component),
            None => {
                #[expect(unsafe_code, reason = "wasmtime must trust the code that it loads")]
                // SAFETY: this engine compiled the code a moment ago.
                let component = unsafe { Component::deserialize(&self.engine, code) };
                Ok(component?)
            }
        }
    }

    /// Ties a component's imports to the host, and finds its exports.
    pub(super) fn link(&self, component: &Component) -> Result<GuestPre<Guest>> {
        let linked = self.linker.instantiate_pre(component).and_then(GuestPre::new);
        linked.map_err(Error::from).context(
            "the plugin imports or exports something in another form than the router has it: build \
             it against the router's wit folder and WASI 0.2",
        )
    }
}
