//! The circuit breaker of a plugin: it stops one that fails on event after event,
//! and lets it try again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::stats::SHOWN;
use crate::backoff::{Backoff, Jitter, Policy};
use crate::event::shortened;

/// The pauses before a suspended plugin is tried again.
const SUSPENSIONS: Policy = Policy::new(Duration::from_secs(5), Duration::from_secs(300))
    .reset_after(Duration::from_secs(30));
/// The pauses before an event is retried.
const RETRIES: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(60));
/// The same while the breaker is half-open.
const HALF_OPEN_RETRIES: Policy = Policy::new(Duration::from_secs(5), Duration::from_secs(300));

/// Events that the plugin gets while the breaker is half-open: more than one, so that a
/// single bad event cannot keep it suspended.
pub const TRIAL: usize = 4;

/// Whether a plugin gets events.
///
/// Closed, it gets all. When it fails on the events of many uuids in a row, or when an
/// exchange refuses as many messages of it in a row, the breaker opens: the plugin is
/// suspended and gets none. After a pause the breaker is half-open: the plugin gets a few,
/// and the first one that it routes, or the first message that this exchange takes, closes
/// the breaker; so do as many events that are settled without another refusal.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    /// By exchange, the messages that it refused since the last one that it took. The plugin's
    /// grants bound how many exchanges there are. What one takes says nothing of another: a
    /// plugin may publish each event to both.
    refused: BTreeMap<String, usize>,
    pauses: Backoff,
    can_open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Closed {
        /// The uuids whose events failed since the last event that did not.
        failing: HashSet<Uuid>,
    },
    Open(Blame),
    HalfOpen {
        blame: Blame,
        /// Events that were settled since.
        settled: usize,
    },
}

/// Why the breaker opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blame {
    cause: Cause,
    /// What was said of the failure that opened it.
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// The plugin fails.
    Plugin,
    /// This exchange refuses what it publishes.
    Exchange(String),
}

impl Breaker {
    /// A closed breaker.
    pub fn new() -> Self {
        Self::closed(true)
    }

    /// One that stays closed, for events that no queue would keep meanwhile.
    pub fn never_opens() -> Self {
        Self::closed(false)
    }

    fn closed(can_open: bool) -> Self {
        let (state, refused) = (State::closed(), BTreeMap::new());
        Self { state, refused, pauses: Backoff::new(SUSPENSIONS), can_open }
    }

