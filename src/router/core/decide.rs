//! From a plugin's answer to what becomes of the event.

use super::answer;
use super::terms::Terms;
use crate::event::{Datetime, Event, Failure, Publication, Rejected};
use crate::router::planned::Planned;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Fault, Incoming};
    use crate::router::planned::Author;

    const ATTEMPTS: u32 = 5;

    fn terms(attempts: u32) -> Terms {
        let author = Author {
            plugin: "p".into(),
            version: "v1".into(),
            granted: Vec::new(),
            output_exchange: "out".into(),
        };
        Terms {
            author,
            subscriptions: vec!["#".into()],
            attempts,
            suspend_after: 20,
            parallel: false,
        }
    }

    fn event() -> Event {
        let message = Incoming {
            routing_key: "employee.it.create".into(),
            body: r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2030-01-01T00:00:00Z"}"#
                .into(),
            ..Incoming::default()
        };
        Event::parse(message, chrono_tz::UTC).unwrap()
    }

    /// What becomes of the event: `send`, `retry`, or the reason of its dead letter.
    fn decided(attempts: u32, attempt: u32, counts: bool, answer: Answer) -> String {
        let now = Datetime::from_unix(0, 0).unwrap();
        match decide(&terms(attempts), event(), attempt, counts, answer, now) {
            Verdict::Send(_) => "send".into(),
            Verdict::Retry(_) => "retry".into(),
            Verdict::Dead(Rejected { reason, .. }) => reason,
        }
    }

    fn failures() -> [Failure; 2] {
        [Failure::Retry("no".into()), Failure::Broken("no".into(), Fault::Trap)]
    }

    #[test]
    fn a_failure_before_the_last_attempt_is_retried_and_one_at_the_last_is_dead() {
        for failure in failures() {
            let at = |attempt| decided(ATTEMPTS, attempt, true, Err(failure.clone()));
            assert_eq!([1, ATTEMPTS - 1].map(at), ["retry", "retry"]);
            assert_eq!(at(ATTEMPTS), "no (attempt 5 of 5)");
            // A new version may allow fewer attempts than the event has had.
            assert_eq!(at(ATTEMPTS + 1), "no (attempt 5 of 5)");
        }
    }

    #[test]
    fn of_one_attempt_the_first_is_the_last() {
        for failure in failures() {
            assert_eq!(decided(1, 1, true, Err(failure)), "no (attempt 1 of 1)");
        }
    }

    #[test]
    fn a_failure_that_does_not_count_uses_up_no_attempt() {
        for failure in failures() {
            assert_eq!(decided(ATTEMPTS, ATTEMPTS, false, Err(failure)), "retry");
        }
    }

    #[test]
    fn what_is_rejected_is_dead_at_once_and_an_answer_at_the_last_attempt_is_sent() {
        for (attempt, counts) in [(1, true), (ATTEMPTS, true), (1, false)] {
            let rejected = Err(Failure::Reject("never".into()));
            assert_eq!(decided(ATTEMPTS, attempt, counts, rejected), "never");
            assert_eq!(decided(ATTEMPTS, attempt, counts, Ok(Vec::new())), "send");
        }
    }
}
