//! Pauses between attempts: growing, bounded, jittered.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How the pauses between attempts grow. Each step is twice the one before it, from
/// `first` to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    first: Duration,
    longest: Duration,
    stable: Duration,
}

impl Policy {
    /// Steps from `first` to `longest`.
    ///
    /// # Panics
    /// If `first` is zero, since attempts would follow each other at full speed, or
    /// longer than `longest`. In a constant that is a compile error.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        assert!(!first.is_zero() && first.as_nanos() <= longest.as_nanos());
        Self { first, longest, stable: Duration::MAX }
    }

    /// What works for at least `stable` starts from the first step when it next fails.
    pub const fn reset_after(self, stable: Duration) -> Self {
        Self { stable, ..self }
    }

    /// The longest pause after so many failures in a row: 1 is the first.
    pub fn step(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The pause after so many failures in a row: the step, or what `jitter` makes of it.
    pub fn pause(&self, failures: u32, jitter: &mut Jitter) -> Duration {
        jitter.apply(self.step(failures))
    }
}

/// What makes pauses differ, so that many that failed together do not return together.
#[derive(Debug)]
pub struct Jitter(Option<SmallRng>);

impl Jitter {
    /// Each pause is a random part of its step, half of it at least.
    #[expect(clippy::disallowed_methods, reason = "the place that others ask, or take a seed")]
    pub fn random() -> Self {
        Self(Some(SmallRng::from_rng(&mut rand::rng())))
    }

    /// The same, with a seed that repeats it.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(SmallRng::seed_from_u64(seed)))
    }

    /// Each pause is its step.
    pub const fn none() -> Self {
        Self(None)
    }

    fn apply(&mut self, step: Duration) -> Duration {
        match &mut self.0 {
            Some(rng) => step.mul_f64(rng.random_range(0.5..=1.0)),
            None => step,
        }
    }
}

/// The pauses of one thing that is tried again and again.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, failures: 0 }
    }

    /// It failed: how long to wait before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        self.next_pause_with(&mut Jitter::random())
    }

    /// The same with this jitter.
    pub fn next_pause_with(&mut self, jitter: &mut Jitter) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.policy.pause(self.failures, jitter)
    }

    /// It worked: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// It worked for `time` before it failed: [`Backoff::reset`] if that was long
    /// enough for the policy.
    pub fn worked_for(&mut self, time: Duration) {
        if time >= self.policy.stable {
            self.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(1))
        .reset_after(Duration::from_secs(30));

    #[test]
    fn grows_to_its_bound_and_starts_again() {
        let mut backoff = Backoff::new(POLICY);
        let expect = |backoff: &mut Backoff, step| {
            let (pause, step) = (backoff.next_pause(), Duration::from_millis(step));
            assert!(pause >= step / 2 && pause <= step, "{pause:?} of {step:?}");
        };
        for step in [100, 200, 400, 800, 1000, 1000] {
            expect(&mut backoff, step);
        }
        backoff.worked_for(Duration::from_secs(29));
        expect(&mut backoff, 1000);
        backoff.worked_for(Duration::from_secs(30));
        expect(&mut backoff, 100);
        backoff.reset();
        expect(&mut backoff, 100);
    }

    #[test]
    fn any_number_of_failures_has_a_step() {
        assert_eq!(POLICY.step(0), Duration::from_millis(100));
        assert_eq!(POLICY.step(1), Duration::from_millis(100));
        assert_eq!(POLICY.step(u32::MAX), Duration::from_secs(1));
        assert_eq!(POLICY.pause(2, &mut Jitter::none()), Duration::from_millis(200));
    }

    #[test]
    fn a_seed_repeats_the_jitter() {
        let pauses = || {
            let mut jitter = Jitter::seeded(7);
            [1, 2, 3].map(|failures| POLICY.pause(failures, &mut jitter))
        };
        assert_eq!(pauses(), pauses());
    }
}
