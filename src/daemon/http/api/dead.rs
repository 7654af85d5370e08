//! Dead letters. To read them takes them out of their queue for a moment: one who asks waits for
//! the other, but not for long.

use std::convert::identity;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::{broker, finished, in_time, trial};
use crate::amqp::dead::{self, Letter, OfReason, Selection};
use crate::daemon::http::failure::Failure;
use crate::daemon::http::guard::Changer;
use crate::daemon::http::{Shared, json as as_json};
use crate::event::{Datetime, shortened};
use crate::jsonl;

/// How many letters a list has, and how many can be changed by their ids at once.
const LISTED: usize = 200;
const CHANGED: usize = 1000;
/// How many bytes of a reason a list has.
const REASON: usize = 500;
/// How many hexadecimal digits an id has.
const ID: usize = 16;
/// How long one who asks waits for another one: to send many letters back can take minutes.
const TURN: Duration = Duration::from_secs(20);

/// Which letters.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    plugin: Option<String>,
    /// Those whose reason is this, if `plugin` is given too.
    exactly: Option<String>,
    /// With `exactly`: also those whose reasons are alike.
    alike: bool,
    /// Those whose reason contains this.
    reason: Option<String>,
    skip: usize,
    limit: Option<usize>,
}

/// Which letters to change: these, or all of a group.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    #[serde(default)]
    ids: Vec<String>,
    group: Option<OfReason>,
}

/// Waits until nobody else reads dead letters.
async fn turn(shared: &Shared) -> Result<MutexGuard<'_, ()>, Failure> {
    timeout(TURN, shared.reading_dead.lock()).await.map_err(|_| {
        Failure::unavailable(format!(
            "somebody else has been reading or sending back dead letters for {TURN:?}: try again \
             when that is done"
        ))
    })
}

/// Letters counted by plugin and reason.
pub async fn groups(State(shared): State<Shared>) -> Result<Response, Failure> {
    let broker = broker(&shared)?;
    let _one = turn(&shared).await?;
    Ok(as_json(&in_time(dead::groups(&broker, &Selection::default())).await?))
}

/// A page of letters, the oldest first, without their bodies.
pub async fn list(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let limit = asked.limit.unwrap_or(50).clamp(1, LISTED);
    let selection = match (asked.plugin, asked.exactly) {
        (Some(plugin), Some(reason)) => {
            let group = Some(OfReason { plugin, reason, alike: asked.alike });
            Selection { group, ..Selection::default() }
        }
        (plugin, _) => Selection { plugin, reason: asked.reason, ..Selection::default() },
    };
    let broker = broker(&shared)?;
    let _one = turn(&shared).await?;
    let listed = |letter: Letter| {
        json!({
            "id": letter.id,
            "since": letter.since,
            "plugin": letter.plugin,
            "version": letter.version,
            "kind": letter.kind,
            "routing_key": letter.routing_key(),
            "attempts": letter.attempts,
            "reason": shortened(&letter.reason, REASON),
        })
    };
    let letters = in_time(dead::list(&broker, &selection, asked.skip, limit, listed)).await?;
    Ok(as_json(&json!({ "letters": letters, "more": letters.len() == limit })))
}

/// One letter as a whole.
pub async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let letter = find(&shared, id).await?;
    let mut whole = serde_json::to_value(&letter)?;
    whole["body_base64"] = BASE64_STANDARD.encode(letter.body()).into();
    whole["is_event"] = letter.to_event().is_some().into();
    Ok(as_json(&whole))
}

/// What the plugin of today would make of a letter's event. Nothing is published.
pub async fn try_again(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let letter = find(&shared, id).await?;
    let event = letter.to_event().ok_or_else(|| {
        Failure::wrong("only an event can be tried that is whole and can be read")
    })?;
    let line = jsonl::recorded_line(Datetime::now(), &event).to_string();
    trial::with_plugin(&shared, &letter.plugin, line, None).await
}

async fn find(shared: &Shared, id: String) -> Result<Letter, Failure> {
    check_id(&id)?;
    let selection = Selection { ids: vec![id.clone()], ..Selection::default() };
    let broker = broker(shared)?;
    let _one = turn(shared).await?;
    let letter = in_time(dead::list(&broker, &selection, 0, 1, identity)).await?.pop();
    letter.ok_or_else(|| {
        Failure::not_found(format!(
            "no dead letter has the id {id}: it was sent back or discarded, or a command holds it"
        ))
    })
}

/// Sends letters back.
pub async fn requeue(
    changer: Changer,
    State(shared): State<Shared>,
    Json(chosen): Json<Chosen>,
) -> Result<Response, Failure> {
    let (selection, which) = chosen.selection()?;
    let broker = broker(&shared)?;
    finished(async move {
        let _one = turn(&shared).await?;
        let requeued = dead::requeue(&broker, &selection, |_, _| {}).await;
        match &requeued {
            Ok(requeued) => {
                changer.log(&format!("{} dead letters sent back: {which}", requeued.sent));
            }
            Err(error) => {
                let what = format!("dead letters sent back: {which}");
                changer.log_failure(&what, format_args!("{error:#}"));
            }
        }
        Ok(as_json(&requeued?.to_json()))
    })
    .await
}

/// Deletes letters for good.
pub async fn discard(
    changer: Changer,
    State(shared): State<Shared>,
    Json(chosen): Json<Chosen>,
) -> Result<Response, Failure> {
    let (selection, which) = chosen.selection()?;
    let broker = broker(&shared)?;
    finished(async move {
        let _one = turn(&shared).await?;
        let discarded = dead::discard(&broker, &selection, |_, _| {}).await;
        match &discarded {
            Ok(discarded) => changer.log(&format!("{discarded} dead letters discarded: {which}")),
            Err(error) => {
                let what = format!("dead letters discarded: {which}");
                changer.log_failure(&what, format_args!("{error:#}"));
            }
        }
        Ok(as_json(&json!({ "discarded": discarded? })))
    })
    .await
}

impl Chosen {
    /// Which they are, and for the log.
    fn selection(self) -> Result<(Selection, String), Failure> {
        match self {
            Self { ids, group: None } if (1..=CHANGED).contains(&ids.len()) => {
                ids.iter().try_for_each(|id| check_id(id))?;
                let which = format!("{ids:?}");
                Ok((Selection { ids, ..Selection::default() }, which))
            }
            // The group of all other reasons has no plugin, and is not one that was looked at.
            Self { ids, group: Some(group) } if ids.is_empty() && !group.plugin.is_empty() => {
                let OfReason { plugin, reason, alike } = &group;
                let which = if *alike { " or one like it" } else { "" };
                let which = format!("of plugin {plugin} with the reason {reason:?}{which}");
                Ok((Selection { group: Some(group), ..Selection::default() }, which))
            }
            _ => Err(Failure::wrong(format!("name from 1 to {CHANGED} letters, or one group"))),
        }
    }
}

/// The beginning of an id would do for commands; here all of it is known.
fn check_id(id: &str) -> Result<(), Failure> {
    match id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(Failure::wrong(format!("an id is {ID} hexadecimal digits"))),
    }
}
