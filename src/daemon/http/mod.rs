//! The HTTP address: health, metrics and status.

mod metrics;
mod status;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use self::metrics::{Format, Observations};
use self::status::Status;
use super::{Fleet, Reloads};
use crate::delay::{Census, Filter, Store};
use crate::event::Datetime;
use crate::health::{Code, Reason};
use crate::router::State as PluginState;

/// How long the store may take to count what it holds.
const COUNT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the store is counted for the metrics: counting millions of messages takes
/// most of a second.
const COUNT_AGE: Duration = Duration::from_secs(15);

/// What the handlers report on; set once the delay store is open. Does not keep the
/// fleet alive.
#[derive(Clone, Default)]
pub struct Observed {
    parts: Arc<OnceLock<(Weak<Fleet>, Store)>>,
    reloads: Arc<Reloads>,
}

impl Observed {
    /// From now on there is this to report on.
    pub fn set(&self, fleet: &Arc<Fleet>, store: Store) {
        // The store is opened once.
        let _ = self.parts.set((Arc::downgrade(fleet), store));
    }

    /// What is known of reading the settings again.
    pub fn reloads(&self) -> &Arc<Reloads> {
        &self.reloads
    }

    fn fleet(&self) -> Option<Arc<Fleet>> {
        self.parts.get()?.0.upgrade()
    }

    fn store(&self) -> Option<&Store> {
        Some(&self.parts.get()?.1)
    }
}

#[derive(Clone)]
struct Shared {
    observed: Observed,
    since: Datetime,
    /// What the store held when it was last asked.
    census: Arc<Mutex<Option<Census>>>,
}

/// Serves until it is aborted.
pub async fn serve(listener: TcpListener, observed: Observed) {
    let shared = Shared { observed, since: Datetime::now(), census: Arc::default() };
    let _counting = AbortOnDropHandle::new(tokio::spawn(keep_counting(shared.clone())));
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(show))
        .route("/plugins/{name}/resume", post(resume))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        error!("the HTTP server has stopped: {error}");
    }
}

async fn readyz(State(router): State<Shared>, headers: HeaderMap) -> Response {
    let reasons = unready(&router);
    let (status, ready) = match reasons.is_empty() {
        true => (StatusCode::OK, true),
        false => (StatusCode::SERVICE_UNAVAILABLE, false),
    };
    if accepted(&headers).contains("application/json") {
        return (status, Json(json!({ "ready": ready, "reasons": reasons }))).into_response();
    }
    let lines: String = match ready {
        true => "ready\n".into(),
        false => reasons.iter().map(|reason| format!("{reason}\n")).collect(),
    };
    (status, lines).into_response()
}

/// The media types that somebody takes.
fn accepted(headers: &HeaderMap) -> &str {
    headers.get(ACCEPT).and_then(|types| types.to_str().ok()).unwrap_or_default()
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

/// Waits for nobody: what only the broker or the store knows was asked for before.
async fn metrics(State(router): State<Shared>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::accepted(accepted(&headers));
    let fleet = router.observed.fleet();
    let fleet = fleet.as_ref();
    // Somebody who counts holds it; the count is then told the next time.
    let census = router.census.try_lock().ok().and_then(|last| last.clone());
    let plugins = fleet.map(|fleet| fleet.statuses_here()).unwrap_or_default();
    let observations = Observations {
        status: Status { plugins, ..summary(&router, census) },
        gathered: fleet.map(|fleet| fleet.gathered()).unwrap_or_default(),
        confirms: fleet.map(|fleet| fleet.confirms()),
        connections: fleet.map(|fleet| fleet.connections()).unwrap_or_default(),
        reloads: router.observed.reloads().read(),
    };
    ([("content-type", format.content_type())], metrics::render(observations, format))
}

/// Counts what the store holds, for the metrics, for ever.
async fn keep_counting(router: Shared) {
    loop {
        census(&router).await;
        tokio::time::sleep(COUNT_AGE).await;
    }
}

async fn show(State(router): State<Shared>) -> impl IntoResponse {
    Json(status(&router).await)
}

async fn resume(State(router): State<Shared>, Path(name): Path<String>) -> impl IntoResponse {
    match router.observed.fleet().and_then(|fleet| fleet.resume(&name)) {
        Some(PluginState::Suspended) => {
            (StatusCode::OK, format!("plugin {name} takes events again\n"))
        }
        Some(_) => (StatusCode::OK, format!("plugin {name} is not suspended\n")),
        None => (StatusCode::NOT_FOUND, format!("no plugin {name:?} runs\n")),
    }
}

async fn status(router: &Shared) -> Status {
    let mut status = summary(router, census(router).await);
    if let Some(fleet) = router.observed.fleet() {
        (status.dead_letters, status.plugins) =
            tokio::join!(fleet.dead_letters(), fleet.statuses());
    }
    status
}

/// The status as far as nobody has to be asked for it.
fn summary(router: &Shared, census: Option<Census>) -> Status {
    let reasons = unready(router);
    Status {
        version: env!("CARGO_PKG_VERSION"),
        since: router.since,
        ready: reasons.is_empty(),
        reasons,
        delayed: census.as_ref().map(|census| census.total),
        next_due: census.and_then(|census| census.next),
        dead_letters: None,
        plugins: Vec::new(),
    }
}

/// What the store holds.
async fn census(router: &Shared) -> Option<Census> {
    let store = router.observed.store()?;
    let counted = store.count(Filter::default(), Datetime::now());
    let census = tokio::time::timeout(COUNT_TIMEOUT, counted).await.ok()?.ok()?;
    *router.census.lock().await = Some(census.clone());
    Some(census)
}
