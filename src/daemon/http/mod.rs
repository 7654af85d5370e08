//! The HTTP address: health, metrics, status, and the page.

mod api;
mod census;
mod connections;
mod failure;
mod files;
mod guard;
mod history;
mod live;
mod logs;
mod metrics;
mod sessions;
mod status;

use std::sync::{Arc, OnceLock, Weak};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use self::census::{Counted, LastCount, keep_counting};
use self::failure::{Failure, in_json, no_such_method, no_such_path};
use self::guard::{Changer, Guard, protect};
use self::history::History;
use self::live::Live;
use self::metrics::{Format, Observations};
use self::status::Status;
use super::fleet::Removal;
use super::{Fleet, Hold, Reloads};
use crate::delay::{Census, Store};
use crate::escape;
use crate::event::Datetime;
use crate::health::{Code, Health, Reason, is_ready};
use crate::mo;
use crate::router::State as PluginState;
use crate::settings;

/// What the handlers report on. Does not keep the fleet alive.
#[derive(Clone)]
pub struct Observed {
    health: Health,
    hold: Hold,
    reloads: Arc<Reloads>,
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
        Self { health, hold, reloads: Arc::default(), open: Arc::default() }
    }

    /// From now on there is this as well; `bridge` is what the bridge to MO counts, if there
    /// is one.
    pub fn set(&self, fleet: &Arc<Fleet>, store: Store, bridge: Option<mo::Stats>) {
        // The store is opened once.
        let _ = self.open.set(Parts { fleet: Arc::downgrade(fleet), store, bridge });
    }

    /// What is known of reading the settings again.
    pub fn reloads(&self) -> &Arc<Reloads> {
        &self.reloads
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
    /// What the store held when it was last counted.
    counted: Arc<LastCount>,
    guard: Arc<Guard>,
    live: Arc<Live>,
    history: Arc<History>,
    /// Held while dead letters are read.
    reading_dead: Arc<Mutex<()>>,
    /// Held while events are tried.
    trying: Arc<Mutex<()>>,
    /// Seats of those who wait for a line of a plugin's.
    waiting: Arc<Semaphore>,
}

impl Shared {
    /// Nobody has asked for anything yet.
    fn new(observed: Observed, guard: Guard) -> Self {
        Self {
            observed,
            since: Datetime::now(),
            counted: Arc::default(),
            guard: Arc::new(guard),
            live: Arc::default(),
            history: Arc::default(),
            reading_dead: Arc::default(),
            trying: Arc::default(),
            waiting: Arc::new(Semaphore::new(logs::MOST_WAITING)),
        }
    }
}

/// Serves until it is aborted, whom the settings let.
pub async fn serve(listener: TcpListener, observed: Observed, settings: settings::Http) {
    let port = listener.local_addr().map_or(settings.listen.port(), |address| address.port());
    let shared = Shared::new(observed, Guard::new(settings, port));
    let _counting = AbortOnDropHandle::new(tokio::spawn(keep_counting(shared.clone())));
    let _history = AbortOnDropHandle::new(tokio::spawn(keep_history(shared.clone())));
    let protected = Router::new()
        .route("/", get(files::index))
        .route("/status", get(show))
        .route("/plugins/{name}/logs", get(logs::show))
        .route("/page/{hash}/{*name}", get(files::file))
        .route("/plugins/{name}/resume", post(resume))
        .route("/delayed/release", post(release))
        .route("/plugins/{name}/remove", post(remove))
        .merge(api::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(in_json))
        .layer(from_fn_with_state(shared.clone(), protect));
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(no_such_method)
        .merge(protected)
        .with_state(shared);
    connections::serve(listener, router).await;
}

async fn readyz(State(router): State<Shared>, headers: HeaderMap) -> Response {
    let reasons = unready(&router);
    let (status, ready) = match is_ready(&reasons) {
        true => (StatusCode::OK, true),
        false => (StatusCode::SERVICE_UNAVAILABLE, false),
    };
    if accepted(&headers).contains("application/json") {
        return (status, json(&json!({ "ready": ready, "reasons": reasons }))).into_response();
    }
    let lines = reasons.iter().map(|reason| format!("{reason}\n"));
    let lines: String = ready.then(|| "ready\n".to_owned()).into_iter().chain(lines).collect();
    (status, lines).into_response()
}

