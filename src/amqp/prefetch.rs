//! How many deliveries a consumer may have unsettled.
//!
//! AMQP counts them, and says nothing of their size: a thousand of 15 MiB are as good to the
//! broker as a thousand of 100 bytes, and what the router does not take, its client library holds.
//! So a consumer of large messages may have fewer.
//!
//! So may a consumer for a plugin that is slow. What waits for it ages, though nobody has seen it:
//! after 30 minutes RabbitMQ takes the channel away (its `consumer_timeout`), and all that was on
//! it comes again. And large messages that wait are in the way of those for other plugins, which
//! come on the same connection.

use std::time::Duration;

/// How far back the average of the sizes looks, in deliveries.
const MEMORY: usize = 16;
/// What comes at once is to be worked off within so long, or twice that at most. Then an event may
/// be in flight for ten minutes yet.
const WORKED_OFF: Duration = Duration::from_secs(300);
/// What an average of the plugin's calls is made of: so many of them, or so much time. A single one
/// that took long is no sign.
const MANY: u32 = 1000;
const LONG: Duration = Duration::from_secs(60);
/// A plugin that keeps large messages waiting for longer than this has fewer.
const SOON: Duration = Duration::from_secs(1);
/// The part of the bytes that may be unsettled which they may take.
const PART: usize = 4;

/// See the module's documentation.
#[derive(Debug)]
pub struct Prefetch {
    most: u16,
    bytes: usize,
    now: u16,
    /// Of the sizes that were told, in bytes; the newest count most.
    average: usize,
    /// How many were told since it was last changed.
    told: usize,
    /// How long each took the plugin, on average, once that is known.
    each: Option<Duration>,
    /// What the next average will be made of.
    spent: Duration,
    calls: u32,
}

impl Prefetch {
    /// At most so many, and as many as take so many bytes.
    pub fn new(most: u16, bytes: usize) -> Self {
        Self {
            most: most.max(1),
            bytes,
            now: most.max(1),
            average: 0,
            told: 0,
            each: None,
            spent: Duration::ZERO,
            calls: 0,
        }
    }

    /// Begins with so many at most.
    pub fn beginning_with(mut self, now: usize) -> Self {
        self.now = u16::try_from(now).unwrap_or(u16::MAX).clamp(1, self.most);
        self
    }

    /// How many there may be.
    pub fn now(&self) -> u16 {
        self.now
    }

    /// How many bytes what is taken before it is wanted may have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there may be fewer than the settings say.
    pub fn is_narrow(&self) -> bool {
        self.now < self.most
    }

    /// Whether as many as there may be would be too much if all were of this size.
    pub fn is_large(&self, size: usize) -> bool {
        size.saturating_mul(self.now.into()) > self.bytes.saturating_mul(2)
    }

    /// A delivery has this size, in bytes.
    pub fn tell(&mut self, size: usize) {
        self.average = match self.average {
            0 => size,
            average => (average * (MEMORY - 1) + size) / MEMORY,
        };
        self.told += 1;
    }

    /// The plugin was busy for so long with a delivery. Says whether there is a new average.
    pub fn took(&mut self, time: Duration) -> bool {
        self.spent += time;
        self.calls += 1;
        let is_enough = self.calls >= MANY || self.spent >= LONG;
        if is_enough {
            self.each = Some(self.spent / self.calls);
            (self.spent, self.calls) = (Duration::ZERO, 0);
        }
        is_enough
    }

    /// Whether there may be at least twice as many now, since deliveries are smaller again, or the
    /// plugin is faster.
    pub fn can_grow(&self) -> bool {
        self.told >= MEMORY && self.each.is_some() && self.fitting() / 2 >= self.now
    }

    /// Whether what comes at once takes the plugin far too long.
    pub fn is_too_slow(&self) -> bool {
        self.is_at_most_half(within(WORKED_OFF, self.each))
    }

    /// Whether it is too much that so many bytes of large messages wait for the plugin.
    pub fn is_too_large(&self, waiting: usize) -> bool {
        waiting > self.bytes / PART && self.is_at_most_half(self.fitting().into())
    }

    /// It is not worth it to give deliveries back for less than that.
    fn is_at_most_half(&self, fitting: usize) -> bool {
        fitting.saturating_mul(2) <= self.now.into()
    }

    /// How long the last ones took, if that is known: soon, since large ones are in the way.
    fn lately(&self) -> Option<Duration> {
        match self.calls as usize >= MEMORY || self.spent >= SOON {
            true => Some(self.spent / self.calls.max(1)),
            false => self.each,
        }
    }

    /// Takes the number that fits.
    pub fn fit(&mut self) {
        (self.now, self.told) = (self.fitting(), 0);
    }

    /// How many of the size of the last ones take the bytes that there may be, of those for a slow
    /// plugin a part of the bytes; and no more than it works off in time.
    pub fn fitting(&self) -> u16 {
        let of_size = |bytes: usize| bytes / self.average.max(1);
        let unless_slow = of_size(self.bytes / PART).max(within(SOON, self.lately()));
        let fitting = of_size(self.bytes).min(unless_slow).min(within(WORKED_OFF, self.each));
        u16::try_from(fitting).unwrap_or(u16::MAX).clamp(1, self.most)
    }
}

