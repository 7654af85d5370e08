//! What became of a message that was sent, and what follows from that.

use std::time::Duration;

use crate::backoff::Policy;
use crate::event::{DeadLetter, Message, Outgoing};

/// The pauses before a message that the broker nacked is sent again. Each time, every other
/// queue that takes it gets another copy.
pub const RESENDS: Policy = Policy::new(Duration::from_secs(4), LONGEST_RESEND);
/// The longest of them.
pub const LONGEST_RESEND: Duration = Duration::from_secs(120);
/// How many times a message is sent, over three to six minutes; then it is a dead letter.
pub const SENDS: u32 = 8;

/// How long a delayed message waits at most before its dead letter is sent again that had no place.
pub const LETTER_WAITS: Duration = Duration::from_secs(40);

/// Why a message is returned, with the broker's words.
pub fn unroutable(exchange: &str, routing_key: &str, said: &str) -> String {
    format!("no queue is bound to exchange {exchange:?} for routing key {routing_key:?} ({said})")
}

/// Whether that is a reason, or part of one.
pub fn is_unroutable(reason: &str) -> bool {
    reason.contains("no queue is bound to exchange ")
}

/// A message whose fate is known.
#[derive(Debug)]
pub struct Completed {
    /// As given to [`Outbox::send`](super::Outbox::send).
    pub token: u64,
    /// The message itself.
    pub outgoing: Outgoing,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The broker took responsibility for it, in at least one queue.
    Confirmed,
    /// It is unroutable, in the broker's words.
    Returned(String),
    /// It is not as the broker takes messages, though others to its exchange may be, and why: it
    /// is too large, say, or its routing key is not permitted.
    Unacceptable(String),
    /// Its exchange refuses it, as it would others, and why: it does not exist, or is not
    /// permitted.
    Refused(String),
    /// The broker could not take it now, and why: a queue is full, say.
    Nacked(String),
}

/// What follows from a message's fate, whoever sent it.
#[derive(Debug)]
pub enum NextStep {
    /// Nothing: it is where it belongs.
    Done,
    /// A dead letter is made of it.
    Bury {
        /// The message.
        message: Message,
        /// Why it cannot be delivered.
        reason: String,
        /// Whether its exchange refuses others as well.
        refused: bool,
    },
    /// The dead letter is sent at once in another form, which the broker may take.
    SendReduced(Box<DeadLetter>),
    /// It is sent again later: after the next of the pauses [`RESENDS`].
    Resend {
        /// The message or dead letter.
        outgoing: Outgoing,
        /// Why the broker did not take it.
        reason: String,
    },
}

impl Completed {
    /// Why a message is sent again later as it is, if it is a dead letter and that is so.
    pub fn waits(&self) -> Option<&str> {
        let Outgoing::Dead(letter) = &self.outgoing else { return None };
        match &self.fate {
            Fate::Confirmed => None,
            Fate::Unacceptable(_) if !letter.is_least() => None,
            Fate::Returned(reason)
            | Fate::Unacceptable(reason)
            | Fate::Refused(reason)
            | Fate::Nacked(reason) => Some(reason),
        }
    }

