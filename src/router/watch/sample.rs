//! So many decisions a second, spread over it: of a flood, one who looks is to see more than the
//! beginning of each second.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use crate::event::Datetime;

/// How many decisions a second one who looks is shown, at most.
const PER_SECOND: i64 = 50;
/// How many of them may be shown at once, after a pause.
pub const AT_ONCE: i64 = 25;

/// A second, and the time from one decision to the next, in microseconds.
const SECOND: i64 = 1_000_000;
const APART: i64 = SECOND / PER_SECOND;
/// How far ahead of time they may be.
const AHEAD: i64 = (AT_ONCE - 1) * APART;

/// When the next decision would be shown if all were as far apart, in microseconds since 1970.
#[derive(Debug)]
pub struct Sample(AtomicI64);

impl Default for Sample {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Sample {
    /// Whether one more can be shown.
    pub fn has_room(&self, at: Datetime) -> bool {
        after(self.0.load(Relaxed), at.unix_micros()).is_some()
    }

    /// Takes the room of one, if there is some.
    pub fn take(&self, at: Datetime) -> bool {
        let now = at.unix_micros();
        self.0.fetch_update(Relaxed, Relaxed, |next| after(next, now)).is_ok()
    }
}

/// What comes after `next` if one is shown now; none if it is too early for that.
fn after(next: i64, now: i64) -> Option<i64> {
    // Whoever has set a clock back does not wait until it is as late again.
    let is_set_back = next > now.saturating_add(AHEAD + SECOND);
    let next = if is_set_back { now } else { next.max(now) };
    (next - now <= AHEAD).then(|| next.saturating_add(APART))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many are shown that come this far apart, from a time on; and when the last one.
    fn shown(sample: &Sample, from: i64, count: i64, apart: i64) -> (i64, i64) {
        let times = (0..count).map(|number| from + number * apart);
        let taken = times.filter(|time| {
            let at = Datetime::from_unix_micros(*time);
            let has_room = sample.has_room(at);
            assert_eq!(sample.take(at), has_room);
            has_room
        });
        taken.fold((0, 0), |(count, _), time| (count + 1, time))
    }

    #[test]
    fn a_flood_is_sampled_all_the_time() {
        let sample = Sample::default();
        let (count, last) = shown(&sample, SECOND, 5000, 200);
        assert_eq!(count, AT_ONCE - 1 + PER_SECOND);
        assert!(last > 2 * SECOND - 2 * APART, "{last}");
        let (count, _) = shown(&sample, 2 * SECOND, 50_000, 200);
        assert!((10 * PER_SECOND..=10 * PER_SECOND + 1).contains(&count), "{count}");
    }

    #[test]
    fn so_many_come_at_once_after_a_pause() {
        let sample = Sample::default();
        for second in [0, 1, 7] {
            assert_eq!(shown(&sample, second * SECOND, 200, 0).0, AT_ONCE);
        }
        assert_eq!(shown(&Sample::default(), 0, 1000, APART).0, 1000, "slower than the limit");
    }

    #[test]
    fn a_clock_may_be_set_back() {
        let sample = Sample::default();
        shown(&sample, 3600 * SECOND, 200, 0);
        assert_eq!(shown(&sample, 0, 200, 0).0, AT_ONCE);
        assert_eq!(shown(&sample, -3600 * SECOND, 200, 0).0, AT_ONCE);
    }
}
