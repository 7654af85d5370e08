//! Counts and durations, as metrics show them. Written by whoever does the work, without
//! locks; read by whoever tells of it.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a count is told apart by: a few values, fixed when the program is built.
pub trait Label: Copy + 'static {
    /// Every value, in the order of their indexes.
    const ALL: &'static [Self];

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;

    /// As it is written.
    fn as_str(self) -> &'static str;
}

/// Defines an enum that is a [`Label`].
macro_rules! label {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$meaning:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$meaning])* $value,)+
        }

        impl $crate::measure::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}
pub(crate) use label;

/// A count for each value of a label.
#[derive(Debug)]
pub struct Counts<L> {
    counts: Box<[AtomicU64]>,
    label: PhantomData<L>,
}

impl<L: Label> Default for Counts<L> {
    fn default() -> Self {
        Self { counts: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(), label: PhantomData }
    }
}

impl<L: Label> Counts<L> {
    /// One more of these.
    pub fn add(&self, label: L) {
        self.add_many(label, 1);
    }

    /// So many more of these.
    pub fn add_many(&self, label: L, count: u64) {
        self.counts[label.index()].fetch_add(count, Relaxed);
    }

    /// Every label with its count.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        L::ALL.iter().map(|label| (label.as_str(), self.counts[label.index()].load(Relaxed)))
    }
}

/// How long something took, as a histogram.
#[derive(Debug)]
pub struct Durations {
    /// The upper bounds of the buckets, in seconds.
    bounds: &'static [f64],
    /// How many were in each bucket, and in none.
    counts: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
}

/// From a plugin's call, which takes microseconds, to its time limit.
pub const SHORT: &[f64] =
    &[0.00001, 0.000025, 0.0001, 0.00025, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];
/// From a confirm, which takes a millisecond, to what takes minutes.
pub const LONG: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// [`Durations`] at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The upper bound of each bucket in seconds, the last being infinite, and how many were
    /// in it and in no smaller one.
    pub buckets: Vec<(f64, u64)>,
    /// All of them together, in seconds.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

impl Distribution {
    /// What came after an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        let buckets = buckets.map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then)));
        Self {
            buckets: buckets.collect(),
            sum: self.sum - earlier.sum,
            count: self.count.saturating_sub(earlier.count),
        }
    }

    /// What such a part of them, from 0 to 1, took at most, in seconds; guessed within a bucket.
    /// None if there were none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = part * self.count as f64;
        let (mut seen, mut low) = (0.0, 0.0);
        for (bound, count) in self.buckets.iter().filter(|_| self.count > 0) {
            let within = *count as f64;
            if within > 0.0 && seen + within >= wanted {
                // The last bucket has no end.
                let width = if bound.is_finite() { bound - low } else { 0.0 };
                return Some(low + width * ((wanted - seen) / within).clamp(0.0, 1.0));
            }
            (seen, low) = (seen + within, *bound);
        }
        None
    }
}

impl Durations {
    /// With buckets up to each of the bounds, which rise, in seconds.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanoseconds: AtomicU64::new(0) }
    }

    /// It took so long.
    pub fn add(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.iter().take_while(|bound| **bound < seconds).count();
        self.counts[bucket].fetch_add(1, Relaxed);
        // Enough for 500 years.
        self.nanoseconds.fetch_add(duration.as_nanos() as u64, Relaxed);
    }

    /// All of it now.
    pub fn read(&self) -> Distribution {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        Distribution {
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
            sum: self.nanoseconds.load(Relaxed) as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    label! {
        /// Two.
        pub enum Side {
            /// One.
            Left = "left",
            /// The other.
            Right = "right",
        }
    }

    #[test]
    fn each_label_has_its_count() {
        let counts = Counts::default();
        counts.add(Side::Right);
        counts.add_many(Side::Right, 2);
        assert_eq!(counts.read().collect::<Vec<_>>(), [("left", 0), ("right", 3)]);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let durations = Durations::new(&[0.5, 1.0]);
        for seconds in [0.25, 0.5, 0.75, 60.0] {
            durations.add(Duration::from_secs_f64(seconds));
        }
        let Distribution { buckets, sum, count } = durations.read();
        assert_eq!(buckets, [(0.5, 2), (1.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((sum, count), (61.5, 4));
    }

    #[test]
    fn a_quantile_is_guessed_within_its_bucket() {
        let durations = Durations::new(&[0.5, 1.0]);
        assert_eq!(durations.read().quantile(0.5), None);
        durations.add(Duration::from_secs(60));
        let before = durations.read();
        for seconds in [0.25, 0.5, 0.75, 1.0] {
            durations.add(Duration::from_secs_f64(seconds));
        }
        let lately = durations.read().since(&before);
        assert_eq!((lately.count, lately.quantile(0.5)), (4, Some(0.5)));
        assert_eq!(lately.quantile(0.75), Some(0.75));
        assert_eq!(durations.read().quantile(1.0), Some(1.0));
    }
}
