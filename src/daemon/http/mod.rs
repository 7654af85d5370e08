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
use super::Fleet;
use super::fleet::Removal;
use crate::delay::{Census, Filter, Store};
use crate::escape;
use crate::event::Datetime;
use crate::health::{Code, Reason};
use crate::router::State as PluginState;

/// How long the store may take to count what it holds.
const COUNT_TIMEOUT: Duration = Duration::from_secs(3);

/// How old the store's counts in the metrics may be: counting millions of messages takes
/// most of a second.
const COUNT_AGE: Duration = Duration::from_secs(15);

/// What the handlers report on; set once the delay store is open. Does not keep the
/// fleet alive.
#[derive(Clone, Default)]
pub struct Observed(Arc<OnceLock<(Weak<Fleet>, Store)>>);

impl Observed {
    /// From now on there is this to report on.
    pub fn set(&self, fleet: &Arc<Fleet>, store: Store) {
        // The store is opened once.
        let _ = self.0.set((Arc::downgrade(fleet), store));
    }

    fn fleet(&self) -> Option<Arc<Fleet>> {
        self.0.get()?.0.upgrade()
    }

    fn store(&self) -> Option<&Store> {
        Some(&self.0.get()?.1)
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
        .route("/plugins/{name}/remove", post(remove))
        .with_state(Shared { observed, since: Datetime::now(), census: Arc::default() });
    if let Err(error) = axum::serve(listener, router).await {
        error!("the HTTP server has stopped: {error}");
    }
}

async fn readyz(State(router): State<Shared>, headers: HeaderMap) -> Response {
    let (reasons, remarks) = (unready(&router), remarks(&router));
    let (status, ready) = match reasons.is_empty() {
        true => (StatusCode::OK, true),
        false => (StatusCode::SERVICE_UNAVAILABLE, false),
    };
    let accepted = headers.get(ACCEPT).and_then(|types| types.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/json") {
        return (status, json(&json!({ "ready": ready, "reasons": reasons, "remarks": remarks })))
            .into_response();
    }
    let first = if ready { "ready\n" } else { "" };
    let lines: String =
        reasons.iter().chain(&remarks).map(|reason| format!("{reason}\n")).collect();
    (status, format!("{first}{lines}")).into_response()
}

/// What people should know of, though the router is ready.
fn remarks(router: &Shared) -> Vec<Reason> {
    router.observed.fleet().map(|fleet| fleet.remarks()).unwrap_or_default()
}

/// Why the router is not ready.
fn unready(router: &Shared) -> Vec<Reason> {
    match (router.observed.fleet(), router.observed.store()) {
        (Some(fleet), _) => fleet.unready(),
        (None, Some(_)) => vec![Reason::new(Code::Stopping, "router", "the router is stopping")],
        (None, None) => {
            vec![Reason::new(Code::StoreUnavailable, "store", "waiting for the delay store")]
        }
    }
}

async fn metrics(State(router): State<Shared>) -> impl IntoResponse {
    let status = status(&router, COUNT_AGE).await;
    ([("content-type", metrics::CONTENT_TYPE)], metrics::render(&status))
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
        remarks: remarks(router),
        delayed: census.as_ref().map(|census| census.total),
        next_due: census.and_then(|census| census.next),
        dead_letters: None,
        plugins: Vec::new(),
    };
    status.ready = status.reasons.is_empty();
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
