//! From a plugin's answer to what becomes of the event.

use super::answer::{self, Planned};
use super::terms::Terms;
use crate::event::{Datetime, Event, Failure, Publication, Rejected};

/// What a plugin answered.
pub type Answer = Result<Vec<Publication>, Failure>;

/// What becomes of an event.
#[derive(Debug)]
pub enum Verdict {
    /// These messages leave; none if it is dropped.
    Send(Vec<Planned>),
    /// It is given to the plugin again later.
    Retry(Event),
    /// A dead letter.
    Dead(Rejected),
}

/// Decides what becomes of an event that the plugin has answered. `attempt` counts
/// from 1; `counts` says whether a failure uses one up. `now` is the time that delays
/// count from.
pub fn decide(
    terms: &Terms,
    event: Event,
    attempt: u32,
    counts: bool,
    answer: Answer,
    now: Datetime,
) -> Verdict {
    match answer {
        Ok(publications) => match answer::plan(&terms.author, event, publications, now) {
            Ok(planned) => Verdict::Send(planned),
            Err(rejected) => Verdict::Dead(rejected),
        },
        Err(Failure::Reject(reason)) => {
            Verdict::Dead(Rejected { message: event.message.into(), reason })
        }
        Err(Failure::Retry(_) | Failure::Broken(..)) if attempt < terms.attempts || !counts => {
            Verdict::Retry(event)
        }
        Err(Failure::Retry(reason) | Failure::Broken(reason, _)) => {
            let attempts = terms.attempts;
            let reason = format!("{reason} (attempt {attempts} of {attempts})");
            Verdict::Dead(Rejected { message: event.message.into(), reason })
        }
    }
}
