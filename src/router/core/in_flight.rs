//! What is in flight, in messages and in bytes.

use std::time::Duration;

/// How much may be in flight at a time, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Unsettled deliveries; up to four times as many while most of them wait behind others of
    /// their uuid.
    pub deliveries: usize,
    /// Bytes of unsettled deliveries and of what they caused. One delivery alone may
    /// exceed it, since it has to be routed all the same.
    pub bytes: usize,
    /// How long a delivery is held until it goes back to its queue; for ever where there is
    /// none.
    pub hold: Duration,
    /// How long what is in flight may take to be finished when the plugin is told to stop.
    pub finish: Duration,
}

impl Limit {
    /// How long a delivery is held of a queue. RabbitMQ closes a channel that holds one for
    /// more than 30 minutes (its `consumer_timeout`), with all that is on it; operators may
    /// have set less.
    pub const HOLD: Duration = Duration::from_secs(600);

    /// How long what is in flight may take to be finished where nobody asked for the end.
    pub const FINISH: Duration = Duration::from_secs(20);

    /// How many plugins may have the whole of it. More share what so many would have, so that
    /// a start with a backlog takes no more memory, and the broker's connections no longer,
    /// with a hundred plugins than with ten.
    pub const WHOLE: usize = 10;

    /// The part of one of so many plugins.
    pub fn shared_by(self, plugins: usize) -> Self {
        let part = |whole: usize| match plugins {
            0..=Self::WHOLE => whole,
            _ => (whole.saturating_mul(Self::WHOLE) / plugins).clamp(1, whole),
        };
        Self { deliveries: part(self.deliveries), bytes: part(self.bytes), ..self }
    }
}

/// What is in flight: deliveries that are not settled, with what they caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Deliveries that are not settled.
    pub deliveries: usize,
    /// Messages that were sent and whose fate is unknown.
    pub publications: usize,
    /// Bytes of the deliveries, and of what those that were answered caused.
    pub bytes: usize,
}

impl InFlight {
    /// Whether there is room for another delivery, if so many are allowed `beyond` the limit.
    pub fn is_below(&self, limit: Limit, beyond: usize) -> bool {
        self.deliveries < limit.deliveries + beyond && self.bytes < limit.bytes
    }

    pub(super) fn add_delivery(&mut self, bytes: usize) {
        self.deliveries += 1;
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_plugins_share_what_ten_would_have() {
        let whole =
            Limit { deliveries: 1000, bytes: 64 << 20, hold: Limit::HOLD, finish: Limit::FINISH };
        let part = |plugins| {
            let limit = whole.shared_by(plugins);
            (limit.deliveries, limit.bytes >> 10)
        };
        assert_eq!([part(0), part(1), part(10)], [(1000, 64 << 10); 3]);
        assert_eq!(part(11), (909, 59_578));
        assert_eq!(part(100), (100, 6553));
        assert_eq!(part(1_000_000), (1, 0), "one delivery at least");
        assert!(whole.shared_by(usize::MAX).bytes > 0);
    }
}