/// The media types that somebody takes.
fn accepted(headers: &HeaderMap) -> &str {
    headers.get(ACCEPT).and_then(|types| types.to_str().ok()).unwrap_or_default()
}

/// Why the router is not ready, and what people are told.
fn unready(router: &Shared) -> Vec<Reason> {
    match (router.observed.fleet(), router.observed.store()) {
        (Some(fleet), _) => fleet.unready(),
        (None, Some(_)) => Fleet::stopping(&router.observed.health),
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
async fn release(changer: Changer, State(router): State<Shared>) -> &'static str {
    match router.observed.hold.release() {
        true => {
            changer.log("delayed messages are released");
            "delayed messages are sent from now on\n"
        }
        false => "delayed messages are not held\n",
    }
}

/// Waits for nobody: what only the broker or the store knows was asked for before.
async fn metrics(State(router): State<Shared>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::accepted(accepted(&headers));
    let fleet = router.observed.fleet();
    let fleet = fleet.as_ref();
    let counted = router.counted.read();
    let counted_at = counted.as_ref().map(|counted| counted.at);
    let plugins = fleet.map(|fleet| fleet.statuses_here()).unwrap_or_default();
    let observations = Observations {
        status: Status { plugins, ..summary(&router, counted.and_then(Counted::fresh)) },
        counted: counted_at,
        gathered: fleet.map(|fleet| fleet.gathered()).unwrap_or_default(),
        confirms: fleet.map(|fleet| fleet.confirms()),
        connections: fleet.map(|fleet| fleet.connections()).unwrap_or_default(),
        reloads: router.observed.reloads().read(),
        spans: fleet.and_then(|fleet| fleet.spans()),
    };
    let store = router.observed.store().map(Store::stats);
    let text = metrics::render(observations, store, format);
    ([("content-type", format.content_type())], text)
}

/// Takes the numbers of the last hour, for ever.
async fn keep_history(router: Shared) {
    loop {
        let plugins = router.observed.fleet().map(|fleet| fleet.statuses_here());
        router.history.take(&plugins.unwrap_or_default(), router.observed.store());
        tokio::time::sleep(history::PERIOD).await;
    }
}

async fn show(State(router): State<Shared>) -> impl IntoResponse {
    json(&status(&router).await)
}

async fn resume(
    changer: Changer,
    State(router): State<Shared>,
    Path(name): Path<String>,
) -> Result<String, Failure> {
    match router.observed.fleet().and_then(|fleet| fleet.resume(&name)) {
        Some(PluginState::Suspended) => {
            changer.log(&format!("plugin {name} is resumed"));
            Ok(format!("plugin {name} takes events again\n"))
        }
        Some(_) => Ok(format!("plugin {name} is not suspended\n")),
        None => Err(Failure::not_found(format!("no plugin {name:?} runs"))),
    }
}

async fn remove(
    changer: Changer,
    State(router): State<Shared>,
    Path(name): Path<String>,
) -> Result<String, Failure> {
    let fleet = router.observed.fleet();
    api::finished(async move {
        let removal = match fleet {
            Some(fleet) => fleet.remove_at_once(&name).await,
            None => Removal::Unknown,
        };
        match removal {
            Removal::Done => {
                changer.log(&format!("plugin {name} is removed"));
                Ok(format!("plugin {name} is removed; its queue keeps its messages\n"))
            }
            Removal::FileIsThere(file) => {
                let text = format!("its file is still there: remove {} first", file.display());
                Err(Failure::new(StatusCode::CONFLICT, text))
            }
            Removal::Unknown => {
                Err(Failure::not_found(format!("no plugin {name:?} runs or has run")))
            }
        }
    })
    .await
}

/// JSON that can be shown as it is.
fn json(value: &impl Serialize) -> Response {
    match escape::json(value) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status(router: &Shared) -> Status {
    let mut status = summary(router, census::count(router).await);
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
        ready: is_ready(&reasons),
        reasons,
        delayed: census.as_ref().map(|census| census.total),
        overdue: router.observed.store().and_then(|store| store.stats().overdue()),
        next_due: census.and_then(|census| census.next),
        dead_letters: None,
        mo: router.observed.bridge(),
        plugins: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
