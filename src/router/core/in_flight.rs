//! What is in flight, in messages and in bytes.

/// How much may be in flight at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Unsettled deliveries.
    pub deliveries: usize,
    /// Bytes of unsettled deliveries and of what they caused. One delivery alone may
    /// exceed it, since it has to be routed all the same.
    pub bytes: usize,
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
    /// Whether there is room for another delivery.
    pub fn is_below(&self, limit: Limit) -> bool {
        self.deliveries < limit.deliveries && self.bytes < limit.bytes
    }

    pub(super) fn add_delivery(&mut self, bytes: usize) {
        self.deliveries += 1;
        self.bytes += bytes;
    }
}
