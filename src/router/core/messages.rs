//! The messages that events cause: sent, sent again, or made dead letters, until the
//! last one's fate is known and the delivery is settled.

use std::time::Instant;

use tracing::debug;

use super::effect::Token;
use super::{Core, Effect, Planned};
use crate::clock::Now;
use crate::event::{DeadKind, DeadLetter, Message, Outgoing};
use crate::router::stats::{DeadCause, Outcome, PublicationOutcome};
use crate::router::watch::{Decided, Subject};
use crate::transport::{Completed, Fate, NextStep, RESENDS, SENDS};

/// All tokens that messages of a delivery can have.
pub fn tokens_of(delivery: usize) -> impl Iterator<Item = u64> {
    (1..=SENDS).map(move |sends| Token { key: delivery, sends }.into())
}

impl<R> Core<R> {
    /// Sends what the plugin answered.
    pub(super) fn send(&mut self, key: usize, planned: Vec<Planned>, now: Instant) {
        self.stats.routed(planned.len());
        if planned.is_empty() {
            return self.finish(key, now);
        }
        let caused: usize = planned.iter().map(|planned| planned.message().size()).sum();
        self.in_flight.bytes += caused;
        self.deliveries.answered(key, planned.len(), caused, now);
        let token = Token::first(key);
        for planned in planned {
            match planned {
                Planned::Now(message) => {
                    self.stats.measures().destinations.add(&message.exchange);
                    self.publish(token, Outgoing::Message(message));
                }
                Planned::Later(delayed) => {
                    self.stats.delayed();
                    self.deliveries.ends(key, Outcome::Delayed);
                    self.effects.push_back(Effect::Store { token: token.into(), delayed });
                }
            }
        }
    }

    pub(super) fn publish(&mut self, token: Token, outgoing: Outgoing) {
        self.in_flight.publications += 1;
        let resent = token.sends > 1;
        self.effects.push_back(Effect::Publish { token: token.into(), outgoing, resent });
    }

    /// Makes a dead letter of an event.
    pub(super) fn bury(
        &mut self,
        key: usize,
        event: Message,
        attempts: u32,
        cause: DeadCause,
        reason: String,
        now: Now,
    ) {
        self.deliveries.answered(key, 1, 0, now.instant);
        self.stats.dead(cause, &reason);
        self.publish_dead(key, DeadKind::Event, event, attempts, reason, now);
    }

    fn publish_dead(
        &mut self,
        key: usize,
        kind: DeadKind,
        message: Message,
        attempts: u32,
        reason: String,
        now: Now,
    ) {
        self.deliveries.ends(key, Outcome::Dead);
        self.deliveries.letter_sent(key);
        let origin = self.terms.author.origin();
        let letter = DeadLetter::new(kind, origin, message, attempts, reason, now.wall);
        self.publish(Token::first(key), Outgoing::Dead(letter.into()));
    }

    /// The fate of a message is known.
    pub fn on_completed(&mut self, completed: Completed, now: Now) {
        let token = Token::from(completed.token);
        self.in_flight.publications -= 1;
        let is_message = matches!(completed.outgoing, Outgoing::Message(_));
        let cause = DeadCause::of(&completed.fate);
        self.measure(token, &completed.fate, now.instant);
        // A dead letter says nothing of the exchange that refused its message.
        if let (Fate::Confirmed, Outgoing::Message(message)) =
            (&completed.fate, &completed.outgoing)
            && self.breaker.on_confirmed(&message.exchange)
        {
            self.recovered();
        }
        match completed.next_step(token.sends) {
            NextStep::Done => {
                self.deliveries.confirmed(token.key, !is_message);
                self.on_done(token.key, now.instant);
            }
            NextStep::Bury { message, reason, refused: false } => {
                self.bury_publication(token, message, cause, reason, now);
            }
            NextStep::Bury { message, reason, refused: true } => {
                self.on_refused(token, message, reason, now);
            }
            NextStep::SendReduced(letter) => {
                self.publish(Token::first(token.key), Outgoing::Dead(letter));
            }
            NextStep::Resend { outgoing, reason } => self.on_nacked(token, outgoing, reason, now),
        }
    }

    /// How long the broker takes is measured of what is sent for the first time: it left when
    /// the delivery was answered.
    fn measure(&self, token: Token, fate: &Fate, now: Instant) {
        let first = token.sends <= 1;
        let took = first.then(|| self.deliveries.since_answered(token.key, now)).flatten();
        self.stats.published(PublicationOutcome::of(fate), took);
    }

