//! Putting messages off that could not be sent: until when, and what is noted of it.

use std::mem;
use std::time::Duration;

use super::record::Stored;
use crate::backoff::{Jitter, Policy};
use crate::event::{Datetime, Message, Outgoing};
use crate::transport::RESENDS;

/// The pause of a message that something else is in the way of than a queue that rejects it.
const HINDERED: Policy = Policy::new(Duration::from_secs(60), Duration::from_secs(60));

/// The pauses of a message that the broker neither confirms nor nacks. Each time, every other
/// queue behind its key may get another copy; and its confirm counts until it is sent again.
const UNCONFIRMED: Policy = Policy::new(Duration::from_secs(60), LONGEST_PAUSE);

/// No pause is longer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(900);

/// A message as it is now, and when it was due.
pub type PutOff = (Datetime, Stored);

/// The broker nacked it. It is counted: in the end it is a dead letter
/// ([`next_step`](crate::transport::Completed::next_step)).
pub fn nacked(stored: Stored, problem: String, now: Datetime) -> PutOff {
    counted(stored, problem, RESENDS, now)
}

/// It was sent and not confirmed in time, and waits for as long as it takes. It is counted: it may
/// be nacked yet, now or when it is sent again.
pub fn unconfirmed(stored: Stored, problem: String, now: Datetime) -> PutOff {
    counted(stored, problem, UNCONFIRMED, now)
}

/// Something else is in the way of it, such as an exchange that refuses everything. That says
/// nothing of the message, which waits for as long as it takes.
pub fn hindered(mut stored: Stored, problem: String, now: Datetime) -> PutOff {
    // By its attempts it is seen that it was put off.
    stored.attempts = stored.attempts.max(1);
    put_off(stored, problem, HINDERED.pause(1, &mut Jitter::random()), now)
}

/// Not everything of it can be read.
pub fn unreadable(mut stored: Stored, now: Datetime) -> PutOff {
    let problem = stored.problem.take().unwrap_or_default();
    let (id, plugin, uuid) = (stored.id, &stored.delayed.plugin, &stored.delayed.uuid);
    tracing::error!(
        id,
        plugin,
        uuid,
        "a delayed message waits until a person corrects or cancels it: {problem}"
    );
    hindered(stored, problem, now)
}

fn counted(mut stored: Stored, problem: String, pauses: Policy, now: Datetime) -> PutOff {
    stored.attempts = stored.attempts.saturating_add(1);
    let pause = pauses.pause(stored.attempts, &mut Jitter::random());
    put_off(stored, problem, pause, now)
}

fn put_off(mut stored: Stored, problem: String, pause: Duration, now: Datetime) -> PutOff {
    tracing::debug!(id = stored.id, "a delayed message is put off: {problem}");
    let due = mem::replace(&mut stored.delayed.due, now.saturating_add(pause));
    stored.problem = Some(problem);
    (due, stored)
}

/// Takes the contents of a message out, to send them. Only the body, which costs nothing, stays: a
/// dead letter may have to do without most of it.
pub fn take_contents(stored: &mut Stored) -> Message {
    let message = mem::take(&mut stored.delayed.message);
    stored.delayed.message.body = message.body.clone();
    message
}

/// Puts the contents back, of a message that is stored again.
pub fn give_back(stored: &mut Stored, outgoing: Outgoing) {
    let body = mem::take(&mut stored.delayed.message.body);
    stored.delayed.message = outgoing.into_message();
    stored.delayed.message.body = body;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Delayed;

    /// Puts it off a number of times, and gives its pauses in seconds.
    fn pauses(count: usize, put_off: fn(Stored, String, Datetime) -> PutOff) -> (Vec<u64>, u32) {
        let now = Datetime::from_unix(1_700_000_000, 0).unwrap();
        let delayed = Delayed {
            message: Message::default(),
            due: now,
            plugin: "p".into(),
            version: "v".into(),
            key: None,
            uuid: String::new(),
        };
        let (damage, unreadable) = (None, None);
        let mut stored = Stored { id: 1, attempts: 0, problem: None, delayed, damage, unreadable };
        let mut pauses = Vec::new();
        for _ in 0..count {
            (_, stored) = put_off(stored, "why".into(), now);
            pauses.push(stored.delayed.due.saturating_since(now).as_secs());
            assert_eq!(stored.problem.as_deref(), Some("why"));
        }
        (pauses, stored.attempts)
    }

    #[test]
    fn the_pauses_of_what_is_never_confirmed_grow() {
        let (pauses, attempts) = pauses(20, unconfirmed);
        assert_eq!(attempts, 20);
        for (pause, step) in pauses.iter().zip([60, 120, 240, 480]) {
            assert!((step / 2..=step).contains(pause), "{pause} s of {step}");
        }
        assert!(pauses[4..].iter().all(|pause| (450..=900).contains(pause)), "{pauses:?}");
        let in_an_hour = pauses.iter().scan(0, |at, pause| {
            *at += pause;
            Some(*at)
        });
        assert!(in_an_hour.filter(|at| *at < 3600).count() <= 12, "{pauses:?}");
    }

    #[test]
    fn what_says_nothing_of_the_message_is_not_counted() {
        let (pauses, attempts) = pauses(20, hindered);
        assert_eq!(attempts, 1);
        assert!(pauses.iter().all(|pause| (30..=60).contains(pause)), "{pauses:?}");
    }
}
