//! Where the guests of a plugin run.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{FutureExt, Shared};
use semver::Version;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::debug;

use super::digest::Digest;
use super::runtime::{Home, Runtime};

/// The homes of a plugin: the best of those that can hold it, and perhaps a spare one.
pub(super) struct Homes {
    pub(super) best: Home,
    spare: Option<Spare>,
}

/// A home for guests that the best one has no room for. It is made beside whatever else is done,
/// since a new version need not wait for what is hardly ever needed.
pub(super) struct Spare(Shared<oneshot::Receiver<Arc<Home>>>);

impl Homes {
    pub(super) fn new(best: Home, spare: Option<Spare>) -> Self {
        Self { best, spare }
    }

    /// The spare home; none if there is none, or not before `patience` is over.
    pub(super) async fn spare(&self, patience: Duration) -> Option<Arc<Home>> {
        timeout(patience, self.spare.as_ref()?.0.clone()).await.ok()?.ok()
    }
}

impl Spare {
    /// Begins to make a home in the runtime. The code is that of the file with this hash, built
    /// against this version of the interface; where it is in the cache, it may be empty.
    pub(super) fn begin(
        runtime: Arc<Runtime>,
        content: Digest,
        code: Vec<u8>,
        version: Version,
    ) -> Self {
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
