//! Delayed messages.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{finished, in_time, store};
use crate::daemon::http::failure::Failure;
use crate::daemon::http::guard::Changer;
use crate::daemon::http::{Shared, json as as_json};
use crate::delay::{Changed, Filter, settled, show as shown};
use crate::event::Datetime;

/// How many messages a list has, and how many can be changed at once.
const LISTED: usize = 200;
const CHANGED: usize = 1000;

/// How many bars of how many seconds the timeline has, the nearest first: an hour in six minutes, a
/// day in three hours, a month in three days, ten years in years. Each is wide enough to be hit,
/// 24 pixels, where four scales are beside each other and on a phone.
const SCALES: [(&str, usize, i64); 4] =
    [("hour", 10, 360), ("day", 8, 10_800), ("month", 10, 3 * 86_400), ("years", 10, 365 * 86_400)];

/// Which messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    plugin: Option<String>,
    uuid: Option<String>,
    key: Option<String>,
    from: Option<Datetime>,
    until: Option<Datetime>,
    after: Option<i64>,
    limit: Option<usize>,
}

/// Which messages to change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    ids: Vec<i64>,
    /// When they are to be sent, where that is asked for.
    due: Option<Datetime>,
}

impl Asked {
    fn filter(self) -> Filter {
        let given = |text: Option<String>| {
            text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Filter {
            plugin: given(self.plugin),
            uuid: given(self.uuid).map(|uuid| uuid.to_lowercase()),
            key: given(self.key),
            from: self.from,
            until: self.until,
            overdue: None,
        }
    }
}

/// A page of messages, the next one due first.
pub async fn list(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let (after, limit) = (asked.after, asked.limit.unwrap_or(50).clamp(1, LISTED));
    let list = in_time(store(&shared)?.list(asked.filter(), after, limit)).await?;
    let more = list.len() == limit;
    let list: Vec<Value> = list.iter().map(shown::summary).collect();
    Ok(as_json(&json!({ "messages": list, "more": more })))
}

/// How many messages are due when.
pub async fn timeline(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let store = store(&shared)?;
    let now = in_time(store.now()).await?;
    let mut bars = Vec::new();
    let (mut start, mut ends) = (now.seconds(), vec![now]);
    for (scale, count, seconds) in SCALES {
        for _ in 0..count {
            let end = start + seconds;
            let (from, until) = (at(start), at(end));
            bars.push(json!({"scale": scale, "from": from, "until": until}));
            ends.push(until);
            start = end;
        }
    }
    let census = in_time(store.timeline(asked.filter(), &ends)).await?;
    for (bar, count) in bars.iter_mut().zip(&census.histogram[1..]) {
        bar["count"] = json!(count);
    }
    Ok(as_json(&json!({
        "now": now,
        "total": census.total,
        "next": census.next,
        "overdue": census.histogram.first(),
        "later": census.histogram.last(),
        "bars": bars,
    })))
}

fn at(seconds: i64) -> Datetime {
    Datetime::from_unix_micros(seconds.saturating_mul(1_000_000))
}

/// One message as a whole.
pub async fn show(State(shared): State<Shared>, Path(id): Path<i64>) -> Result<Response, Failure> {
    let stored = in_time(store(&shared)?.show(id)).await?;
    let stored = stored.ok_or_else(|| {
        Failure::not_found(format!("no delayed message has the id {id}: it was sent or cancelled"))
    })?;
    let mut whole = shown::whole(&stored)?;
    whole["body_base64"] = BASE64_STANDARD.encode(&stored.delayed.message.body).into();
    Ok(as_json(&whole))
}

/// Removes messages: they are never sent.
pub async fn cancel(
    changer: Changer,
    State(shared): State<Shared>,
    Json(chosen): Json<Chosen>,
) -> Result<Response, Failure> {
    let store = store(&shared)?.clone();
    let cancel = move |ids| {
        let store = store.clone();
        async move { store.cancel(ids).await }
    };
    change("cancel".to_owned(), changer, chosen.ids, cancel).await
}

/// Changes when messages are sent.
pub async fn reschedule(
    changer: Changer,
    State(shared): State<Shared>,
    Json(Chosen { ids, due }): Json<Chosen>,
) -> Result<Response, Failure> {
    let due = due.ok_or_else(|| Failure::wrong("due is missing: when to send them"))?;
    let store = store(&shared)?.clone();
    let reschedule = move |ids| {
        let store = store.clone();
        async move { store.reschedule(ids, due).await }
    };
    change(format!("reschedule to {due}"), changer, ids, reschedule).await
}

/// Sends messages now.
pub async fn send_now(
    changer: Changer,
    State(shared): State<Shared>,
    Json(chosen): Json<Chosen>,
) -> Result<Response, Failure> {
    let store = store(&shared)?.clone();
    let send = move |ids| {
        let store = store.clone();
        async move { store.send_now(ids).await }
    };
    change("send now".to_owned(), changer, chosen.ids, send).await
}

async fn change<F: Future<Output = anyhow::Result<Changed>> + Send + 'static>(
    what: String,
    changer: Changer,
    ids: Vec<i64>,
    change: impl Fn(Vec<i64>) -> F + Send + Sync + 'static,
) -> Result<Response, Failure> {
    if ids.is_empty() || ids.len() > CHANGED {
        return Err(Failure::wrong(format!("name from 1 to {CHANGED} messages")));
    }
    finished(async move {
        let changed = in_time(settled(&ids, change)).await;
        match &changed {
            Ok(changed) => changer.log(&format!("{what}: delayed messages {:?}", changed.done)),
            Err(why) => changer.log_failure(&format!("{what}: delayed messages {ids:?}"), why),
        }
        Ok(as_json(&shown::changed(&ids, &changed?)))
    })
    .await
}
