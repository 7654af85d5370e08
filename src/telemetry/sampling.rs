//! Which events are recorded from the start. One that fails is recorded in any case.

use super::context::Parent;

/// The bits of a trace's id that are random by the W3C's rules, and that the ratio is taken of: so all
/// who sample by the same rule and ratio choose the same traces.
const RANDOM: u128 = (1 << 56) - 1;

/// Records this part of the traces that begin here, and of the others those that are recorded
/// already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Traces with random bits from here on are recorded.
    from: u128,
}

impl Sampling {
    /// Of the traces that begin here, this part is recorded, from 0 to 1.
    pub fn of(ratio: f64) -> Self {
        let left_out = (1.0 - ratio.clamp(0.0, 1.0)) * (RANDOM + 1) as f64;
        Self { from: left_out as u128 }
    }

    /// Whether a message is recorded that comes from `parent`, or begins the trace with this id.
    pub fn records(self, parent: Option<&Parent>, trace_id: u128) -> bool {
        match parent {
            Some(parent) => parent.context.sampled,
            None => trace_id & RANDOM >= self.from,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::telemetry::SpanContext;

    fn parent(sampled: bool) -> Parent {
        Parent { context: SpanContext { trace_id: 1, span_id: 1, sampled }, state: String::new() }
    }

    #[test]
    fn whoever_began_a_trace_has_decided() {
        for ratio in [0.0, 0.01, 1.0] {
            let sampling = Sampling::of(ratio);
            assert!(sampling.records(Some(&parent(true)), 0));
            assert!(!sampling.records(Some(&parent(false)), u128::MAX));
        }
    }

    #[test]
    fn none_and_all() {
        for trace_id in [1, RANDOM - 1, RANDOM, RANDOM + 1, u128::MAX] {
            assert!(!Sampling::of(0.0).records(None, trace_id));
            assert!(Sampling::of(1.0).records(None, trace_id));
            assert_eq!(Sampling::of(-1.0), Sampling::of(0.0));
            assert_eq!(Sampling::of(7.0), Sampling::of(1.0));
        }
    }

    #[test]
    fn a_ratio_is_a_ratio() {
        let mut rng = SmallRng::seed_from_u64(1);
        for ratio in [0.01, 0.25, 0.9] {
            let sampling = Sampling::of(ratio);
            let recorded = (0..20_000).filter(|_| sampling.records(None, rng.random())).count();
            let part = recorded as f64 / 20_000.0;
            assert!((part - ratio).abs() < 0.02, "{part} of {ratio}");
        }
    }

    #[test]
    fn who_records_less_records_a_part_of_the_same() {
        let mut rng = SmallRng::seed_from_u64(2);
        let (less, more) = (Sampling::of(0.1), Sampling::of(0.5));
        for trace_id in (0..1000).map(|_| rng.random()) {
            assert!(!less.records(None, trace_id) || more.records(None, trace_id));
        }
    }
}
