//! Messages that were let go: they were not confirmed in time, and are put off in the store.
//! What is confirmed all the same before it is sent again, is removed: once its claim is settled,
//! since what a claim holds nobody else can remove.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::unsettled::ClaimNumber;
use crate::delay::Stored;
use crate::event::Datetime;
use crate::transport::Outbox;

/// How many there may be, and how many bytes their bodies may have.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 64 << 20;

/// How often one looks which of them are sent again.
const LOOK: Duration = Duration::from_secs(1);

/// Those whose fate is still waited for.
#[derive(Debug, Default)]
pub struct Late {
    /// By token.
    messages: BTreeMap<u64, LateMessage>,
    bytes: usize,
    look_at: Option<Instant>,
    /// Claims that some of them are of, until these are settled.
    unsettled: BTreeSet<ClaimNumber>,
    /// What is to be removed, once its claim is settled.
    confirmed: Vec<(ClaimNumber, (i64, Datetime))>,
}

/// One of them.
#[derive(Debug)]
pub struct LateMessage {
    /// What it is put off with.
    pub claim: ClaimNumber,
    /// As it was claimed, without its contents.
    pub stored: Stored,
    /// Until when it is put off in the store.
    pub due: Datetime,
    /// The same on the clock that nobody sets.
    pub until: Instant,
}

impl Late {
    /// Whether more can be remembered.
    pub fn has_room(&self) -> bool {
        self.messages.len() < MOST && self.bytes < MOST_BYTES
    }

    /// A message is to be put off when its claim is settled.
    pub fn let_go(&mut self, token: u64, message: LateMessage) {
        self.unsettled.insert(message.claim);
        self.put(token, message);
    }

    /// A message's fate is waited for.
    pub fn put(&mut self, token: u64, message: LateMessage) {
        self.bytes += message.body_size();
        self.look_at.get_or_insert(Instant::now() + LOOK);
        self.messages.insert(token, message);
    }

    /// A message's fate is known.
    pub fn take(&mut self, token: u64) -> Option<LateMessage> {
        let message = self.messages.remove(&token)?;
        self.bytes -= message.body_size();
        Some(message)
    }

    /// A message is where it belongs, and is to be removed from the store.
    pub fn confirmed(&mut self, message: &LateMessage) {
        self.confirmed.push((message.claim, (message.stored.id, message.due)));
    }

    /// A claim is settled, and what was put off with it is in the store.
    pub fn on_settled(&mut self, claim: ClaimNumber) {
        self.unsettled.remove(&claim);
    }

    /// Those that are to be removed, if any are: ids, and until when they are put off.
    pub fn take_confirmed(&mut self) -> Option<Vec<(i64, Datetime)>> {
        let removable = |(claim, _): &mut (ClaimNumber, _)| !self.unsettled.contains(claim);
        let taken: Vec<_> = self.confirmed.extract_if(.., removable).map(|(_, one)| one).collect();
        (!taken.is_empty()).then_some(taken)
    }

    /// When [`Late::forget`] is to be called.
    pub fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Forgets those that are sent again.
    pub fn forget(&mut self, now: Instant, outbox: &mut impl Outbox) {
        if self.look_at.is_none_or(|time| now < time) {
            return;
        }
        let over = self.messages.iter().filter(|(_, message)| message.until <= now);
        let over: Vec<u64> = over.map(|(token, _)| *token).collect();
        for token in over {
            // One that the outbox does not give has a fate, which it tells next; or it waits as
            // a whole.
            if outbox.withdraw(token).is_some() {
                self.take(token);
            }
        }
        self.look_at = (!self.messages.is_empty()).then(|| now + LOOK);
    }
}

impl LateMessage {
    fn body_size(&self) -> usize {
        self.stored.delayed.message.body.len()
    }
}
