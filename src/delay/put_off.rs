//! Putting messages off that could not be sent: until when, and what is noted of it.

use std::mem;
use std::time::Duration;

use super::record::Stored;
use crate::backoff::{Jitter, Policy};
use crate::event::{Datetime, Message, Outgoing};
use crate::transport::{LETTER_WAITS, RESENDS};

/// The pause of a message that something else is in the way of than a queue that rejects it.
const HINDERED: Policy = Policy::new(Duration::from_secs(60), Duration::from_secs(60));

/// The pause of a message whose dead letter has no place.
const WAITING: Policy = Policy::new(LETTER_WAITS, LETTER_WAITS);

/// The pauses of a message that the broker neither confirms nor nacks. Each time, every other
/// queue behind its key may get another copy; and its confirm counts until it is sent again.
const UNCONFIRMED: Policy = Policy::new(Duration::from_secs(60), LONGEST_PAUSE);

/// Why a message is put off that was not confirmed.
pub const UNCONFIRMED_PROBLEM: &str = "the broker has not confirmed it in time";

/// No pause is longer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(900);

/// A message as it is now, and when it was due.
pub type PutOff = (Datetime, Stored);

/// The broker nacked it. It is counted: in the end it is a dead letter
/// ([`next_step`](crate::transport::Completed::next_step)).
pub fn nacked(mut stored: Stored, problem: String, now: Datetime) -> PutOff {
    stored.attempts = sends(&stored) - 1;
    counted(stored, problem, RESENDS, now)
}

/// Which one this sending is, from 1, of those in a row after which a message that is nacked is a
/// dead letter. One that is not confirmed ends the row: nacks after it are counted by themselves.
pub fn sends(stored: &Stored) -> u32 {
    let before = if is_unconfirmed(stored) { 0 } else { stored.attempts };
    before.saturating_add(1)
}

fn is_unconfirmed(stored: &Stored) -> bool {
    stored.problem.as_deref() == Some(UNCONFIRMED_PROBLEM)
}

/// It was sent and not confirmed in time, and waits for as long as it takes. It is counted, so that
/// its pauses grow.
pub fn unconfirmed(stored: Stored, problem: String, now: Datetime) -> PutOff {
    counted(stored, problem, UNCONFIRMED, now)
}

/// Something else is in the way of it, such as an exchange that refuses everything. That says
/// nothing of the message, which waits for as long as it takes.
pub fn hindered(mut stored: Stored, problem: String, now: Datetime) -> PutOff {
    not_counted(&mut stored);
    put_off(stored, problem, HINDERED.pause(1, &mut Jitter::random()), now)
}

/// The same where it is a dead letter that has no place yet.
pub fn waiting(mut stored: Stored, problem: String, now: Datetime) -> PutOff {
    not_counted(&mut stored);
    put_off(stored, problem, WAITING.pause(1, &mut Jitter::random()), now)
}

/// That it was put off is known by its attempts, of which there is one at least. Nacks in a row stay
/// counted; that it was not confirmed is forgotten with its problem, and counts no more.
fn not_counted(stored: &mut Stored) {
    let nacks = if is_unconfirmed(stored) { 0 } else { stored.attempts };
    stored.attempts = nacks.max(1);
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

    fn new(now: Datetime) -> Stored {
        let delayed = Delayed {
            message: Message::default(),
            due: now,
            plugin: "p".into(),
            version: "v".into(),
            key: None,
            uuid: String::new(),
        };
        let (damage, unreadable) = (None, None);
        Stored { id: 1, attempts: 0, problem: None, delayed, damage, unreadable }
    }

    /// Puts it off a number of times, and gives its pauses in seconds.
    fn pauses(count: usize, put_off: fn(Stored, String, Datetime) -> PutOff) -> (Vec<u64>, u32) {
        let now = Datetime::from_unix(1_700_000_000, 0).unwrap();
        let mut stored = new(now);
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

    /// The store has one number for both: the pauses of what is not confirmed go on from the nacks'.
    #[test]
    fn nacks_are_counted_apart_from_what_was_not_confirmed() {
        let now = Datetime::from_unix(1_700_000_000, 0).unwrap();
        let unconfirmed = |stored| unconfirmed(stored, UNCONFIRMED_PROBLEM.into(), now).1;
        let nacked = |stored| nacked(stored, "it is full".into(), now).1;
        let mut stored = (0..7).fold(new(now), |stored, _| unconfirmed(stored));
        assert_eq!((stored.attempts, sends(&stored)), (7, 1));
        for nacks in 1..=3 {
            stored = nacked(stored);
            assert_eq!((stored.attempts, sends(&stored)), (nacks, nacks + 1));
        }
        stored = unconfirmed(stored);
        assert_eq!((stored.attempts, sends(&stored)), (4, 1));
        // Something else in between makes none of them a nack.
        stored = hindered(stored, "no exchange".into(), now).1;
        assert_eq!(sends(&stored), 2, "at least one, by which it is seen that it was put off");
        assert_eq!(nacked(stored).attempts, 2);
    }

    #[test]
    fn a_dead_letter_without_a_place_is_tried_within_a_minute() {
        let (pauses, attempts) = pauses(20, waiting);
        assert_eq!(attempts, 1);
        assert!(pauses.iter().all(|pause| (20..=40).contains(pause)), "{pauses:?}");
    }

    #[test]
    fn what_says_nothing_of_the_message_is_not_counted() {
        let (pauses, attempts) = pauses(20, hindered);
        assert_eq!(attempts, 1);
        assert!(pauses.iter().all(|pause| (30..=60).contains(pause)), "{pauses:?}");
    }
}
