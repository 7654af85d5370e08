//! How a core ends, and how it goes over to another version of its plugin.

use super::{Core, Effect, End, Terms};

impl<R> Core<R> {
    /// There is a new version of the plugin. Events go to it as soon as the calls of
    /// the old one are answered.
    pub fn on_version(&mut self, terms: Terms) {
        self.next_terms = Some(terms);
        self.try_swap();
    }

    /// From here on events go to the new version. Those that the old one failed on go
    /// to it at once.
    pub(super) fn try_swap(&mut self) {
        if self.calls > 0 {
            return;
        }
        let Some(terms) = self.next_terms.take() else { return };
        self.ready.extend(self.retries.take_all());
        if self.breaker.close() {
            self.set_end(End::Recovered);
        }
        let old = std::mem::replace(&mut self.terms, terms).author.version;
        self.effects.push_back(Effect::Swap { old });
    }

    /// There will be no more deliveries.
    pub fn on_exhausted(&mut self) {
        self.exhausted = true;
        self.end_if_exhausted();
    }

    pub(super) fn end_if_exhausted(&mut self) {
        if self.exhausted && self.in_flight.deliveries == 0 && self.end.is_none() {
            self.set_end(End::Stopped);
        }
    }

    /// Nothing more is taken; what is in flight is finished.
    pub fn on_stop(&mut self) {
        if self.end.is_none() {
            self.set_end(End::Stopped);
        }
    }

    pub(super) fn set_end(&mut self, end: End) {
        self.end = Some(end);
        self.give_up_resends();
    }

    /// Whether it is told to end, and why.
    pub fn ending(&self) -> Option<End> {
        self.end
    }

    /// How it ended, once nothing is in flight that is to be finished. What is
    /// unsettled then is redelivered.
    pub fn ended(&self) -> Option<End> {
        let finished = self.unsettled.is_empty() && self.calls == 0 && self.effects.is_empty();
        self.end.filter(|_| finished && self.next_terms.is_none())
    }
}
