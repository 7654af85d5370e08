//! Why something that was asked over HTTP is not done.

use std::fmt;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::escape;

/// How many bytes of axum's own words are passed on.
const WORDS: usize = 64 << 10;

/// A status, and a sentence that says what is wrong and what to do.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    text: String,
}

impl Failure {
    /// With this status.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// There is no such thing.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// What was sent cannot be understood.
    pub fn wrong(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// Whoever asks may not.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// It may be possible later.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

/// The broker or the store does not do what it was asked.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, format!("{error:#}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = escape::json_line(&json!({ "error": self.text }));
        (self.status, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// Puts into this form what axum says by itself: of a query, an id or a body that it cannot read.
pub async fn in_json(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|it| it == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let words = to_bytes(body, WORDS).await.unwrap_or_default();
    let words = match words.trim_ascii() {
        [] => status.to_string(),
        words => String::from_utf8_lossy(words).into_owned(),
    };
    let (of_failure, body) = Failure::new(status, words).into_response().into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.extend(of_failure.headers);
    Response::from_parts(parts, body)
}

/// What is answered where there is nothing.
pub async fn no_such_path(uri: Uri) -> Failure {
    Failure::not_found(format!("there is no {}: docs/openapi.json has all paths", uri.path()))
}

/// What is answered to a method that a path does not have. The header `allow` has those that it has.
pub async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let text = format!("{} takes no {method}: docs/openapi.json has the methods", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, text)
}
