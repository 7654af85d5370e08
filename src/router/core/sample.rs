//! A core to try rules with.

use super::{Core, Intake, Limit, Record, Terms};
use crate::backoff::Jitter;
use crate::router::planned::Author;

/// The terms of a plugin that may publish to `routed`.
pub fn terms() -> Terms {
    let author = Author {
        plugin: "p".into(),
        version: "v1".into(),
        granted: vec!["routed".into()],
        output_exchange: "routed".into(),
    };
    let subscriptions = vec!["#".into()];
    Terms { author, subscriptions, attempts: 3, suspend_after: 20, parallel: false }
}

/// A core with these terms, of which no pause differs from another.
pub fn core<R>(terms: Terms, record: Record) -> Core<R> {
    let intake = Intake { naive_zone: chrono_tz::UTC, max_hops: 10 };
    let limit =
        Limit { deliveries: 100, bytes: usize::MAX, hold: Limit::HOLD, finish: Limit::FINISH };
    Core::new(terms, intake, limit, record, Default::default(), Jitter::none())
}
