//! Pauses between tries: growing, bounded, jittered.

use std::time::Duration;

/// Doubles from `first` to `longest`; each pause is a random part, half at least,
/// of its step, so that many that failed together do not return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// A series that starts at `first`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// How long to wait now.
    pub fn next_pause(&mut self) -> Duration {
        let step = self.next.min(self.longest);
        self.next = step.saturating_mul(2);
        step.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// The pause before try number `attempt` (2 is the first repeat), for those
    /// who count their tries themselves.
    pub fn pause_before(attempt: u32, first: Duration, longest: Duration) -> Duration {
        Self::new(Self::step_before(attempt, first, longest), longest).next_pause()
    }

    /// The same without jitter.
    pub fn step_before(attempt: u32, first: Duration, longest: Duration) -> Duration {
        let doublings = attempt.saturating_sub(2).min(31);
        first.saturating_mul(1 << doublings).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        for step in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next_pause();
            let step = Duration::from_millis(step);
            assert!(pause >= step / 2 && pause <= step, "{pause:?} of {step:?}");
        }
        assert!(Backoff::pause_before(200, first, longest) <= longest);
        assert!(Backoff::pause_before(2, first, longest) <= first);
    }
}
