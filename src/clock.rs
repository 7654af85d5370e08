//! The time: the machine's, or one that a test or a replay sets.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::event::Datetime;

/// How long a jump of the wall clock (NTP, suspend, someone sets the date) may
/// go unnoticed.
const LOOK: Duration = Duration::from_secs(1);

/// What a clock shows.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day, which can jump.
    pub wall: Datetime,
    /// The time that pauses are measured in, which cannot.
    pub instant: Instant,
}

/// Tells the time and waits for it. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    /// Both times start where they are said to.
    Virtual {
        time: watch::Sender<Datetime>,
        start: Now,
    },
    /// Advances as tokio's clock does, which tests can pause.
    Tokio {
        start: Now,
    },
}

/// Waits for an instant, on tokio's timers; for ever if there is none.
pub async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands at `time` until it is set.
    #[expect(clippy::disallowed_methods, reason = "its Instant stands still too")]
    pub fn starting_at(time: Datetime) -> Self {
        let start = Now { wall: time, instant: Instant::now() };
        Self(Kind::Virtual { time: watch::Sender::new(time), start })
    }

    /// A clock that shows `time` now and advances with tokio's timers, paused or not.
    pub fn with_timers_from(time: Datetime) -> Self {
        let instant = tokio::time::Instant::now().into_std();
        Self(Kind::Tokio { start: Now { wall: time, instant } })
    }

    /// Whether it stands still until it is set.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Kind::Virtual { .. })
    }

    /// The time now.
    pub fn now(&self) -> Datetime {
        match &self.0 {
            Kind::System => Datetime::now(),
            Kind::Virtual { time, .. } => *time.borrow(),
            Kind::Tokio { start } => start.wall.saturating_add(start.instant_elapsed()),
        }
    }

    /// The time now, and what pauses are measured in.
    pub fn read(&self) -> Now {
        let wall = self.now();
        Now { wall, instant: self.instant_at(|| wall) }
    }

    /// What pauses are measured in: cheaper than both.
    pub fn instant(&self) -> Instant {
        self.instant_at(|| self.now())
    }

    fn instant_at(&self, wall: impl FnOnce() -> Datetime) -> Instant {
        match &self.0 {
            Kind::System | Kind::Tokio { .. } => tokio::time::Instant::now().into_std(),
            Kind::Virtual { start, .. } => start.instant_at(wall()),
        }
    }

    /// Sets a virtual clock, for all its clones; the machine's goes on as it is.
    pub fn set(&self, time: Datetime) {
        if let Kind::Virtual { time: clock, .. } = &self.0 {
            clock.send_replace(time);
        }
    }

    /// Returns when it is `time`, at once if that has passed.
    ///
    /// A jump of the machine's clock is noticed within a second.
    pub async fn sleep_until(&self, time: Datetime) {
        match &self.0 {
            Kind::System | Kind::Tokio { .. } => {
                while let Some(pause) = pause_until(time, self.now()) {
                    sleep(pause).await;
                }
            }
            Kind::Virtual { time: clock, .. } => {
                // The sender is our own, so the channel cannot close.
                let _ = clock.subscribe().wait_for(|now| *now >= time).await;
            }
        }
    }
}

impl Now {
    /// The instant at a time of day, if no clock jumps in between.
    fn instant_at(self, wall: Datetime) -> Instant {
        let (later, earlier) = (wall.saturating_since(self.wall), self.wall.saturating_since(wall));
        // Instants reach farther than dates do.
        self.instant
            .checked_add(later)
            .and_then(|at| at.checked_sub(earlier))
            .unwrap_or(self.instant)
    }

    /// The time of day at an instant, if no clock jumps in between.
    pub fn wall_at(self, instant: Instant) -> Datetime {
        self.wall.saturating_add(instant.saturating_duration_since(self.instant))
    }

    fn instant_elapsed(self) -> Duration {
        tokio::time::Instant::now().into_std().saturating_duration_since(self.instant)
    }
}

/// How long to sleep before the wall clock is looked at again; none when it is `time`.
/// Timers follow the monotonic clock, which no jump of the wall clock moves.
fn pause_until(time: Datetime, now: Datetime) -> Option<Duration> {
    let left = time.saturating_since(now);
    (!left.is_zero()).then(|| left.min(LOOK))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_virtual_clock_wakes_sleepers_when_it_is_set() {
        let clock = Clock::starting_at(Datetime::from_unix_micros(0));
        let mut asleep = Box::pin(clock.sleep_until(Datetime::from_unix_micros(10)));
        assert!((&mut asleep).now_or_never().is_none());
        clock.clone().set(Datetime::from_unix_micros(9));
        assert!((&mut asleep).now_or_never().is_none());
        clock.clone().set(Datetime::NO_DATE);
        assert!(asleep.now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_has_passed_is_not_waited_for() {
        let past = Datetime::from_unix_micros(-1);
        assert!(Clock::system().sleep_until(past).now_or_never().is_some());
    }

    #[test]
    fn a_jump_of_the_wall_clock_is_noticed_within_a_second() {
        let time = Datetime::from_unix_micros(3_600_000_000);
        let at = |micros| pause_until(time, Datetime::from_unix_micros(micros));
        assert_eq!(at(0), Some(LOOK), "an hour ahead, and looked at each second");
        assert_eq!(at(3_600_000_000), None, "the clock jumped there meanwhile");
        assert_eq!(at(-3_600_000_000), Some(LOOK), "the clock was set back");
        assert_eq!(at(3_599_999_000), Some(Duration::from_millis(1)));
        assert!(LOOK <= Duration::from_secs(1));
    }
}
