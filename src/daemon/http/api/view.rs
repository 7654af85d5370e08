//! How the router and its plugins are.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream::unfold;
use serde_json::json;

use super::fleet;
use crate::daemon::http::failure::Failure;
use crate::daemon::http::live::{self, PERIOD};
use crate::daemon::http::{Shared, json as as_json};

/// How all of it is.
pub async fn overview(State(shared): State<Shared>) -> Response {
    let text = shared.live.latest(&shared).await.to_string();
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// The same each second, as long as somebody reads. Nothing waits for who does not.
pub async fn live(
    State(shared): State<Shared>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    Ok(Sse::new(overviews(shared)?).keep_alive(KeepAlive::default()))
}

/// How all of it is, each second, as long as somebody reads.
pub fn overviews(shared: Shared) -> Result<impl Stream<Item = Result<Event, Infallible>>, Failure> {
    let seat = shared.live.seat();
    let seat = seat.ok_or_else(|| Failure::unavailable("too many pages are open"))?;
    Ok(unfold((shared, seat, false), async |(shared, seat, has_told)| {
        if has_told {
            tokio::time::sleep(PERIOD).await;
        }
        let text = shared.live.latest(&shared).await;
        Some((Ok(Event::default().event("overview").data(&*text)), (shared, seat, true)))
    }))
}

/// The last hour in numbers.
pub async fn history(State(shared): State<Shared>) -> Response {
    as_json(&shared.history.samples())
}

/// One plugin, with what happened to it and what it logged.
pub async fn plugin(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let fleet = fleet(&shared)?;
    let status = fleet.statuses_here().into_iter().find(|status| status.name == name);
    let status = status.ok_or_else(|| Failure::not_found(format!("no plugin {name:?} runs")))?;
    let mut plugin = live::plugin(&shared, status, &fleet.gathered());
    plugin["chronicle"] = json!(fleet.chronicle(&name));
    let log = fleet.host().recent_lines(&name, 0, Duration::ZERO).await;
    plugin["log"] = json!(log.unwrap_or_default().lines);
    Ok(as_json(&plugin))
}
