//! Where the guests of a plugin run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::channel::oneshot;
use futures::future::{FutureExt, Shared};
use semver::Version;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::debug;
use wasmtime::component::Component;

use super::digest::Digest;
use super::runtime::{Home, Runtime};

/// The homes of a plugin: the best of those that can hold it, and perhaps a spare one.
pub(super) struct Homes {
    pub(super) best: Home,
    pub(super) spare: Option<Spare>,
}

/// A home for guests that the best one has no room for. It is made beside whatever else is done,
/// since a new version need not wait for what is hardly ever needed.
pub(super) struct Spare(Shared<oneshot::Receiver<Arc<Home>>>);

impl Homes {
    /// Links `component`, which `best` has loaded, and begins to make a spare home in the runtime
    /// `spare`. The component is that of the file with this hash, built against this version of the
    /// interface; its code may be empty where it is in the cache.
    ///
    /// # Errors
    /// See [`Runtime::link`].
    pub(super) fn new(
        component: &Component,
        best: &Runtime,
        spare: Option<&Arc<Runtime>>,
        content: Digest,
        code: Vec<u8>,
        version: Version,
    ) -> Result<Self> {
        let best = best.link(component, &version)?;
        let spare = spare.map(|runtime| Spare::begin(Arc::clone(runtime), content, code, version));
        Ok(Self { best, spare })
    }

    /// The spare home; none if there is none, or not before `patience` is over.
    pub(super) async fn spare(&self, patience: Duration) -> Option<Arc<Home>> {
        timeout(patience, self.spare.as_ref()?.0.clone()).await.ok()?.ok()
    }
}

impl Spare {
    fn begin(runtime: Arc<Runtime>, content: Digest, code: Vec<u8>, version: Version) -> Self {
        let (made, home) = oneshot::channel();
        spawn_blocking(move || {
            let linked = runtime.adopt(content, &code).and_then(|it| runtime.link(&it, &version));
            match linked {
                // Where the plugin is already gone, nobody waits.
                Ok(home) => drop(made.send(Arc::new(home))),
                Err(error) => debug!(%content, "no spare home: {error:#}"),
            }
        });
        Self(home.shared())
    }
}