/// How many deliveries are worked off in a time; any number if it is not known how long each takes.
fn within(time: Duration, each: Option<Duration>) -> usize {
    let many = |each: Duration| time.as_nanos() / each.as_nanos().max(1);
    each.map_or(usize::MAX, |each| usize::try_from(many(each)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn told(prefetch: &mut Prefetch, sizes: impl IntoIterator<Item = usize>) -> u16 {
        for size in sizes {
            prefetch.tell(size);
            prefetch.took(Duration::from_millis(1));
        }
        prefetch.fit();
        prefetch.now()
    }

    #[test]
    fn large_messages_come_a_few_at_a_time_and_small_ones_as_before() {
        let mut prefetch = Prefetch::new(1000, 64 * MIB);
        assert_eq!((prefetch.now(), prefetch.is_narrow()), (1000, false));
        assert_eq!(told(&mut prefetch, [200; 3]), 1000);
        assert!(prefetch.is_large(MIB) && !prefetch.is_large(100));
        assert_eq!(told(&mut prefetch, [16 * MIB; 100]), 4);
        assert!(prefetch.is_narrow() && !prefetch.can_grow());
        // One that is small is no sign, many are.
        prefetch.tell(200);
        assert!(!prefetch.can_grow());
        (0..200).for_each(|_| prefetch.tell(200));
        slow(&mut prefetch, Duration::from_millis(1), 1000);
        assert!(prefetch.can_grow());
        prefetch.fit();
        assert_eq!(prefetch.now(), 1000);
        assert!(!prefetch.can_grow());
    }

    /// Of one whose plugin took so long so many times.
    fn slow(prefetch: &mut Prefetch, time: Duration, calls: usize) -> bool {
        (0..calls).filter(|_| prefetch.took(time)).count() > 0
    }

    #[test]
    fn of_what_is_slow_no_more_comes_than_is_worked_off_in_time() {
        for (millis, calls, fitting) in
            [(1, 1000, 1000), (1_800, 34, 166), (20_000, 3, 15), (3_600_000, 1, 1)]
        {
            let mut prefetch = Prefetch::new(1000, 64 * MIB);
            let time = Duration::from_millis(millis);
            assert!(!slow(&mut prefetch, time, calls - 1));
            assert!(slow(&mut prefetch, time, 1), "{millis} ms");
            assert_eq!((prefetch.fitting(), prefetch.is_too_slow()), (fitting, fitting < 500));
        }
        // A single one that takes long is no sign.
        let mut prefetch = Prefetch::new(1000, 64 * MIB);
        prefetch.took(Duration::from_secs(30));
        assert!(slow(&mut prefetch, Duration::from_millis(1), 999) && !prefetch.is_too_slow());
    }

    #[test]
    fn it_grows_again_when_the_plugin_is_known_to_be_faster() {
        let mut prefetch = Prefetch::new(1000, 64 * MIB).beginning_with(166);
        (0..100).for_each(|_| prefetch.tell(200));
        assert!(!prefetch.can_grow(), "nothing is known of the plugin yet");
        slow(&mut prefetch, Duration::from_millis(1_800), 34);
        assert!(!prefetch.can_grow() && !prefetch.is_too_slow());
        // Not by a few.
        slow(&mut prefetch, Duration::from_millis(1), 100);
        assert!(!prefetch.can_grow());
        slow(&mut prefetch, Duration::from_millis(1), 1000);
        assert!(prefetch.can_grow());
        prefetch.fit();
        assert_eq!(prefetch.now(), 1000);
    }

    #[test]
    fn fewer_large_ones_wait_for_a_slow_plugin() {
        let of = |time| {
            let mut prefetch = Prefetch::new(1000, 64 * MIB);
            prefetch.tell(MIB / 10);
            slow(&mut prefetch, time, 3);
            prefetch
        };
        let prefetch = of(Duration::from_millis(500));
        assert_eq!(prefetch.fitting(), 160);
        assert!(prefetch.is_too_large(17 * MIB) && !prefetch.is_too_large(15 * MIB));
        // Begun with that, it stays.
        let mut next = Prefetch::new(1000, 64 * MIB).beginning_with(160);
        next.tell(MIB / 10);
        slow(&mut next, Duration::from_millis(500), 16);
        assert!(!next.is_too_large(64 * MIB) && !next.can_grow());
        let fast = of(Duration::from_millis(1));
        assert_eq!(fast.fitting(), 640);
        assert!(!fast.is_too_large(64 * MIB));
    }

    #[test]
    fn what_is_larger_than_all_of_it_comes_alone() {
        assert_eq!(told(&mut Prefetch::new(1000, 100), [5000]), 1);
        assert_eq!(told(&mut Prefetch::new(0, 0), [0]), 1);
        assert_eq!(told(&mut Prefetch::new(u16::MAX, usize::MAX), [1]), u16::MAX);
    }
}
