//! How far this machine's clock is from that of a database that routers share.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::event::Datetime;

/// A question for the time: when it was asked, what was answered, and when that came.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// By this machine's clock.
    pub asked: Datetime,
    /// By the other's.
    pub answered: Datetime,
    /// By this machine's clock.
    pub received: Datetime,
}

impl Comparison {
    /// How many microseconds the other clock is ahead of this one at the least; below zero,
    /// how many it is behind. Zero if an answer that took its time explains the difference.
    pub fn ahead(&self) -> i64 {
        let answered = self.answered.unix_micros();
        let least = answered.saturating_sub(self.received.unix_micros());
        let most = answered.saturating_sub(self.asked.unix_micros());
        // Both ends have the same sign, unless zero lies between them.
        if least > 0 { least } else { most.min(0) }
    }
}

/// The last comparison, which is added to the times that go to the store and taken from
/// those that come from it. Zero where none was made.
#[derive(Debug, Default)]
pub struct Offset(AtomicI64);

impl Offset {
    /// Takes what was found.
    pub fn set(&self, ahead: i64) {
        self.0.store(ahead, Ordering::Relaxed);
    }

    /// How far the store's clock is from this one, either way.
    pub fn distance(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed).unsigned_abs())
    }

    /// A time of this machine's clock as the store's shows it.
    pub fn to_store(&self, time: Datetime) -> Datetime {
        let ahead = self.0.load(Ordering::Relaxed);
        if ahead == 0 { time } else { shifted(time, ahead) }
    }

    /// A time of the store's clock as this machine's shows it.
    pub fn to_local(&self, time: Datetime) -> Datetime {
        let ahead = self.0.load(Ordering::Relaxed);
        if ahead == 0 { time } else { shifted(time, ahead.saturating_neg()) }
    }
}

fn shifted(time: Datetime, micros: i64) -> Datetime {
    Datetime::from_unix_micros(time.unix_micros().saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(asked: i64, answered: i64, received: i64) -> i64 {
        let [asked, answered, received] =
            [asked, answered, received].map(Datetime::from_unix_micros);
        Comparison { asked, answered, received }.ahead()
    }

    #[test]
    fn a_slow_answer_is_no_difference() {
        assert_eq!(ahead(100, 150, 200), 0);
        assert_eq!(ahead(100, 100, 100), 0);
    }

    #[test]
    fn what_is_certain_of_a_difference_counts() {
        assert_eq!(ahead(100, 700, 200), 500, "the other clock is ahead");
        assert_eq!(ahead(1000, 300, 1100), -700, "the other clock is behind");
    }

    #[test]
    fn times_are_translated_there_and_back() {
        let (offset, time) = (Offset::default(), Datetime::from_unix_micros(1_000_000));
        assert_eq!(offset.to_store(time), time);
        offset.set(-250);
        assert_eq!(offset.to_store(time), Datetime::from_unix_micros(999_750));
        assert_eq!(offset.to_local(offset.to_store(time)), time);
        assert_eq!(offset.distance(), Duration::from_micros(250));
    }
}
