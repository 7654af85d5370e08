//! What people who look at decisions are shown of them.

use super::decide::Verdict;
use super::terms::Terms;
use crate::event::Failure;
use crate::router::planned::Planned;
use crate::router::watch::{Decided, Seen};

/// Tells what became of an event. `failure` is what the plugin failed with, if it did.
pub(super) fn tell(
    seen: Seen,
    terms: &Terms,
    attempt: u32,
    verdict: &Verdict,
    failure: Option<&str>,
) {
    let (decided, reason, messages) = match verdict {
        Verdict::Send(planned) => (of_messages(planned), None, planned.as_slice()),
        Verdict::Retry(_) => (Decided::Retry, failure, &[][..]),
        Verdict::Dead(rejected) => (Decided::Dead, Some(rejected.reason.as_str()), &[][..]),
    };
    seen.tell(&terms.author, attempt, decided, reason, messages);
}

fn of_messages(planned: &[Planned]) -> Decided {
    match planned {
        [] => Decided::Dropped,
        some if some.iter().any(|one| matches!(one, Planned::Later(_))) => Decided::Delayed,
        _ => Decided::Published,
    }
}

/// The words of a failure.
pub(super) fn words(failure: &Failure) -> String {
    match failure {
        Failure::Retry(reason) | Failure::Reject(reason) | Failure::Broken(reason, _) => {
            reason.clone()
        }
    }
}