    /// Its exchange refuses the message, as it would others.
    fn on_refused(&mut self, token: Token, message: Message, reason: String, now: Now) {
        if self.breaker.on_refused(&message.exchange, self.terms.suspend_after, &reason) {
            self.stats.failed(&reason);
            self.suspend(now.instant);
        }
        if self.breaker.is_open() {
            return self.give_up(token.key, now.instant);
        }
        self.bury_publication(token, message, DeadCause::Refused, reason, now);
    }

    fn bury_publication(
        &mut self,
        token: Token,
        message: Message,
        cause: DeadCause,
        reason: String,
        now: Now,
    ) {
        self.stats.dead(cause, &reason);
        let (author, about) = (&self.terms.author, self.deliveries.uuid(token.key));
        let (key, subject) = (&message.routing_key, || Subject::Publication(message.clone()));
        let watch = self.stats.watch();
        if let Some(seen) = watch.look(&author.plugin, key, about, now.wall, subject) {
            seen.tell(author, token.sends, Decided::Dead, Some(&reason), &[]);
        }
        self.publish_dead(token.key, DeadKind::Publication, message, token.sends, reason, now);
    }

    /// The broker did not take the message this time.
    fn on_nacked(&mut self, token: Token, outgoing: Outgoing, reason: String, now: Now) {
        let plugin = &self.terms.author.plugin;
        debug!(plugin, sends = token.sends, "message nacked: {reason}");
        self.stats.failed(&reason);
        let pause = RESENDS.pause(token.sends, &mut self.jitter);
        let token = Token { sends: token.sends.saturating_add(1), ..token };
        self.resends.put(now.instant + pause, (token, outgoing));
        self.give_up_resends(now.instant);
    }

    /// The broker has not confirmed a message of a delivery that is given up.
    pub fn on_not_confirmed(&mut self, token: u64, outgoing: Outgoing, now: Now) {
        let token = Token::from(token);
        self.in_flight.publications -= 1;
        match outgoing {
            Outgoing::Message(message) => {
                self.deliveries.hold_again(token.key, now.instant);
                let reason = format!(
                    "not confirmed within {:?}, unlike what was sent after it: a queue bound to \
                     this key takes nothing, a quorum queue without a majority say. It may have \
                     arrived",
                    self.limit.hold
                );
                self.bury_publication(token, message, DeadCause::NotConfirmed, reason, now);
            }
            // There is no other place for it.
            letter @ Outgoing::Dead(_) => self.publish(token, letter),
        }
    }

    /// A delayed message is committed to the store, which says nothing of its exchange.
    pub fn on_committed(&mut self, token: u64, now: Instant) {
        self.on_done(Token::from(token).key, now);
    }

    /// The delay store refuses a message for good, for what is in it.
    pub fn on_not_stored(&mut self, token: u64, message: Message, reason: &str, now: Now) {
        let token = Token::first(Token::from(token).key);
        if !self.deliveries.is_held(token.key) {
            return self.give_up(token.key, now.instant);
        }
        let reason = format!("the delay store cannot take it: {reason}");
        self.bury_publication(token, message, DeadCause::NotStored, reason, now);
    }

    /// Whether somebody waits for the message with this token. If not, and it was not
    /// stored, that is told with [`Core::on_dropped`].
    pub fn is_waited_for(&self, token: u64) -> bool {
        self.deliveries.is_held(Token::from(token).key)
    }

    /// A delayed message that nobody waits for was not stored.
    pub fn on_dropped(&mut self, token: u64, now: Instant) {
        self.give_up(Token::from(token).key, now);
    }

    /// One message of a delivery is confirmed or committed; after the last one the
    /// delivery is settled.
    fn on_done(&mut self, key: usize, now: Instant) {
        if let Some(finished) = self.deliveries.message_done(key) {
            self.on_finished(key, finished, now);
        }
    }

    /// One of the messages will not be sent again: the delivery is not settled, and the
    /// broker redelivers it.
    fn give_up(&mut self, key: usize, now: Instant) {
        drop(self.deliveries.take_receipt(key));
        self.on_done(key, now);
    }

    /// A core that ends does not wait for a broker that nacks messages: the events that
    /// caused them are redelivered.
    pub(super) fn give_up_resends(&mut self, now: Instant) {
        if self.end.is_some() {
            for (token, _) in self.resends.take_all() {
                self.give_up(token.key, now);
            }
        }
    }

    /// Sends what is due again.
    pub(super) fn resend(&mut self, now: Instant) {
        while let Some((_, (token, outgoing))) = self.resends.take_due(now) {
            if self.deliveries.is_held(token.key) {
                self.publish(token, outgoing);
            } else {
                self.give_up(token.key, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
