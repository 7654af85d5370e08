//! How long a delivery is held: what cannot be settled goes back to the queue before the
//! broker takes it away, with the channel and all that is on it.

use std::time::{Duration, Instant};

use super::{Core, Effect, Job};

/// How often one looks.
const LOOK: Duration = Duration::from_secs(30);
/// After so many deliveries that went back while messages of theirs were not confirmed, a
/// new session is better than to keep them all.
const CLOGGED: usize = 1000;

impl<R> Core<R> {
    /// There is something to look after.
    pub(super) fn watch(&mut self, now: Instant) {
        if self.limit.hold < Duration::MAX {
            self.look_at.get_or_insert(now + LOOK);
        }
    }

    /// Gives back what is held too long, if it is time to look.
    pub(super) fn give_back_old(&mut self, now: Instant) {
        if self.look_at.is_none_or(|time| now < time) {
            return;
        }
        self.look_at = (self.in_flight.deliveries > 0).then(|| now + LOOK);
        let Some(then) = now.checked_sub(self.limit.hold) else { return };
        let old = self.deliveries.held_since(then);
        if old.is_empty() {
            return;
        }
        let is_old = |job: &Job| old.binary_search(&job.key).is_ok();
        let mut jobs = self.retries.take_where(is_old);
        for waiting in [&mut self.ready, &mut self.arrived] {
            let (gone, stays): (Vec<_>, Vec<_>) =
                std::mem::take(waiting).into_iter().partition(is_old);
            *waiting = stays.into();
            jobs.extend(gone);
        }
        jobs.into_iter().for_each(|job| self.give_back_job(job));
        // The rest is with the plugin, or waits for the fate of messages. When that is
        // known nobody waits for it any more.
        old.into_iter().for_each(|key| self.give_back(key));
        self.is_clogged = self.deliveries.given_back() > CLOGGED;
    }

    /// An event goes back, and what waits behind it, or the order would be lost.
    fn give_back_job(&mut self, job: Job) {
        let behind = self.turns.end(job.event.uuid);
        for job in [job].into_iter().chain(behind) {
            self.give_back(job.key);
            self.finish(job.key);
        }
    }

    /// Whether the driver has to start anew, since the broker confirms too little.
    pub fn is_clogged(&self) -> bool {
        self.is_clogged
    }

    fn give_back(&mut self, key: usize) {
        if let Some(receipt) = self.deliveries.take_receipt(key) {
            self.one_less();
            self.effects.push_back(Effect::Requeue(receipt));
        }
    }
}
