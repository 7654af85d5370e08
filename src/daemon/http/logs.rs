//! What a plugin has logged.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use url::form_urlencoded;

use super::failure::Failure;
use super::{Shared, json};
use crate::event::Datetime;
use crate::plugins::RecentLines;

/// How long an answer waits for a line, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How many may wait at a time, of the connections that there may be. Others are answered at once.
pub(super) const MOST_WAITING: usize = 32;

/// The lines, and whose they are.
#[derive(Serialize)]
struct Answer {
    /// When the router started, which counts the lines.
    since: Datetime,
    #[serde(flatten)]
    recent: RecentLines,
}

/// `GET /plugins/NAME/logs?after=NUMBER&wait=MILLISECONDS`: the lines after the one with this
/// number; if there is none yet, the answer waits for it so long, unless too many wait already.
/// Without them, all lines that are kept, at once.
pub(super) async fn show(
    State(router): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let number = |key: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == key).and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let wait = Duration::from_millis(number("wait").unwrap_or(0)).min(LONGEST_WAIT);
    let after = number("after").unwrap_or(0);
    let seat = router.waiting.try_acquire();
    let wait = if seat.is_ok() { wait } else { Duration::ZERO };
    // Not the fleet itself: an answer that waits must not keep it from stopping.
    let host = router.observed.fleet().map(|fleet| fleet.host());
    let recent = match host {
        Some(host) => host.recent_lines(&name, after, wait).await,
        None => None,
    };
    match recent {
        Some(recent) => json(&Answer { since: router.since, recent }),
        None => Failure::not_found(format!("no plugin {name:?} was loaded")).into_response(),
    }
}