    /// What is to be done with the message, which was sent so many times. A dead letter is sent
    /// until the broker takes it: there is no other place for it.
    pub fn next_step(self, sends: u32) -> NextStep {
        match (self.fate, self.outgoing) {
            (Fate::Confirmed, _) => NextStep::Done,
            (Fate::Returned(reason) | Fate::Unacceptable(reason), Outgoing::Message(message)) => {
                NextStep::Bury { message, reason, refused: false }
            }
            (Fate::Refused(reason), Outgoing::Message(message)) => {
                NextStep::Bury { message, reason, refused: true }
            }
            (Fate::Unacceptable(reason), Outgoing::Dead(letter)) => match letter.reduced() {
                Ok(reduced) => NextStep::SendReduced(reduced),
                Err(letter) => NextStep::Resend { outgoing: Outgoing::Dead(letter), reason },
            },
            // It is not the letter's fault: it keeps its form, and all of its body.
            (Fate::Returned(reason) | Fate::Refused(reason), outgoing @ Outgoing::Dead(_)) => {
                NextStep::Resend { outgoing, reason }
            }
            (Fate::Nacked(reason), Outgoing::Message(message)) if sends >= SENDS => {
                let reason = format!("given up after {sends} attempts, the last nacked: {reason}");
                NextStep::Bury { message, reason, refused: false }
            }
            (Fate::Nacked(reason), outgoing) => NextStep::Resend { outgoing, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Datetime, DeadKind, Origin};

    fn nacked(outgoing: Outgoing, sends: u32) -> NextStep {
        let fate = Fate::Nacked("it is full".into());
        Completed { token: 1, outgoing, fate }.next_step(sends)
    }

    #[test]
    fn what_is_nacked_is_sent_eight_times_and_then_a_dead_letter() {
        for sends in 1..8 {
            let step = nacked(Outgoing::Message(Message::default()), sends);
            assert!(matches!(step, NextStep::Resend { .. }), "{sends}: {step:?}");
        }
        match nacked(Outgoing::Message(Message::default()), 8) {
            NextStep::Bury { reason, refused: false, .. } => {
                assert_eq!(reason, "given up after 8 attempts, the last nacked: it is full");
            }
            step => panic!("{step:?}"),
        }
        let minutes: Duration = (1..8).map(|sends| RESENDS.step(sends)).sum();
        assert!(minutes < Duration::from_secs(400), "{minutes:?}");
        let in_the_first_minute = (1..8).scan(Duration::ZERO, |at, sends| {
            *at += RESENDS.step(sends) / 2;
            Some(*at)
        });
        let copies = 1 + in_the_first_minute.filter(|at| *at < Duration::from_secs(60)).count();
        assert!(copies <= 5, "{copies} copies at the shortest pauses");
    }

    #[test]
    fn a_dead_letter_that_is_nacked_is_sent_until_the_broker_takes_it() {
        let origin = Origin { plugin: "p", version: "v" };
        let message = Message::default();
        let letter =
            DeadLetter::new(DeadKind::Event, origin, message, 1, "why".into(), Datetime::NO_DATE);
        let step = nacked(Outgoing::Dead(letter.into()), 100);
        assert!(matches!(step, NextStep::Resend { .. }), "{step:?}");
    }

    #[test]
    fn a_dead_letter_waits_if_it_is_sent_again_as_it_is() {
        let origin = Origin { plugin: "p", version: "v" };
        let message = Message { body: vec![b'x'; 1 << 20].into(), ..Message::default() };
        let (kind, since) = (DeadKind::Event, Datetime::NO_DATE);
        let letter = Box::new(DeadLetter::new(kind, origin, message, 1, "why".into(), since));
        let bare = letter.clone().reduced().unwrap();
        let least = bare.clone().reduced().unwrap();
        let fates = [Fate::Returned, Fate::Unacceptable, Fate::Refused, Fate::Nacked]
            .map(|fate| fate("no".into()));
        for letter in [letter, bare, least] {
            for fate in fates.iter().cloned().chain([Fate::Confirmed]) {
                let outgoing = Outgoing::Dead(letter.clone());
                let completed = Completed { token: 1, outgoing, fate };
                let waits = completed.waits().map(str::to_owned);
                match completed.next_step(1) {
                    NextStep::Resend { reason, .. } => assert_eq!(waits, Some(reason)),
                    step => assert_eq!(waits, None, "{step:?}"),
                }
            }
        }
    }

    #[test]
    fn a_dead_letter_without_a_queue_waits_for_one_as_it_is() {
        let origin = Origin { plugin: "p", version: "v" };
        let message = Message { body: vec![b'x'; 1 << 20].into(), ..Message::default() };
        let letter =
            DeadLetter::new(DeadKind::Event, origin, message, 1, "why".into(), Datetime::NO_DATE);
        for fate in [Fate::Returned("no queue".into()), Fate::Refused("403".into())] {
            let outgoing = Outgoing::Dead(letter.clone().into());
            match (Completed { token: 1, outgoing, fate }).next_step(1) {
                NextStep::Resend { outgoing, .. } => {
                    assert_eq!(outgoing, Outgoing::Dead(letter.clone().into()));
                }
                step => panic!("{step:?}"),
            }
        }
    }
}
