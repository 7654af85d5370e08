//! Putting messages off that could not be sent: until when, and what is noted of it.

use std::mem;
use std::time::Duration;

use super::record::Stored;
use crate::backoff::{Jitter, Policy};
use crate::event::{Datetime, Message, Outgoing};
use crate::transport::{LONGEST_RESEND, RESENDS};

/// The pause of a message that something else is in the way of than a queue that rejects it.
const HINDERED: Policy = Policy::new(Duration::from_secs(60), Duration::from_secs(60));

/// No pause is longer.
pub const LONGEST_PAUSE: Duration = LONGEST_RESEND;

/// A message as it is now, and when it was due.
pub type PutOff = (Datetime, Stored);

/// The broker nacked it. It is counted: in the end it is a dead letter
/// ([`next_step`](crate::transport::Completed::next_step)).
pub fn nacked(mut stored: Stored, problem: String, now: Datetime) -> PutOff {
    stored.attempts = stored.attempts.saturating_add(1);
    let attempts = stored.attempts;
    put_off(stored, problem, RESENDS.pause(attempts, &mut Jitter::random()), now)
}

/// It was not confirmed, or not even sent. That says nothing of the message, which waits for as
/// long as it takes.
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
