//! Sending dead letters back, many at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use super::reader::{Reader, Receipt};
use super::{Progress, Selection};
use crate::amqp::broker::Broker;
use crate::amqp::letter::Letter;
use crate::amqp::outbox::Outbox;
use crate::event::{Message, Outgoing};
use crate::transport::{Fate, Outbox as _};

/// How many letters may be on their way back, in number and in bytes.
const IN_FLIGHT: usize = 500;
const IN_FLIGHT_BYTES: usize = 16 << 20;
/// How many different reasons are kept of why letters cannot be sent back.
const REASONS: usize = 20;
/// How long to wait for the fate of any of the letters in flight. Of some the broker may never
/// tell it: those for a queue without a majority, say.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of letters that were to be sent back.
#[derive(Debug, Default)]
pub struct Requeued {
    /// How many are where they came from.
    pub sent: u64,
    /// How many are dead letters still.
    pub failed: u64,
    /// Why, and how many for each reason; the first reasons only.
    pub reasons: Vec<(String, u64)>,
}

impl Requeued {
    /// As commands and the page show it.
    pub fn to_json(&self) -> Json {
        let reasons = self.reasons.iter();
        let reasons: Vec<_> =
            reasons.map(|(reason, count)| json!({"reason": reason, "count": count})).collect();
        json!({"sent_back": self.sent, "failed": self.failed, "reasons": reasons})
    }

    fn fail(&mut self, reason: String) {
        self.failed += 1;
        if let Some((_, count)) = self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            *count += 1;
        } else if self.reasons.len() < REASONS {
            self.reasons.push((reason, 1));
        }
    }
}

/// Letters on their way back.
struct Sender {
    broker: Arc<Broker>,
    outbox: Outbox,
    /// Sent, by their tokens, with their sizes in bytes.
    in_flight: BTreeMap<u64, (Receipt, usize)>,
    bytes: usize,
    next_token: u64,
}

/// Sends the selected letters back, events to their queues and publications to their
/// exchanges, and removes each from the dead letters once the broker has confirmed it.
/// Those that cannot be sent back stay where they are; so do those that the broker does not
/// confirm for half a minute.
///
/// # Errors
/// The broker is unreachable, or blocks publishing; or the user may not do what it takes. The error
/// says how many were sent back until then.
pub async fn requeue(
    broker: &Arc<Broker>,
    selection: &Selection,
    mut progress: impl Progress,
) -> Result<Requeued> {
    let mut reader = Reader::open(broker).await?;
    let mut sender = Sender::open(Arc::clone(broker)).await?;
    let mut requeued = Requeued::default();
    let ended = send_all(&mut reader, &mut sender, selection, &mut requeued, &mut progress).await;
    reader.close().await;
    ended.with_context(|| {
        format!("after {} were sent back and {} were not", requeued.sent, requeued.failed)
    })?;
    Ok(requeued)
}

async fn send_all(
    reader: &mut Reader<'_>,
    sender: &mut Sender,
    selection: &Selection,
    requeued: &mut Requeued,
    progress: &mut impl Progress,
) -> Result<()> {
    let total = reader.left();
    loop {
        let ready = if sender.has_room() { reader.try_next()? } else { None };
        let read = match ready {
            None if sender.is_idle() => match reader.next().await? {
                None => return Ok(()),
                read => read,
            },
            ready => ready,
        };
        match read {
            Some((letter, receipt)) => take(letter, receipt, reader, sender, selection, requeued),
            None => sender.complete(reader, requeued).await?,
        }
        progress.at(u64::from(total - reader.left()), u64::from(total));
    }
}

/// Gives a letter that was read to the sender, if it is to be sent back.
fn take(
    letter: Letter,
    receipt: Receipt,
    reader: &mut Reader<'_>,
    sender: &mut Sender,
    selection: &Selection,
    requeued: &mut Requeued,
) {
    if !selection.matches(&letter) {
        return reader.keep(receipt);
    }
    match letter.to_requeue(&sender.broker, reader.frame_max()) {
        Ok(message) => sender.send(receipt, message),
        Err(error) => {
            requeued.fail(format!("{error:#}"));
            reader.keep(receipt);
        }
    }
}

impl Sender {
    async fn open(broker: Arc<Broker>) -> Result<Self> {
        Ok(Self {
            outbox: Outbox::open(Arc::clone(&broker)).await?,
            broker,
            in_flight: BTreeMap::new(),
            bytes: 0,
            next_token: 0,
        })
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < IN_FLIGHT && self.bytes < IN_FLIGHT_BYTES
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    fn send(&mut self, receipt: Receipt, message: Message) {
        let size = message.size();
        self.bytes += size;
        self.in_flight.insert(self.next_token, (receipt, size));
        self.outbox.send(self.next_token, Outgoing::Message(message));
        self.next_token += 1;
    }

    /// Waits until the fate of one letter is known, or for so long that those in flight are
    /// given up.
    async fn complete(&mut self, reader: &mut Reader<'_>, requeued: &mut Requeued) -> Result<()> {
        let Ok(completed) = timeout(PATIENCE, self.outbox.completed()).await else {
            return self.give_up(reader, requeued);
        };
        let completed = completed?;
        let Some((receipt, size)) = self.in_flight.remove(&completed.token) else {
            return Ok(());
        };
        self.bytes -= size;
        match completed.fate {
            Fate::Confirmed => {
                requeued.sent += 1;
                reader.remove(receipt);
            }
            Fate::Returned(reason)
            | Fate::Unacceptable(reason)
            | Fate::Refused(reason)
            | Fate::Nacked(reason) => {
                requeued.fail(reason);
                reader.keep(receipt);
            }
        }
        Ok(())
    }

    /// Nobody waits any more for the fate of the letters in flight, which stay dead letters.
    fn give_up(&mut self, reader: &mut Reader<'_>, requeued: &mut Requeued) -> Result<()> {
        if self.broker.is_blocked() {
            bail!("the broker blocks publishing, and has confirmed nothing for {PATIENCE:?}");
        }
        self.bytes = 0;
        for (token, (receipt, _)) in std::mem::take(&mut self.in_flight) {
            let is_sent = self.outbox.abandon(token).is_some();
            requeued.fail(if is_sent {
                format!("the broker has not confirmed it within {PATIENCE:?}: it may have arrived")
            } else if self.outbox.withdraw(token).is_some() {
                format!(
                    "it was not sent within {PATIENCE:?}: the broker has not said whether its exchange \
                     can be used"
                )
            } else {
                format!("what became of it is not known after {PATIENCE:?}: it may have arrived")
            });
            reader.keep(receipt);
        }
        Ok(())
    }
}
