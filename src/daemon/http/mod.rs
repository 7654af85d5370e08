//! The HTTP address: health, metrics and status.

mod metrics;
mod status;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::error;

use self::status::Status;
use super::fleet::Removal;
use super::{Fleet, Hold};
use crate::delay::{Census, Filter, Store};
use crate::escape;
use crate::event::Datetime;
use crate::health::{Code, Health, Reason, is_ready};
use crate::mo;
use crate::router::State as PluginState;

/// How long the store may take to count what it holds.
const COUNT_TIMEOUT: Duration = Duration::from_secs(3);

/// How old the store's counts in the metrics may be: counting millions of messages takes
/// most of a second.
const COUNT_AGE: Duration = Duration::from_secs(15);

/// What the handlers report on. Does not keep the fleet alive.
#[derive(Clone)]
pub struct Observed {
    health: Health,
    hold: Hold,
    /// Set once the delay store is open.
    open: Arc<OnceLock<Parts>>,
}

struct Parts {
    fleet: Weak<Fleet>,
    store: Store,
    /// What the bridge to MO counts, if there is one.
    bridge: Option<mo::Stats>,
}

impl Observed {
    /// So far there is only this to report on.
    pub fn new(health: Health, hold: Hold) -> Self {
        Self { health, hold, open: Arc::default() }
    }

    /// From now on there is this as well; `bridge` is what the bridge to MO counts, if there
    /// is one.
    pub fn set(&self, fleet: &Arc<Fleet>, store: Store, bridge: Option<mo::Stats>) {
        // The store is opened once.
        let _ = self.open.set(Parts { fleet: Arc::downgrade(fleet), store, bridge });
    }

    fn bridge(&self) -> Option<mo::stats::Counts> {
        Some(self.open.get()?.bridge.as_ref()?.read())
    }

    fn fleet(&self) -> Option<Arc<Fleet>> {
        self.open.get()?.fleet.upgrade()
    }

    fn store(&self) -> Option<&Store> {
        Some(&self.open.get()?.store)
    }
}

#[derive(Clone)]
struct Shared {
    observed: Observed,
    since: Datetime,
    /// What the store held when it was last asked, and when that was.
    census: Arc<Mutex<Option<(Instant, Census)>>>,
}

/// Serves until it is aborted.
pub async fn serve(listener: TcpListener, observed: Observed) {
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(show))
        .route("/plugins/{name}/resume", post(resume))
        .route("/delayed/release", post(release))
        .route("/plugins/{name}/remove", post(remove))
        .with_state(Shared { observed, since: Datetime::now(), census: Arc::default() });
    if let Err(error) = axum::serve(listener, router).await {
        error!("the HTTP server has stopped: {error}");
    }
}

async fn readyz(State(router): State<Shared>, headers: HeaderMap) -> Response {
    let reasons = unready(&router);
    let (status, ready) = match is_ready(&reasons) {
        true => (StatusCode::OK, true),
        false => (StatusCode::SERVICE_UNAVAILABLE, false),
    };
    let accepted = headers.get(ACCEPT).and_then(|types| types.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/json") {
        return (status, json(&json!({ "ready": ready, "reasons": reasons }))).into_response();
    }
    let lines = reasons.iter().map(|reason| format!("{reason}\n"));
    let lines: String = ready.then(|| "ready\n".to_owned()).into_iter().chain(lines).collect();
    (status, lines).into_response()
}

/// Why the router is not ready, and what people are told.
fn unready(router: &Shared) -> Vec<Reason> {
    match (router.observed.fleet(), router.observed.store()) {
        (Some(fleet), _) => fleet.unready(),
        (None, Some(_)) => vec![Reason::new(Code::Stopping, "router", "the router is stopping")],
        (None, None) => {
            let waiting = "waiting for the delay store";
            let mut reasons = router.observed.health.reasons();
            if is_ready(&reasons) {
                reasons.push(Reason::new(Code::StoreUnavailable, "store", waiting));
            }
            reasons
        }
    }
}

/// Lets delayed messages go that were held since the start.
async fn release(State(router): State<Shared>) -> &'static str {
    match router.observed.hold.release() {
        true => "delayed messages are sent from now on\n",
        false => "delayed messages are not held\n",
    }
}

async fn metrics(State(router): State<Shared>) -> impl IntoResponse {
    let status = status(&router, COUNT_AGE).await;
    let text = metrics::render(&status, router.observed.store().map(Store::stats));
    ([("content-type", metrics::CONTENT_TYPE)], text)
}

async fn show(State(router): State<Shared>) -> impl IntoResponse {
    json(&status(&router, Duration::ZERO).await)
}

async fn resume(State(router): State<Shared>, Path(name): Path<String>) -> impl IntoResponse {
    match router.observed.fleet().and_then(|fleet| fleet.resume(&name)) {
        Some(PluginState::Suspended) => {
            (StatusCode::OK, format!("plugin {name} takes events again\n"))
        }
        Some(_) => (StatusCode::OK, format!("plugin {name} is not suspended\n")),
        None => (StatusCode::NOT_FOUND, format!("no plugin {:?} runs\n", escape::escaped(&name))),
    }
}

async fn remove(State(router): State<Shared>, Path(name): Path<String>) -> impl IntoResponse {
    let fleet = router.observed.fleet();
    match fleet.map_or(Removal::Unknown, |fleet| fleet.remove_at_once(&name)) {
        Removal::Done => {
            (StatusCode::OK, format!("plugin {name} is removed; its queue keeps its messages\n"))
        }
        Removal::FileIsThere(file) => {
            let file = file.display().to_string();
            let file = escape::escaped(&file);
            (StatusCode::CONFLICT, format!("its file is still there: remove {file} first\n"))
        }
        Removal::Unknown => {
            let name = escape::escaped(&name);
            (StatusCode::NOT_FOUND, format!("no plugin {name:?} runs or has run\n"))
        }
    }
}

/// JSON that can be shown as it is.
fn json(value: &impl Serialize) -> Response {
    match escape::json(value) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status(router: &Shared, max_age: Duration) -> Status {
    let census = census(router, max_age).await;
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION"),
        since: router.since,
        ready: false,
        reasons: unready(router),
        delayed: census.as_ref().map(|census| census.total),
        overdue: router.observed.store().and_then(|store| store.stats().overdue()),
        next_due: census.and_then(|census| census.next),
        dead_letters: None,
        mo: router.observed.bridge(),
        plugins: Vec::new(),
    };
    status.ready = is_ready(&status.reasons);
    if let Some(fleet) = router.observed.fleet() {
        (status.dead_letters, status.plugins) =
            tokio::join!(fleet.dead_letters(), fleet.statuses());
    }
    status
}

/// What the store holds, or held at most `max_age` ago.
async fn census(router: &Shared, max_age: Duration) -> Option<Census> {
    let store = router.observed.store()?;
    // Held while the store counts, so that others wait for the same count.
    let mut last = router.census.lock().await;
    if let Some((at, census)) = &*last
        && at.elapsed() < max_age
    {
        return Some(census.clone());
    }
    let counted = store.count(Filter::default(), Datetime::now());
    let census = tokio::time::timeout(COUNT_TIMEOUT, counted).await.ok()?.ok()?;
    *last = Some((Instant::now(), census.clone()));
    Some(census)
}
