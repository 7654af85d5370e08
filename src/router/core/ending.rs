//! How a core ends, and how it goes over to another version of its plugin.

use std::time::{Duration, Instant};

use tracing::info;

use super::{Core, Effect, End, Limit, Terms};
use crate::router::State;

/// How long a core that ends waits for what is in flight, where something is not finished in any case.
const FINISH_THE_REST: Duration = Duration::from_secs(3);

impl<R> Core<R> {
    /// There is a new version of the plugin. Events go to it as soon as the calls of
    /// the old one are answered.
    pub fn on_version(&mut self, terms: Terms) {
        self.next_terms = Some(terms);
        self.try_swap();
    }

    /// From here on events go to the new version, which may fail as often as any. Those that
    /// the old one failed on go to it at once; they do not count against it.
    pub(super) fn try_swap(&mut self) {
        if self.calls > 0 {
            return;
        }
        let Some(terms) = self.next_terms.take() else { return };
        self.ready.extend(self.retries.take_all());
        self.failures.start_anew();
        let waiting = self.ready.iter_mut().chain(&mut self.arrived).chain(self.turns.iter_mut());
        waiting.for_each(|job| job.attempt = 1);
        if self.breaker.start_anew() {
            self.recovered();
        }
        let old = std::mem::replace(&mut self.terms, terms).author.version;
        self.effects.push_back(Effect::Swap { old });
    }

    /// The breaker, half-open, has closed.
    pub(super) fn recovered(&mut self) {
        info!(plugin = self.terms.author.plugin, "plugin resumed; it works off its backlog");
        self.stats.set_state(State::Running, None);
    }

    /// There will be no more deliveries.
    pub fn on_exhausted(&mut self) {
        self.exhausted = true;
    }

    /// Nothing more is taken, whatever else it ends for; what is in flight is finished, as long as
    /// the limit says.
    pub fn on_stop(&mut self, now: Instant) {
        if !self.is_stopping() {
            self.set_end(End::Stopped, now);
        }
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.end == Some(End::Stopped)
    }

    /// More came than may wait, or than is worked off in time: the next session begins with so many
    /// deliveries.
    pub fn on_overfull(&mut self, fitting: usize, now: Instant) {
        if self.end.is_none() {
            self.set_end(End::Overfull { fitting }, now);
        }
    }

    /// The breaker has opened: that is why it ends, whatever else it would end for, unless it is
    /// told to stop.
    pub(super) fn suspend(&mut self, now: Instant) {
        if !self.is_stopping() {
            self.set_end(End::Suspended, now);
        }
    }

    /// One that ends already takes no longer for another reason.
    pub(super) fn set_end(&mut self, end: End, now: Instant) {
        self.end = Some(end);
        let finish = match end {
            End::Stopped => self.limit.finish,
            End::Overdue { .. } => FINISH_THE_REST,
            End::Suspended | End::Overfull { .. } => Limit::FINISH,
        };
        let by = now + finish;
        self.end_by = Some(self.end_by.map_or(by, |before| before.min(by)));
        self.give_up_resends(now);
    }

    /// Whether it is told to end, and why.
    pub fn ending(&self) -> Option<End> {
        self.end
    }

    /// How it ended, once nothing is in flight that is to be finished. What is
    /// unsettled then is redelivered.
    pub fn ended(&self) -> Option<End> {
        let exhausted = self.exhausted && self.in_flight.deliveries == 0;
        let end = self.end.or(exhausted.then_some(End::Stopped));
        end.filter(|_| self.effects.is_empty() && (self.is_done() || self.is_late))
    }

    /// Whether it ended, though not all was finished, since that would have taken too long.
    pub fn is_cut_off(&self) -> bool {
        self.is_late && !self.is_done()
    }

    fn is_done(&self) -> bool {
        self.deliveries.all_done() && self.calls == 0 && self.next_terms.is_none()
    }
}
