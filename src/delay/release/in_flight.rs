//! What is in flight, and what becomes of it in the store.
//!
//! A claim ends with the last of its messages. One that is not confirmed, because a queue behind
//! its key has lost its majority say, must hold up neither the others nor the next claims: after a
//! while it is let go, which is to put it off in the store. Its confirm may come yet, and counts
//! until it is sent again ([`Late`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use tokio::time::Instant;

use super::late::{Late, LateMessage};
use super::unsettled::{ClaimNumber, Finished, Settled, UnsettledClaim};
use crate::clock::Now;
use crate::delay::claim::Claim;
use crate::delay::put_off::UNCONFIRMED_PROBLEM;
use crate::delay::record::Outcome;
use crate::delay::{Senders, Store, Stored, put_off};
use crate::event::{Datetime, DeadKind, DeadLetter, Message, Origin, Outgoing, SHORT_STRING, fits};
use crate::transport::{Completed, Fate, NextStep, Outbox};

/// How long a message may wait for its confirm.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same while no other claim can be made.
const PATIENCE_IN_A_CROWD: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub struct InFlight<'a, S> {
    store: &'a Store,
    senders: &'a S,
    /// Messages of unsettled claims whose fate is unknown, by token. Their contents are with the
    /// outbox.
    messages: BTreeMap<u64, (ClaimNumber, Stored)>,
    /// Claims of which a message is in flight.
    claims: BTreeMap<ClaimNumber, UnsettledClaim<'a>>,
    late: Late,
    last_token: u64,
}

/// What follows for a message from its fate.
enum Next {
    /// It is where it belongs.
    Remove,
    /// A dead letter is sent in its place.
    Send(Outgoing),
    /// It stays in the store, with this problem, for so long as this says.
    PutOff(String, fn(Stored, String, Datetime) -> put_off::PutOff),
}

impl<'a, S: Senders> InFlight<'a, S> {
    /// Nothing yet.
    pub fn new(store: &'a Store, senders: &'a S) -> Self {
        Self {
            store,
            senders,
            messages: BTreeMap::new(),
            claims: BTreeMap::new(),
            late: Late::default(),
            last_token: 0,
        }
    }

    /// How many claims are not settled.
    pub fn claims(&self) -> usize {
        self.claims.len()
    }

    /// What is to be removed from the store though it was put off.
    pub fn take_confirmed_late(&mut self) -> Option<Vec<(i64, Datetime)>> {
        self.late.take_confirmed()
    }

