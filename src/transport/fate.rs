//! What became of a message that was sent, and what follows from that.

use anyhow::{Result, bail};

use crate::event::{DeadLetter, Message, Outgoing};

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
    /// It can never be delivered, and why: no queue takes it, or it is not as the broker
    /// takes messages.
    Undeliverable(String),
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
    /// It is sent again later.
    Resend {
        /// The message or dead letter.
        outgoing: Outgoing,
        /// Why the broker did not take it.
        reason: String,
    },
}

impl Completed {
    /// What is to be done with the message.
    ///
    /// # Errors
    /// A dead letter cannot be delivered: the queue of dead letters has to be declared
    /// again before anything else is sent.
    pub fn next_step(self) -> Result<NextStep> {
        Ok(match (self.fate, self.outgoing) {
            (Fate::Confirmed, _) => NextStep::Done,
            (Fate::Undeliverable(reason), Outgoing::Message(message)) => {
                NextStep::Bury { message, reason, refused: false }
            }
            (Fate::Refused(reason), Outgoing::Message(message)) => {
                NextStep::Bury { message, reason, refused: true }
            }
            (Fate::Undeliverable(reason) | Fate::Refused(reason), Outgoing::Dead(letter)) => {
                match letter.reduced() {
                    Some(reduced) => NextStep::SendReduced(reduced.into()),
                    None => bail!("the dead-letter exchange does not take a message: {reason}"),
                }
            }
            (Fate::Nacked(reason), outgoing) => NextStep::Resend { outgoing, reason },
        })
    }
}