    /// Whether the plugin gets a few events to show that it works again.
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::HalfOpen { .. })
    }

    /// Whether the plugin gets events without restriction.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether the plugin gets no events until the pause is over.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Why it is open or half-open; none if it is closed.
    pub fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Closed { .. } => None,
            State::Open(blame) | State::HalfOpen { blame, .. } => Some(&blame.reason),
        }
    }

    /// A session begins: the plugin's failures in the one before it do not count. What an exchange
    /// refused does: it has to take a message first.
    pub fn on_session(&mut self) {
        if self.is_closed() {
            self.state = State::closed();
        }
    }

    /// The plugin did its work, whatever it thinks of the event. Returns whether that
    /// closed the breaker.
    pub fn on_success(&mut self) -> bool {
        match &mut self.state {
            State::Closed { failing } => {
                failing.clear();
                false
            }
            State::HalfOpen { blame: Blame { cause: Cause::Plugin, .. }, .. } => self.close(),
            State::Open(_) | State::HalfOpen { .. } => false,
        }
    }

    /// The plugin failed on an event about `uuid`, for this reason. Returns whether that opened the
    /// breaker: if so many different uuids failed in a row, that is no fault of the
    /// events.
    pub fn on_failure(&mut self, uuid: Uuid, threshold: usize, reason: &str) -> bool {
        let State::Closed { failing } = &mut self.state else { return false };
        failing.insert(uuid);
        let many = failing.len() >= threshold;
        self.open_if(many, Cause::Plugin, reason)
    }

    /// The exchange took a message. Returns whether that closed the breaker.
    pub fn on_confirmed(&mut self, exchange: &str) -> bool {
        self.refused.remove(exchange);
        match self.refusing() {
            Some(refusing) if refusing == exchange => self.close(),
            _ => false,
        }
    }

    /// An event is settled. Returns whether that closed the breaker: a plugin need not publish to the
    /// exchange that refused its messages. When it does, one more refusal opens the breaker again.
    pub fn on_settled(&mut self) -> bool {
        match &mut self.state {
            State::HalfOpen { blame: Blame { cause: Cause::Exchange(_), .. }, settled } => {
                *settled += 1;
                *settled >= TRIAL && self.close()
            }
            State::Closed { .. } | State::Open(_) | State::HalfOpen { .. } => false,
        }
    }

    /// The exchange refused a message, for this reason. Returns whether that opened the breaker: if it
    /// refuses so many in a row, that is no fault of the messages. One that has refused so
    /// many before has to take one first: until then, one more is enough.
    pub fn on_refused(&mut self, exchange: &str, threshold: usize, reason: &str) -> bool {
        if !self.is_closed() && self.refusing().is_none() {
            return false;
        }
        let refused = self.refused.entry(exchange.to_owned()).or_default();
        *refused = refused.saturating_add(1);
        let many = *refused >= threshold;
        self.open_if(many, Cause::Exchange(exchange.to_owned()), reason)
    }

    /// The exchange that has to take a message, while the breaker is half-open because of it.
    fn refusing(&self) -> Option<&str> {
        match &self.state {
            State::HalfOpen { blame: Blame { cause: Cause::Exchange(exchange), .. }, .. } => {
                Some(exchange)
            }
            State::Closed { .. } | State::Open(_) | State::HalfOpen { .. } => None,
        }
    }

    fn open_if(&mut self, many: bool, cause: Cause, reason: &str) -> bool {
        let opens = self.can_open && many;
        if opens {
            self.state = State::Open(Blame { cause, reason: shortened(reason, SHOWN) });
        }
        opens
    }

    /// The pauses before an event that failed is retried.
    pub fn retries(&self) -> Policy {
        if self.is_half_open() { HALF_OPEN_RETRIES } else { RETRIES }
    }

    /// How long the breaker stays open from now on.
    pub fn next_pause(&mut self, jitter: &mut Jitter) -> Duration {
        self.pauses.next_pause_with(jitter)
    }

    /// The plugin consumed for so long: after long enough the pauses start anew.
    pub fn worked_for(&mut self, time: Duration) {
        self.pauses.worked_for(time);
    }

    /// The pause is over.
    pub fn half_open(&mut self) {
        if let State::Open(blame) = &self.state {
            self.state = State::HalfOpen { blame: blame.clone(), settled: 0 };
        }
    }

    /// It works again: a success, a new version, or a person who says so. Returns whether
    /// the breaker was open or half-open.
    pub fn close(&mut self) -> bool {
        let was_closed = self.is_closed();
        self.state = State::closed();
        !was_closed
    }

    /// A new version, or a person: what was before does not count.
    pub fn start_anew(&mut self) -> bool {
        self.pauses.reset();
        self.refused.clear();
        self.close()
    }
}