    /// Sends a claim's messages; returns it if none could be sent.
    pub fn send(
        &mut self,
        claim: Claim<'a>,
        Now { wall: now, instant }: Now,
        outbox: &mut impl Outbox,
    ) -> Option<Finished<'a>> {
        let (hold, since) = (claim.hold?, Instant::now());
        let mut unsettled = UnsettledClaim { hold, left: 0, outcome: Outcome::default(), since };
        let number = self.last_token + 1;
        for mut stored in claim.messages {
            if stored.damage.is_some() {
                unsettled.outcome.put_off.push(put_off::unreadable(stored, now));
                continue;
            }
            let exchange = &stored.delayed.message.exchange;
            if let Some(problem) = self.store.exchanges().refuses(exchange, instant) {
                unsettled.outcome.put_off.push(put_off::hindered(stored, problem, now));
                continue;
            }
            self.last_token += 1;
            unsettled.left += 1;
            let message = put_off::take_contents(&mut stored);
            let outgoing = match too_long(&message) {
                Some(reason) => {
                    let fate = Fate::Unacceptable(reason.clone());
                    self.bury(&stored, message, &fate, reason, now)
                }
                None => Outgoing::Message(message),
            };
            self.messages.insert(self.last_token, (number, stored));
            outbox.send(self.last_token, outgoing);
        }
        if unsettled.left == 0 {
            return Some(unsettled.finished(number));
        }
        self.claims.insert(number, unsettled);
        None
    }

    /// A message's fate is known. Returns its claim if it was the last one of it.
    pub fn on_completed(
        &mut self,
        completed: Completed,
        now: Now,
        outbox: &mut impl Outbox,
    ) -> Option<Finished<'a>> {
        let token = completed.token;
        let Some((number, mut stored)) = self.messages.remove(&token) else {
            self.on_late(completed, now, outbox);
            return None;
        };
        let next = self.next(completed, &mut stored, now);
        let claim = self.claims.get_mut(&number)?;
        match next {
            Next::Send(outgoing) => {
                self.messages.insert(token, (number, stored));
                outbox.send(token, outgoing);
                return None;
            }
            Next::Remove => {
                self.store.stats().sent(stored.delayed.due, now.wall);
                claim.outcome.sent.push((stored.id, stored.delayed.due));
            }
            Next::PutOff(problem, put_off) => {
                claim.outcome.put_off.push(put_off(stored, problem, now.wall));
            }
        }
        claim.left -= 1;
        self.finished(number)
    }

    /// A claim is settled.
    pub fn on_settled(&mut self, settled: &Settled) {
        self.late.on_settled(settled.number);
    }

    /// Takes a claim out of which nothing is in flight any more.
    fn finished(&mut self, number: ClaimNumber) -> Option<Finished<'a>> {
        let claims = self.claims.entry(number);
        let Entry::Occupied(claim) = claims else { return None };
        (claim.get().left == 0).then(|| claim.remove().finished(number))
    }

    /// The fate is known of a message that is put off. If it is to be sent again, it will be.
    fn on_late(&mut self, completed: Completed, now: Now, outbox: &mut impl Outbox) {
        let token = completed.token;
        let Some(mut late) = self.late.take(token) else { return };
        match self.next(completed, &mut late.stored, now) {
            Next::Send(outgoing) => {
                self.late.put(token, late);
                outbox.send(token, outgoing);
            }
            Next::Remove => {
                self.store.stats().sent(late.stored.delayed.due, now.wall);
                self.late.confirmed(&late);
            }
            // Its sending was counted when it was put off.
            Next::PutOff(..) => {}
        }
    }

    /// What follows from a message's fate. What is put off has its contents again.
    fn next(&self, completed: Completed, stored: &mut Stored, now: Now) -> Next {
        let fate = completed.fate.clone();
        self.senders.published(&stored.delayed.plugin, &fate);
        if let Outgoing::Message(message) = &completed.outgoing
            && !matches!(fate, Fate::Refused(_))
        {
            self.store.exchanges().on_taken(&message.exchange, self.store.health());
        }
        let (outgoing, next) = match completed.next_step(put_off::sends(stored)) {
            NextStep::Done => return Next::Remove,
            NextStep::SendReduced(letter) => return Next::Send(Outgoing::Dead(letter)),
            NextStep::Bury { message, reason, refused: true }
                if self.is_refusing(&message.exchange, &reason, stored, now) =>
            {
                (Outgoing::Message(message), Next::PutOff(reason, put_off::hindered))
            }
            NextStep::Bury { message, reason, .. } => {
                return Next::Send(self.bury(stored, message, &fate, reason, now.wall));
            }
            // Why it is one, and not why that was not taken.
            NextStep::Resend { outgoing: Outgoing::Dead(letter), .. } => {
                let reason = letter.reason.clone();
                (Outgoing::Dead(letter), Next::PutOff(reason, put_off::waiting))
            }
            NextStep::Resend { outgoing, reason } => {
                (outgoing, Next::PutOff(reason, put_off::nacked))
            }
        };
        put_off::give_back(stored, outgoing);
        next
    }

    /// An exchange has refused a message. Whether it has refused so many that this one waits until
    /// it takes them again.
    fn is_refusing(&self, exchange: &str, reason: &str, stored: &Stored, now: Now) -> bool {
        let most = self.senders.suspend_after(&stored.delayed.plugin);
        let health = self.store.health();
        self.store.exchanges().on_refused(exchange, reason, most, now.instant, health)
    }

    fn bury(
        &self,
        stored: &Stored,
        message: Message,
        fate: &Fate,
        reason: String,
        now: Datetime,
    ) -> Outgoing {
        let Stored { delayed, attempts, .. } = stored;
        self.senders.dead(&delayed.plugin, fate, &reason);
        tracing::warn!(
            plugin = delayed.plugin,
            version = delayed.version,
            uuid = delayed.uuid,
            message_id = Some(message.id()).filter(|id| !id.is_empty()),
            routing_key = message.routing_key,
            attempts = attempts.saturating_add(1),
            "dead letter: {reason}"
        );
        let origin = Origin { plugin: &delayed.plugin, version: &delayed.version };
        let (kind, attempts) = (DeadKind::Publication, attempts.saturating_add(1));
        Outgoing::Dead(DeadLetter::new(kind, origin, message, attempts, reason, now).into())
    }

    /// When [`InFlight::on_time`] is to be called. It is crowded while no other claim can be made.
    pub fn wake_at(&self, is_crowded: bool) -> Option<Instant> {
        let patience = self.patience(is_crowded);
        let claims = self.claims.values().map(|claim| claim.since + patience);
        claims.chain(self.late.look_at()).min()
    }

    fn patience(&self, is_crowded: bool) -> Duration {
        if is_crowded && self.late.has_room() { PATIENCE_IN_A_CROWD } else { PATIENCE }
    }

    /// Lets go what is left of claims that have waited for too long; returns those of which
    /// nothing is in flight any more.
    pub fn on_time(
        &mut self,
        is_crowded: bool,
        now: Datetime,
        outbox: &mut impl Outbox,
    ) -> Vec<Finished<'a>> {
        let begun = Instant::now();
        self.late.forget(begun, outbox);
        let patience = self.patience(is_crowded);
        let late = self.claims.iter().filter(|(_, claim)| claim.since + patience <= begun);
        let late: Vec<ClaimNumber> = late.map(|(number, _)| *number).collect();
        late.into_iter().filter_map(|number| self.let_go(number, now, outbox)).collect()
    }

    fn let_go(
        &mut self,
        number: ClaimNumber,
        now: Datetime,
        outbox: &mut impl Outbox,
    ) -> Option<Finished<'a>> {
        let begun = Instant::now();
        let claim = self.claims.get_mut(&number)?;
        let left = self.messages.range(number..).take_while(|(_, (of, _))| *of == number);
        let left: Vec<u64> = left.map(|(token, _)| *token).collect();
        for token in left {
            // A message that the outbox does not give has a fate, which it tells next; or nothing
            // is confirmed at the moment, as the broker says itself.
            let Some(outgoing) = outbox.copy(token) else { continue };
            let Some((_, mut stored)) = self.messages.remove(&token) else { continue };
            let late = stored.clone();
            put_off::give_back(&mut stored, outgoing);
            let put_off = put_off::unconfirmed(stored, UNCONFIRMED_PROBLEM.to_owned(), now);
            let due = put_off.1.delayed.due;
            if self.late.has_room() {
                let until = begun + due.saturating_since(now);
                self.late.let_go(token, LateMessage { claim: number, stored: late, due, until });
            } else {
                outbox.withdraw(token);
            }
            claim.outcome.put_off.push(put_off);
            claim.left -= 1;
        }
        claim.since = begun;
        claim.hold.keep();
        self.finished(number)
    }
}

/// Why AMQP cannot carry the message, which need not come from a plugin: an import has others.
fn too_long(message: &Message) -> Option<String> {
    [("routing key", &message.routing_key), ("exchange", &message.exchange)]
        .into_iter()
        .find_map(|(what, text)| fits(what, text, SHORT_STRING).err())
}
