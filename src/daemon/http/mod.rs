//! The HTTP address: health, metrics and status.

mod metrics;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::error;

use super::{Fleet, Report};
use crate::delay::{Census, Filter, Store};
use crate::event::Datetime;
use crate::router::State as Condition;

/// How long the store may take to say what it holds.
const PATIENCE: Duration = Duration::from_secs(3);

/// How old what metrics say of the store may be: to count millions of messages takes
/// it most of a second.
const CENSUS: Duration = Duration::from_secs(15);

/// What there is to tell of once the delay store is open. Keeps no router from
/// ending.
#[derive(Clone, Default)]
pub struct Opened(Arc<OnceLock<(Weak<Fleet>, Store)>>);

impl Opened {
    /// From now on there is this to tell of.
    pub fn set(&self, fleet: &Arc<Fleet>, store: Store) {
        // It is opened once.
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
    opened: Opened,
    since: Datetime,
    /// What the store held when it was last asked, and when that was.
    census: Arc<Mutex<Option<(Instant, Census)>>>,
}

/// What `mo-router status` shows.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The router's version.
    pub version: &'static str,
    /// Since when it runs.
    pub since: Datetime,
    /// Whether every plugin takes events.
    pub ready: bool,
    /// Delayed messages; none if the store does not answer.
    pub delayed: Option<u64>,
    /// When the next of them is due.
    pub next_due: Option<Datetime>,
    /// Dead letters that wait for people; none if the broker does not say, or there
    /// is none.
    pub dead_letters: Option<u32>,
    /// The plugins.
    pub plugins: Vec<Report>,
}

/// Serves until it is aborted.
pub async fn serve(listener: TcpListener, opened: Opened) {
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(show))
        .route("/plugins/{name}/resume", post(resume))
        .with_state(Shared { opened, since: Datetime::now(), census: Arc::default() });
    if let Err(error) = axum::serve(listener, router).await {
        error!("the HTTP address is gone: {error}");
    }
}

async fn readyz(State(router): State<Shared>) -> impl IntoResponse {
    let unready = match (router.opened.fleet(), router.opened.store()) {
        (Some(fleet), _) if fleet.is_ready() => return (StatusCode::OK, "ready\n"),
        (Some(_), _) => "a plugin waits for the broker\n",
        (None, Some(_)) => "the router stops\n",
        (None, None) => "the delay store is waited for\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, unready)
}

async fn metrics(State(router): State<Shared>) -> impl IntoResponse {
    let status = status(&router, CENSUS).await;
    ([("content-type", metrics::CONTENT_TYPE)], metrics::render(&status))
}

async fn show(State(router): State<Shared>) -> impl IntoResponse {
    Json(status(&router, Duration::ZERO).await)
}

async fn resume(State(router): State<Shared>, Path(name): Path<String>) -> impl IntoResponse {
    match router.opened.fleet().and_then(|fleet| fleet.resume(&name)) {
        Some(Condition::Suspended) => {
            (StatusCode::OK, format!("plugin {name} takes events again\n"))
        }
        Some(_) => (StatusCode::OK, format!("plugin {name} is not suspended\n")),
        None => (StatusCode::NOT_FOUND, format!("no plugin {name:?} runs\n")),
    }
}

async fn status(router: &Shared, census_age: Duration) -> Status {
    let census = census(router, census_age).await;
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION"),
        since: router.since,
        ready: false,
        delayed: census.as_ref().map(|census| census.total),
        next_due: census.and_then(|census| census.next),
        dead_letters: None,
        plugins: Vec::new(),
    };
    if let Some(fleet) = router.opened.fleet() {
        status.ready = fleet.is_ready();
        (status.dead_letters, status.plugins) = tokio::join!(fleet.dead_letters(), fleet.reports());
    }
    status
}

/// What the store holds, or held at most `age` ago.
async fn census(router: &Shared, age: Duration) -> Option<Census> {
    let store = router.opened.store()?;
    // Held while it counts, so that it counts for all who ask.
    let mut last = router.census.lock().await;
    if let Some((at, census)) = &*last
        && at.elapsed() < age
    {
        return Some(census.clone());
    }
    let counted = store.count(Filter::default(), Datetime::now());
    let census = tokio::time::timeout(PATIENCE, counted).await.ok()?.ok()?;
    *last = Some((Instant::now(), census.clone()));
    Some(census)
}