impl State {
    fn closed() -> Self {
        Self::Closed { failing: HashSet::new() }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn closes_for_a_plugin_that_publishes_to_the_exchange_no_more() {
        let mut breaker = Breaker::new();
        assert!(breaker.on_refused("x", 1, "403"));
        assert!(!breaker.on_settled(), "what was in flight");
        breaker.half_open();
        for _ in 1..TRIAL {
            assert!(!breaker.on_settled());
        }
        assert!(breaker.on_settled());
        assert!(breaker.on_refused("x", 2, "403"), "one refusal is enough after so many");
        breaker.half_open();
        for _ in 1..TRIAL {
            assert!(!breaker.on_settled(), "it counts from the beginning");
        }
    }

    #[test]
    fn opens_after_many_uuids_in_a_row_and_closes_by_a_success() {
        let mut breaker = Breaker::new();
        assert!(!breaker.on_failure(uuid(1), 2, "trap"));
        assert!(!breaker.on_failure(uuid(1), 2, "trap"), "one uuid alone does not count twice");
        assert!(!breaker.on_success());
        assert!(
            !breaker.on_failure(uuid(2), 2, "trap"),
            "a success in between starts the count anew"
        );
        assert!(breaker.on_failure(uuid(3), 2, "trap"));
        assert!(!breaker.is_closed() && !breaker.is_half_open());
        assert!(!breaker.on_success(), "an answer that was in flight");
        breaker.half_open();
        assert!(breaker.is_half_open() && !breaker.on_failure(uuid(4), 1, "trap"));
        assert!(breaker.on_success() && breaker.is_closed());
    }

    #[test]
    fn opens_when_an_exchange_refuses_and_closes_when_it_takes_a_message() {
        let mut breaker = Breaker::new();
        assert!(!breaker.on_refused("x", 2, "403"));
        assert!(!breaker.on_confirmed("x"));
        assert!(!breaker.on_refused("x", 2, "403") && breaker.on_refused("x", 2, "403"));
        breaker.half_open();
        assert!(!breaker.on_success(), "the plugin was never at fault");
        assert!(
            breaker.on_refused("x", 2, "403"),
            "one message is enough to see that it is as it was"
        );
        breaker.half_open();
        assert!(breaker.on_confirmed("x") && breaker.is_closed());
    }

    #[test]
    fn what_one_exchange_takes_says_nothing_of_another() {
        let mut breaker = Breaker::new();
        assert!(!breaker.on_refused("bad", 3, "403") && !breaker.on_confirmed("good"));
        assert!(!breaker.on_refused("bad", 3, "403") && !breaker.on_confirmed("good"));
        assert!(!breaker.on_refused("other", 3, "403"), "each for itself");
        assert!(breaker.on_refused("bad", 3, "403"));
        breaker.half_open();
        assert!(!breaker.on_confirmed("good") && breaker.is_half_open());
        assert!(!breaker.on_refused("other", 3, "403"), "it has not refused many");
        assert!(breaker.on_refused("other", 3, "403"), "those before count, too");
        breaker.half_open();
        assert!(breaker.on_confirmed("other") && breaker.is_closed());
        assert!(breaker.on_refused("bad", 3, "403"), "it has not taken one yet");
        assert!(breaker.start_anew() && !breaker.on_refused("bad", 3, "403"));
    }

    #[test]
    fn one_that_never_opens() {
        let mut breaker = Breaker::never_opens();
        assert!((0..100).all(|number| !breaker.on_failure(uuid(number), 20, "trap")));
        assert!(breaker.is_closed());
    }

    #[test]
    fn retries_wait_from_half_a_second_to_a_minute() {
        let (mut breaker, mut jitter) = (Breaker::new(), Jitter::random());
        let mut holds = |breaker: &Breaker, steps: &[(u32, u64)]| {
            for &(attempt, millis) in steps {
                let step = Duration::from_millis(millis);
                assert_eq!(breaker.retries().step(attempt), step, "attempt {attempt}");
                let pause = breaker.retries().pause(attempt, &mut jitter);
                assert!(pause >= step / 2 && pause <= step, "{pause:?} of {step:?}");
            }
        };
        holds(&breaker, &[(1, 500), (2, 1000), (3, 2000), (7, 32_000), (8, 60_000), (99, 60_000)]);
        breaker.on_failure(uuid(1), 1, "trap");
        breaker.half_open();
        holds(&breaker, &[(1, 5000), (2, 10_000), (6, 160_000), (7, 300_000), (99, 300_000)]);
    }

    #[test]
    fn a_new_version_closes_it() {
        let mut breaker = Breaker::new();
        assert!(!breaker.close());
        breaker.on_failure(uuid(1), 1, "trap");
        assert!(breaker.close() && breaker.is_closed());
    }

    #[test]
    fn what_an_exchange_refused_counts_in_the_next_session_and_a_plugins_failures_do_not() {
        let mut breaker = Breaker::new();
        assert!(!breaker.on_refused("x", 2, "403") && !breaker.on_failure(uuid(1), 2, "trap"));
        breaker.on_session();
        assert!(!breaker.on_failure(uuid(2), 2, "trap"));
        assert_eq!(breaker.reason(), None);
        assert!(breaker.on_refused("x", 2, "404") && breaker.is_open());
        breaker.half_open();
        assert_eq!(breaker.reason(), Some("404"), "as long as it is on trial");
        assert!(breaker.on_confirmed("x"));
        assert_eq!(breaker.reason(), None);
    }
}
