//! What pages that are open are told each second.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::census::Counted;
use super::history::confirmed;
use super::{Shared, files, summary};
use crate::daemon::{Gathered, PluginStatus};
use crate::escape;

/// How many pages may be open at once.
const PAGES: usize = 64;
/// How often they are told.
pub const PERIOD: Duration = Duration::from_secs(1);

/// What was told last: all who ask within a second get the same.
pub struct Live {
    latest: Mutex<Option<(Instant, Arc<str>)>>,
    seats: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self { latest: Mutex::default(), seats: Arc::new(Semaphore::new(PAGES)) }
    }
}

impl Live {
    /// Room for one page more; none if there are too many.
    pub fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// How the router is, as JSON on one line, not older than a second.
    pub async fn latest(&self, shared: &Shared) -> Arc<str> {
        let mut latest = self.latest.lock().await;
        match &*latest {
            Some((at, text)) if at.elapsed() < PERIOD * 9 / 10 => Arc::clone(text),
            _ => {
                let text: Arc<str> = escape::json_line(&overview(shared)).into();
                *latest = Some((Instant::now(), Arc::clone(&text)));
                text
            }
        }
    }
}

/// How the router is. Waits for nobody: what only the broker or the store knows was asked for
/// before.
fn overview(shared: &Shared) -> Json {
    let status = summary(shared, shared.counted.read().and_then(Counted::fresh));
    let fleet = shared.observed.fleet();
    let gathered = fleet.as_ref().map(|fleet| fleet.gathered()).unwrap_or_default();
    let plugins = fleet.as_ref().map(|fleet| fleet.statuses_here()).unwrap_or_default();
    let plugins: Vec<Json> =
        plugins.into_iter().map(|status| plugin(shared, status, &gathered)).collect();
    let settings = fleet.as_ref().map(|fleet| fleet.settings());
    let amqp = settings.as_ref().map(|settings| &settings.amqp);
    let connections: Vec<Json> = fleet
        .map(|fleet| fleet.connections())
        .unwrap_or_default()
        .into_iter()
        .map(|it| json!({"name": it.name, "connected": it.connected, "blocked": it.blocked}))
        .collect();
    let sent = shared.observed.store().map_or(0, |store| store.stats().count_sent());
    json!({
        "page": files::HASH,
        "now": crate::event::Datetime::now(),
        "version": status.version,
        "since": status.since,
        "ready": status.ready,
        "reasons": status.reasons,
        "amqp": amqp.is_some_and(|amqp| amqp.enabled),
        "exchange": amqp.map(|amqp| &amqp.exchange),
        "output_exchange": amqp.map(|amqp| &amqp.output_exchange),
        "connections": connections,
        "delayed": status.delayed,
        "overdue": status.overdue,
        "next_due": status.next_due,
        "delayed_sent": sent,
        "dead_letters": gathered.dead_letters,
        "mo": status.mo,
        "plugins": plugins,
    })
}

/// How one plugin is.
pub fn plugin(shared: &Shared, mut status: PluginStatus, gathered: &Gathered) -> Json {
    let queue = gathered.queues.get(&status.name);
    let in_flight = u32::try_from(status.stats.in_flight).unwrap_or(u32::MAX);
    status.backlog = queue.map(|(messages, _)| messages.saturating_add(in_flight));
    let times = shared.history.call_times(&status);
    let mut json = serde_json::to_value(&status).unwrap_or_default();
    json["consumers"] = json!(queue.map(|(_, consumers)| consumers));
    json["memory"] = json!(status.memory);
    json["exchanges"] = json!(status.counted.measures().destinations.read());
    json["confirmed"] = json!(confirmed(&status));
    json["call_p50"] = json!(times.map(|(half, _)| half));
    json["call_p99"] = json!(times.map(|(_, most)| most));
    json
}
