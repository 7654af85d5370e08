//! A runtime for components: an engine, what they may import, and the code cache.

use std::sync::Arc;

use anyhow::{Context, Error, Result, anyhow};
use semver::Version;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::Bound;
use super::cache::{Cache, NotWritten};
use super::digest::Digest;
use super::guest::GuestState;
use super::imports::linker;
use super::ticker::Ticker;

/// An engine and everything that belongs to it.
pub(super) struct Runtime {
    engine: Engine,
    linker: Linker<GuestState>,
    cache: Option<Arc<Cache>>,
    ticker: Arc<Ticker>,
}

/// Where guests of a plugin can run: its code in a runtime.
pub(super) struct Home {
    pub(super) guest: Bound,
    /// What interrupts calls there.
    pub(super) ticker: Arc<Ticker>,
}

impl Runtime {
    /// A runtime of this engine that finds compiled code in `cache`.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn new(engine: Engine, cache: Option<Arc<Cache>>) -> Result<Self> {
        Ok(Self {
            linker: linker(&engine)?,
            cache,
            ticker: Arc::new(Ticker::start(&engine)?),
            engine,
        })
    }

    /// The cached code of the file with this hash.
    pub(super) fn cached(&self, content: Digest) -> Option<Component> {
        self.cache.as_ref()?.get(&self.engine, content)
    }

    /// Takes code that was compiled from the file with this hash. Where it is in the cache, it
    /// may be empty.
    ///
    /// # Errors
    /// It was compiled by another version, or does not fit the engine.
    pub(super) fn adopt(&self, content: Digest, code: &[u8]) -> Result<Component> {
        // Loaded from the file, the code is mapped and shared rather than held in memory.
        match self.cached(content) {
            Some(component) => Ok(component),
            None if code.is_empty() => {
                Err(anyhow!("its compiled code does not load from the cache")).context(NotWritten)
            }
            #[expect(unsafe_code, reason = "wasmtime cannot know whose code it is; we do")]
            // SAFETY: this program has just compiled the code, with the same settings.
            None => Ok(unsafe { Component::deserialize(&self.engine, code) }?),
        }
    }

    /// Links a component's imports to the host, and finds its exports: those of the version of
    /// the interface that it was built against.
    pub(super) fn link(&self, component: &Component, version: &Version) -> Result<Home> {
        let linked = self.linker.instantiate_pre(component);
        let bound = linked.and_then(|linked| Bound::new(linked, version));
        let guest = bound.map_err(Error::from).context(
            "the plugin imports or exports something whose type differs from the router's: build it \
             against the router's wit folder and WASI 0.2",
        )?;
        Ok(Home { guest, ticker: Arc::clone(&self.ticker) })
    }
}
