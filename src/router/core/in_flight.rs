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
}

impl Limit {
    /// How long a delivery is held of a queue. RabbitMQ closes a channel that holds one for
    /// more than 30 minutes (its `consumer_timeout`), with all that is on it; operators may
    /// have set less.
    pub const HOLD: Duration = Duration::from_secs(600);
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
