//! The HTTP address: health, metrics and status.

mod metrics;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tracing::error;

use super::{Fleet, Report};
use crate::delay::{Filter, Store};
use crate::event::Datetime;
use crate::router::State as Condition;

/// How long the store may take to say what it holds.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct Shared {
    fleet: Arc<Fleet>,
    store: Store,
    since: Datetime,
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
    /// The plugins.
    pub plugins: Vec<Report>,
}

/// Serves until it is aborted.
pub async fn serve(listener: TcpListener, fleet: Arc<Fleet>, store: Store) {
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(async |State(router): State<Shared>| Json(status(&router).await)))
        .route("/plugins/{name}/resume", post(resume))
        .with_state(Shared { fleet, store, since: Datetime::now() });
    if let Err(error) = axum::serve(listener, router).await {
        error!("the HTTP address is gone: {error}");
    }
}

async fn readyz(State(router): State<Shared>) -> impl IntoResponse {
    match router.fleet.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "a plugin waits for the broker\n"),
    }
}

async fn metrics(State(router): State<Shared>) -> impl IntoResponse {
    let status = status(&router).await;
    ([("content-type", metrics::CONTENT_TYPE)], metrics::render(&status))
}

async fn resume(State(router): State<Shared>, Path(name): Path<String>) -> impl IntoResponse {
    match router.fleet.resume(&name) {
        Some(Condition::Suspended) => {
            (StatusCode::OK, format!("plugin {name} takes events again\n"))
        }
        Some(_) => (StatusCode::OK, format!("plugin {name} is not suspended\n")),
        None => (StatusCode::NOT_FOUND, format!("no plugin {name:?} runs\n")),
    }
}

async fn status(router: &Shared) -> Status {
    let now = Datetime::now();
    let census = tokio::time::timeout(PATIENCE, router.store.count(Filter::default(), now)).await;
    let census = census.ok().and_then(Result::ok);
    Status {
        version: env!("CARGO_PKG_VERSION"),
        since: router.since,
        ready: router.fleet.is_ready(),
        delayed: census.as_ref().map(|census| census.total),
        next_due: census.and_then(|census| census.next),
        plugins: router.fleet.reports().await,
    }
}
