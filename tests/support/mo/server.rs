//! The endpoint over HTTP, with Keycloak beside it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::stream;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use url::form_urlencoded;
use uuid::Uuid;

use super::graphql::{self, Caller, Error};
use super::world::{MO, PRIORITY};
use super::{Account, Faults, NOBODY, Shared, lock};

/// The versions that have events.
const VERSIONS: std::ops::RangeInclusive<u32> = 21..=30;

/// Serves until it is aborted.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/graphql/{version}", any(graphql))
        .route("/auth/realms/{realm}/protocol/openid-connect/token", post(token))
        .route("/testing/events/reset-last-tried", post(reset))
        // Not MO's: for people who have no MO that something happens in.
        .route("/testing/events/{routing_key}/{subject}", post(emit))
        .with_state(shared);
    axum::serve(listener, router).await.expect("it serves");
}

async fn graphql(
    State(shared): State<Arc<Shared>>,
    Path(version): Path<String>,
    RawQuery(parameters): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let version = version.strip_prefix('v').and_then(|version| version.parse().ok());
    if !version.is_some_and(|version| VERSIONS.contains(&version)) {
        return (StatusCode::NOT_FOUND, json(&json!({ "detail": "Not Found" }))).into_response();
    }
    let faults = *lock(&shared.faults);
    let number = {
        let mut requests = lock(&shared.requests);
        requests.0 += 1;
        requests.0
    };
    let is_hit = |every: u64| every > 0 && number.is_multiple_of(every);
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    if is_hit(faults.refuse_every) {
        let refused = (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response();
        return retry_after(refused, &faults);
    }
    if is_hit(faults.cut_before_every) {
        return cut("");
    }
    let request: Json = match method {
        Method::GET => {
            let parameters = parameters.unwrap_or_default();
            let mut pairs = form_urlencoded::parse(parameters.as_bytes());
            let query = pairs.find(|(name, _)| name == "query");
            json!({ "query": query.map(|(_, query)| query.into_owned()) })
        }
        _ => serde_json::from_slice(&body).unwrap_or_default(),
    };
    if request.is_array() {
        return (StatusCode::BAD_REQUEST, "Batching is not enabled").into_response();
    }
    let Some(query) = request["query"].as_str() else {
        return (StatusCode::BAD_REQUEST, "No GraphQL query found in the request").into_response();
    };
    let answer = match caller(&shared, &headers) {
        Some(_) if is_hit(faults.error_every) => Error::new("Unexpected error.").answer(),
        None => Error::new("User is not authenticated").answer(),
        Some(caller) => {
            let now = shared.now();
            let mut world = lock(&shared.world);
            if is_hit(faults.lock_every) {
                let all: Vec<Uuid> = world.listeners.keys().copied().collect();
                let before = std::mem::replace(&mut world.locked, all);
                let answer =
                    graphql::answer(&mut world, query, &request["variables"], &caller, now);
                world.locked = before;
                answer
            } else {
                graphql::answer(&mut world, query, &request["variables"], &caller, now)
            }
        }
    };
    match is_hit(faults.cut_after_every) {
        true => cut(&answer.to_string()),
        false => json(&answer),
    }
}

fn json(value: &Json) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

fn retry_after(mut response: Response, faults: &Faults) -> Response {
    if let Some(seconds) = faults.retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

/// An answer that is not finished: the connection is closed in the middle of it.
fn cut(text: &str) -> Response {
    let half = Bytes::from(text[..text.floor_char_boundary(text.len() / 2)].to_owned());
    let pieces = [Ok(half), Err(io::Error::other("cut"))];
    Body::from_stream(stream::iter(pieces)).into_response()
}

/// Who asks; none if they must log in and have not.
fn caller(shared: &Shared, headers: &HeaderMap) -> Option<Caller> {
    let accounts = lock(&shared.accounts);
    if accounts.is_empty() {
        return Some(Caller { identity: NOBODY, roles: None });
    }
    let bearer = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    let tokens = lock(&shared.tokens);
    let (client_id, expires) = tokens.get(bearer)?;
    let account = accounts.iter().find(|account| account.client_id == *client_id)?;
    (shared.now() < *expires).then(|| Caller {
        identity: account.identity.unwrap_or(NOBODY),
        roles: account.roles.clone(),
    })
}

async fn token(
    State(shared): State<Arc<Shared>>,
    Path(realm): Path<String>,
    form: Bytes,
) -> Response {
    lock(&shared.requests).1 += 1;
    if realm != "mo" {
        let missing = json!({ "error": "Realm does not exist" });
        return (StatusCode::NOT_FOUND, json(&missing)).into_response();
    }
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(&form);
        let found = pairs.find(|(other, _)| other == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let (client_id, secret) = (value("client_id"), value("client_secret"));
    let accounts = lock(&shared.accounts);
    let is_known = |account: &&Account| account.client_id == client_id && account.secret == secret;
    let account = accounts.iter().find(is_known);
    if value("grant_type") != "client_credentials" || (account.is_none() && !accounts.is_empty()) {
        let refused = json!({
            "error": "unauthorized_client",
            "error_description": "Invalid client or Invalid client credentials",
        });
        return (StatusCode::UNAUTHORIZED, json(&refused)).into_response();
    }
    let life: Duration = *lock(&shared.token_life);
    let mut claims = json!({ "azp": client_id, "jti": Uuid::new_v4() });
    if let Some(identity) = account.and_then(|account| account.identity) {
        claims["uuid"] = json!(identity);
    }
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let token = format!("e30.{claims}.signature");
    lock(&shared.tokens).insert(token.clone(), (client_id, shared.now() + life));
    json(&json!({ "access_token": token, "expires_in": life.as_secs(), "token_type": "Bearer" }))
}

async fn reset(State(shared): State<Arc<Shared>>) -> StatusCode {
    lock(&shared.world).change_in_place(super::world::Row::rerun);
    StatusCode::NO_CONTENT
}

async fn emit(
    State(shared): State<Arc<Shared>>,
    Path((routing_key, subject)): Path<(String, String)>,
) -> StatusCode {
    lock(&shared.world).emit(MO, &routing_key, &subject, PRIORITY);
    StatusCode::NO_CONTENT
}
