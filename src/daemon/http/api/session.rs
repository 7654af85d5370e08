//! The token, shown once for a cookie.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};

use crate::daemon::http::failure::Failure;
use crate::daemon::http::sessions::Session;
use crate::daemon::http::{Shared, json as as_json};

/// What somebody shows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    token: String,
    /// Who it is, for the log.
    #[serde(default)]
    who: String,
}

/// Whether the one who asks may change something.
pub async fn show(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    // Where the token cannot be read, nothing can be changed.
    let session = shared.guard.session(&headers).await.unwrap_or_default();
    described(&shared, session.as_ref())
}

/// Takes the token.
pub async fn begin(
    State(shared): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Json(shown): Json<Shown>,
) -> Result<Response, Failure> {
    let begun = shared.guard.begin(shown.token.trim(), &shown.who).await;
    let session = begun.inspect_err(|failure| warn!(%from, "refused over HTTP: {failure}"))?;
    info!(who = session.who, %from, "the token was shown over HTTP");
    let headers = [(SET_COOKIE, shared.guard.cookie(Some(&session)))];
    Ok((headers, described(&shared, Some(&session))).into_response())
}

/// Forgets that the token was shown.
pub async fn end(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    shared.guard.end(&headers);
    ([(SET_COOKIE, shared.guard.cookie(None))], described(&shared, None)).into_response()
}

fn described(shared: &Shared, session: Option<&Session>) -> Response {
    as_json(&json!({
        "possible": shared.guard.has_token(),
        "unlocked": session.is_some(),
        "who": session.map(|session| &session.who),
        "csrf": session.map(|session| &session.csrf),
    }))
}
