//! A guest's time: its two clocks, and what happens when it sleeps.
//!
//! On the machine's clock a guest sees the time pass, and sleeping waits. A virtual clock
//! stands still while a guest is called, so that the same events give the same answers; so
//! there, within a call, time passes when the guest sleeps: nothing waits, and both clocks
//! show the time at which it wakes. A guest that waits by reading a clock over and over sees
//! it advance as well, after [`STILL_READINGS`]. Either way sleeping counts towards the time
//! limit of the call.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::yield_now;
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, async_trait};

use crate::clock::Clock;
use crate::event::Datetime;

/// The first reading of the monotonic clock. Go's runtime takes zero for a broken
/// clock, and a virtual clock can stand still.
const MONOTONIC_START: Duration = Duration::from_secs(1);

/// How many times a guest can read a virtual clock in one call before it advances: more than
/// a language's runtime does by itself, so that what a plugin reads is the time of the event.
const STILL_READINGS: u32 = 1000;

/// By how much it advances with each reading after that.
const STEP: Duration = Duration::from_micros(1);

/// The time of one guest. Clones show the same.
#[derive(Clone)]
pub(super) struct GuestTime {
    clock: Clock,
    started: Datetime,
    /// The highest reading of the monotonic clock so far, in nanoseconds. It must never go
    /// back, but the time of day may.
    highest: Arc<AtomicU64>,
    /// What passes within calls, if the clock stands still during them.
    pub(super) within: Option<Within>,
}

/// The time that passes within calls on a virtual clock.
#[derive(Clone)]
pub(super) struct Within {
    passed: Arc<Mutex<Passed>>,
    /// How long a call may take.
    limit: Duration,
}

#[derive(Default)]
struct Passed {
    /// In the calls before this one.
    before: Duration,
    /// In this call.
    now: Duration,
    /// How often the clocks have been read in this call.
    readings: u32,
    /// When those wake that sleep now, by the monotonic clock, and what tells them apart.
    sleepers: BTreeSet<(u64, u64)>,
    next_sleeper: u64,
}

impl GuestTime {
    /// The time of a guest that starts now, and whose calls may take so long.
    pub(super) fn new(clock: &Clock, limit: Duration) -> Self {
        let within = clock.is_virtual().then(|| Within { passed: Arc::default(), limit });
        Self { clock: clock.clone(), started: clock.now(), highest: Arc::default(), within }
    }

    /// A call begins.
    pub(super) fn begin_call(&self) {
        if let Some(within) = &self.within {
            let mut passed = within.lock();
            let now = std::mem::take(&mut passed.now);
            passed.before += now;
            passed.readings = 0;
        }
    }

    /// The monotonic clock, in nanoseconds, when so much has passed within calls.
    fn monotonic(&self, passed: Duration) -> u64 {
        let outside = self.clock.now().saturating_since(self.started);
        let elapsed = nanoseconds(MONOTONIC_START.saturating_add(outside).saturating_add(passed));
        self.highest.fetch_max(elapsed, Ordering::Relaxed).max(elapsed)
    }
}

impl HostWallClock for GuestTime {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        let now = self.clock.now();
        let now = match &self.within {
            None => now,
            Some(within) => now.saturating_add(within.lock().read().now),
        };
        // WASI's wall clock cannot show times before 1970.
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        Duration::new(seconds, now.nanoseconds())
    }
}

impl HostMonotonicClock for GuestTime {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        match &self.within {
            None => self.monotonic(Duration::ZERO),
            Some(within) => {
                let passed = within.lock().read().total();
                self.monotonic(passed)
            }
        }
    }
}

impl Within {
    fn lock(&self) -> MutexGuard<'_, Passed> {
        // No holder leaves anything half done.
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    /// The guest reads a clock.
    fn read(&mut self) -> &Self {
        self.readings = self.readings.saturating_add(1);
        if self.readings > STILL_READINGS {
            self.now += STEP;
        }
        self
    }

    fn total(&self) -> Duration {
        self.before.saturating_add(self.now)
    }
}

/// Something that is ready when a guest has slept for long enough, on a virtual clock.
pub(super) struct Sleep {
    pub(super) time: GuestTime,
    pub(super) within: Within,
    /// By the monotonic clock, in nanoseconds.
    pub(super) until: u64,
}

