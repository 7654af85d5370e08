//! The end: what is in flight is settled, and everything is closed, within a time.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::endpoints::Endpoints;
use super::fleet::Fleet;
use crate::delay::Store;
use crate::settings::Daemon;
use crate::telemetry::Exporter;

/// What runs, and has to end.
pub struct Parts {
    pub fleet: Arc<Fleet>,
    pub endpoints: Endpoints,
    pub store: Store,
    pub bridge: Option<JoinHandle<()>>,
    pub scheduler: JoinHandle<()>,
    pub committer: JoinHandle<()>,
    pub monitor: AbortOnDropHandle<()>,
    pub exporter: Option<Exporter>,
    /// Cancelled when bridge and scheduler are to end.
    pub ending: CancellationToken,
}

impl Parts {
    /// Ends all of it within the time that the settings allow, and says what could not be done.
    pub async fn end(self, settings: &Daemon) {
        self.ending.cancel();
        let (now, timeout) = (Instant::now(), settings.stop_timeout);
        let (settled_by, deadline) = (now + settings.for_settling(), now + timeout);
        let events = stop_events(self.bridge, &self.fleet, &self.endpoints);
        let all = async { tokio::join!(events, self.scheduler) };
        if timeout_at(settled_by, all).await.is_err() {
            warn!(
                ?timeout,
                "not everything was settled in time: events that were not will be redelivered, and \
                 delayed messages sent again"
            );
        }
        drop((self.fleet, self.monitor));
        // Bounded too: a session that has not ended may still hand something in. What is in the
        // store's file is complete when nothing writes to it any more.
        let closing = async {
            let _ = tokio::join!(self.committer, self.endpoints.close());
            self.store.close().await;
            if let Some(exporter) = self.exporter {
                exporter.close().await;
            }
        };
        if timeout_at(deadline, closing).await.is_err() {
            warn!("connections were not closed in time");
        }
    }
}

/// Waits until the bridge has ended, and stops the plugins.
async fn stop_events(bridge: Option<JoinHandle<()>>, fleet: &Arc<Fleet>, endpoints: &Endpoints) {
    // A panic has been reported where it happened.
    let bridge = async {
        if let Some(bridge) = bridge {
            let _ = bridge.await;
        }
    };
    match endpoints.broker() {
        Some(_) => {
            tokio::join!(bridge, fleet.stop());
        }
        // The plugins are where the bridge's events go.
        None => {
            bridge.await;
            fleet.stop().await;
        }
    }
}
