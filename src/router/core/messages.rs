//! The messages that events cause: sent, sent again, or made dead letters, until the
//! last one's fate is known and the delivery is settled.

use anyhow::Result;
use tracing::debug;

use super::{Core, Effect, Planned};
use crate::clock::Now;
use crate::event::{DeadKind, DeadLetter, Message, Outgoing};
use crate::transport::{Completed, NextStep};

impl<R> Core<R> {
    /// Sends what the plugin answered.
    pub(super) fn send(&mut self, receipt: R, bytes: usize, planned: Vec<Planned>) {
        self.stats.routed(planned.len());
        if planned.is_empty() {
            return self.settle(receipt, bytes);
        }
        let caused: usize = planned.iter().map(|planned| planned.message().size()).sum();
        self.in_flight.bytes += caused;
        let token = self.unsettled.insert(receipt, planned.len(), bytes + caused);
        for planned in planned {
            match planned {
                Planned::Now(message) => self.publish(token, Outgoing::Message(message), false),
                Planned::Later(delayed) => {
                    self.stats.delayed();
                    self.effects.push_back(Effect::Store { token, delayed });
                }
            }
        }
    }

    pub(super) fn publish(&mut self, token: u64, outgoing: Outgoing, resent: bool) {
        self.in_flight.publications += 1;
        self.effects.push_back(Effect::Publish { token, outgoing, resent });
    }

    /// Makes a dead letter of an event.
    pub(super) fn bury(
        &mut self,
        event: Message,
        attempts: u32,
        receipt: R,
        bytes: usize,
        reason: String,
        now: Now,
    ) {
        let token = self.unsettled.insert(receipt, 1, bytes);
        self.publish_dead(token, DeadKind::Event, event, attempts, reason, now);
    }

    pub(super) fn publish_dead(
        &mut self,
        token: u64,
        kind: DeadKind,
        message: Message,
        attempts: u32,
        reason: String,
        now: Now,
    ) {
        self.stats.dead(&reason);
        let origin = self.terms.author.origin();
        let letter = DeadLetter::new(kind, origin, message, attempts, reason, now.wall);
        self.publish(token, Outgoing::Dead(letter.into()), false);
    }

    /// The fate of a message is known.
    ///
    /// # Errors
    /// Dead letters cannot be delivered: the driver has to start anew, and everything
    /// unsettled is redelivered.
    pub fn on_completed(&mut self, completed: Completed, now: Now) -> Result<()> {
        let token = completed.token;
        self.in_flight.publications -= 1;
        match completed.next_step()? {
            NextStep::Done => {
                self.resend_pauses.reset();
                self.on_done(token);
            }
            NextStep::Bury { message, reason } => {
                self.publish_dead(token, DeadKind::Publication, message, 1, reason, now);
            }
            NextStep::Resend { outgoing, reason } => {
                let plugin = &self.terms.author.plugin;
                debug!(plugin, "message nacked, to be sent again: {reason}");
                self.stats.failed(&reason);
                let pause = self.resend_pauses.next_pause_with(&mut self.jitter);
                self.resends.put(now.instant + pause, (token, outgoing));
                self.give_up_resends();
            }
        }
        Ok(())
    }

    /// A delayed message is committed to the store.
    pub fn on_committed(&mut self, token: u64) {
        self.on_done(token);
    }

    /// One message of a delivery is confirmed or committed; after the last one the
    /// delivery is settled.
    pub(super) fn on_done(&mut self, token: u64) {
        if let Some((receipt, bytes)) = self.unsettled.message_done(token) {
            self.settle(receipt, bytes);
        }
    }

    /// `bytes` are those of the delivery and of all that it caused.
    pub(super) fn settle(&mut self, receipt: R, bytes: usize) {
        self.in_flight.remove_delivery(bytes);
        self.effects.push_back(Effect::Settle(receipt));
        self.end_if_exhausted();
    }

    /// A core that ends does not wait for a broker that nacks messages, which can be
    /// for ever: the events that caused them are redelivered.
    pub(super) fn give_up_resends(&mut self) {
        if self.end.is_some() {
            for (token, _) in self.resends.take_all() {
                self.unsettled.give_up(token);
            }
        }
    }
}
