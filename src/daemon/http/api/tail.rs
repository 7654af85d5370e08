//! Decisions, as they are made.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream, StreamExt, unfold};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::{Interval, MissedTickBehavior, interval};
use uuid::Uuid;

use super::{fleet, view};
use crate::daemon::http::Shared;
use crate::daemon::http::failure::Failure;
use crate::escape;
use crate::event::SHORT_STRING;
use crate::jsonl::{message_line, recorded_line};
use crate::router::planned::Planned;
use crate::router::watch::{Decided, Decision, MOST, Subject, Wanted, Watching};

/// How often it is told how many decisions were left out.
const TOLD: Duration = Duration::from_secs(1);
/// How large an event may be that is shown as a whole, with what it caused, in bytes.
const LARGEST: usize = 256 << 10;
/// How many messages of one event are shown.
const MESSAGES: usize = 50;

/// Which decisions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    plugin: Option<String>,
    topic: Option<String>,
    uuid: Option<String>,
    outcome: Option<String>,
    /// Whether to tell how all of it is as well: who sees both has one connection for them.
    #[serde(default)]
    overview: bool,
}

impl Asked {
    fn wanted(self) -> Result<Wanted, Failure> {
        let given = |text: Option<String>| {
            text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let decided = given(self.outcome).map(|outcome| {
            Decided::parse(&outcome)
                .ok_or_else(|| Failure::wrong(format!("{outcome:?} is no outcome")))
        });
        let uuid = given(self.uuid).map(|uuid| {
            uuid.parse::<Uuid>().map_err(|_| Failure::wrong(format!("{uuid:?} is no UUID")))
        });
        let topic = given(self.topic);
        if topic.as_ref().is_some_and(|topic| topic.len() > SHORT_STRING) {
            let text = format!("a topic pattern has {SHORT_STRING} bytes at most");
            return Err(Failure::wrong(text));
        }
        Ok(Wanted {
            plugin: given(self.plugin),
            topic,
            uuid: uuid.transpose()?,
            decided: decided.transpose()?,
        })
    }
}

/// A sample of the decisions, as long as somebody reads; and what was left out.
pub async fn tail(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let overview = asked.overview.then(|| view::overviews(shared.clone())).transpose()?;
    let wanted = asked.wanted()?;
    let watching = fleet(&shared)?.watch().open(wanted).ok_or_else(|| {
        Failure::unavailable(format!("{MOST} look at decisions already: close one of those pages"))
    })?;
    let mut tick = interval(TOLD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let told = unfold((watching, tick), async |(mut watching, mut tick)| {
        let event = next(&mut watching, &mut tick).await?;
        Some((Ok(event), (watching, tick)))
    });
    let told = stream::select(told, stream::iter(overview).flatten());
    Ok(Sse::new(told).keep_alive(KeepAlive::default()))
}

/// Both wait for a channel or a timer, which lose nothing when the wait is dropped.
async fn next(watching: &mut Watching, tick: &mut Interval) -> Option<Event> {
    tokio::select! {
        decision = watching.next() => {
            let text = decision?.written(|it| escape::json_line(&decision_json(it)));
            Some(Event::default().event("decision").data(&*text))
        }
        _ = tick.tick() => {
            let counts = escape::json(&watching.counts()).unwrap_or_default();
            Some(Event::default().event("counts").data(counts))
        }
    }
}

fn decision_json(decision: &Decision) -> Json {
    let caused = decision.messages.iter().map(|planned| planned.message().size());
    let size = decision.subject.size() + caused.sum::<usize>();
    let is_shown = size <= LARGEST;
    let mut messages: Vec<Json> = match is_shown {
        true => decision.messages.iter().take(MESSAGES).map(message_json).collect(),
        false => Vec::new(),
    };
    let mut message_count = decision.messages.len();
    let (kind, exchange, routing_key, event) = match &decision.subject {
        Subject::Event(event) => {
            // As text: its body is the message's, character for character.
            let line = || recorded_line(decision.at, event).to_string();
            ("event", &event.exchange, &event.routing_key, is_shown.then(line))
        }
        Subject::Publication(message) => {
            messages.extend(is_shown.then(|| message_line(None, message).to_json()));
            message_count = 1;
            ("publication", &message.exchange, &message.routing_key, None)
        }
    };
    json!({
        "at": decision.at,
        "plugin": decision.plugin,
        "version": decision.version,
        "kind": kind,
        "routing_key": routing_key,
        "exchange": exchange,
        "uuid": decision.uuid,
        "attempt": decision.attempt,
        "outcome": decision.decided,
        "reason": decision.reason,
        "size": size,
        "event": event,
        "messages": messages,
        "message_count": message_count,
    })
}

fn message_json(planned: &Planned) -> Json {
    let mut line = message_line(None, planned.message()).to_json();
    if let Planned::Later(delayed) = planned {
        line["due"] = json!(delayed.due);
        line["key"] = json!(delayed.key);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_no_longer_than_the_broker_takes() {
        let asked = |topic: String| {
            let topic = Some(topic);
            let (plugin, uuid, outcome, overview) = (None, None, None, false);
            Asked { plugin, topic, uuid, outcome, overview }.wanted()
        };
        assert!(asked("#.".repeat(SHORT_STRING / 2)).is_ok());
        let failure = asked("#.".repeat(SHORT_STRING)).unwrap_err().to_string();
        assert!(failure.contains("255 bytes"), "{failure}");
    }
}