/// One that sleeps now, until it is dropped.
struct Sleeper<'a> {
    within: &'a Within,
    entry: (u64, u64),
}

impl Sleep {
    fn is_over(&self) -> bool {
        HostMonotonicClock::now(&self.time) >= self.until
    }

    /// Whether it ends before the call's time is up.
    fn ends_in_time(&self) -> bool {
        let passed = self.within.lock().now;
        let left = self.within.limit.saturating_sub(passed);
        let now = HostMonotonicClock::now(&self.time);
        self.until.saturating_sub(now) < nanoseconds(left)
    }

    fn sleeper(&self) -> Sleeper<'_> {
        let mut passed = self.within.lock();
        let entry = (self.until, passed.next_sleeper);
        passed.next_sleeper += 1;
        passed.sleepers.insert(entry);
        Sleeper { within: &self.within, entry }
    }

    /// Lets the time pass until this wakes, unless another one wakes before.
    fn wake(&self) {
        let mut passed = self.within.lock();
        if passed.sleepers.first().is_some_and(|(first, _)| *first == self.until) {
            let now = self.time.monotonic(passed.total());
            passed.now += Duration::from_nanos(self.until.saturating_sub(now));
        }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.within.lock().sleepers.remove(&self.entry);
    }
}

#[async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        if self.is_over() {
            return;
        }
        if !self.ends_in_time() {
            // The time limit ends the call.
            return std::future::pending().await;
        }
        let _sleeper = self.sleeper();
        while !self.is_over() {
            // What else the guest waits for begins to sleep meanwhile, or is ready.
            yield_now().await;
            self.wake();
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::{join, select};

    use super::*;

    fn virtual_time() -> GuestTime {
        let clock = Clock::starting_at(Datetime::from_unix_micros(1_000_000));
        GuestTime::new(&clock, Duration::from_secs(1))
    }

    fn sleep_for(time: &GuestTime, milliseconds: u64) -> Sleep {
        let until = HostMonotonicClock::now(time) + milliseconds * 1_000_000;
        let within = time.within.clone().expect("the clock is virtual");
        Sleep { time: time.clone(), within, until }
    }

    fn wall(time: &GuestTime) -> Duration {
        HostWallClock::now(time)
    }

    #[tokio::test]
    async fn sleeping_moves_both_clocks_and_waits_for_nothing() {
        let time = virtual_time();
        let (before, wall_before) = (HostMonotonicClock::now(&time), wall(&time));
        sleep_for(&time, 50).ready().await;
        assert_eq!(HostMonotonicClock::now(&time) - before, 50_000_000);
        assert_eq!(wall(&time) - wall_before, Duration::from_millis(50));
        // The next call begins at the time of its event; the monotonic clock never goes back.
        time.begin_call();
        assert_eq!(wall(&time), wall_before);
        assert_eq!(HostMonotonicClock::now(&time) - before, 50_000_000);
    }

    #[tokio::test]
    async fn who_wakes_first_wakes_alone() {
        let time = virtual_time();
        let before = HostMonotonicClock::now(&time);
        let (mut late, mut soon) = (sleep_for(&time, 20), sleep_for(&time, 5));
        drop(select(late.ready(), soon.ready()).await);
        assert_eq!(HostMonotonicClock::now(&time) - before, 5_000_000);
        join(late.ready(), soon.ready()).await;
        assert_eq!(HostMonotonicClock::now(&time) - before, 20_000_000);
    }

    #[tokio::test]
    async fn who_sleeps_beyond_the_limit_of_the_call_does_not_wake() {
        let time = virtual_time();
        sleep_for(&time, 600).ready().await;
        let mut late = sleep_for(&time, 600);
        for _ in 0..100 {
            assert!(late.ready().now_or_never().is_none());
        }
        time.begin_call();
        late.ready().await;
    }

    #[test]
    fn who_reads_the_clock_over_and_over_sees_it_move() {
        let time = virtual_time();
        let first = wall(&time);
        assert!((1..STILL_READINGS).all(|_| wall(&time) == first));
        let readings = (0..).take_while(|_| wall(&time) - first < Duration::from_millis(20));
        assert_eq!(readings.count(), 20_000 - 1);
        time.begin_call();
        assert_eq!(wall(&time), first);
    }
}
