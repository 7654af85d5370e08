//! Where the guests of a plugin run.

use std::sync::Arc;

use anyhow::{Context, Result};
use semver::Version;
use tokio::sync::OnceCell;
use tracing::warn;
use wasmtime::component::Component;

use super::digest::Digest;
use super::runtime::{Home, Runtime};

/// The homes of a plugin: the best of those that can hold it, and perhaps a spare one.
pub(super) struct Homes {
    pub(super) best: Home,
    spare: Option<Spare>,
}

/// A home for guests that the best one has no room for. Few plugins ever have so many guests, so
/// it is made when the first of them comes.
struct Spare {
    runtime: Arc<Runtime>,
    /// The code, as the best home runs it.
    code: Component,
    content: Digest,
    version: Version,
    home: OnceCell<Option<Home>>,
}

impl Homes {
    /// The homes of the component `code` of the file with this hash, built against this version
    /// of the interface: the best in `best`, which loaded it, and a spare one in `spare`.
    ///
    /// # Errors
    /// See [`Runtime::link`].
    pub(super) fn new(
        code: Component,
        content: Digest,
        version: Version,
        best: &Runtime,
        spare: Option<Arc<Runtime>>,
    ) -> Result<Self> {
        let best = best.link(&code, &version)?;
        let spare =
            spare.map(|runtime| Spare { runtime, code, content, version, home: OnceCell::new() });
        Ok(Self { best, spare })
    }

    /// The spare home, if there is one.
    pub(super) async fn spare(&self) -> Option<&Home> {
        let spare = self.spare.as_ref()?;
        spare.home.get_or_init(|| spare.make()).await.as_ref()
    }
}

impl Spare {
    /// Loads and links the code; says why if that fails.
    async fn make(&self) -> Option<Home> {
        let (runtime, code, content) = (self.runtime.clone(), self.code.clone(), self.content);
        let version = self.version.clone();
        // It takes longer than a task may.
        let made = tokio::task::spawn_blocking(move || {
            let code = match runtime.cached(content) {
                Some(code) => code,
                None => runtime.adopt(content, &code.serialize()?)?,
            };
            runtime.link(&code, &version)
        });
        let made = made.await.context("loading failed").flatten();
        made.inspect_err(|error| warn!("a plugin has no room for more guests: {error:#}")).ok()
    }
}
