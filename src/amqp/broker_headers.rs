//! The headers that RabbitMQ writes, or obeys.

/// What it says of a message that it has dead-lettered.
pub const DEATHS: &str = "x-death";
/// What else it writes about that begins so.
const ABOUT_DEATHS: [&str; 2] = ["x-first-death-", "x-last-death-"];
/// Headers in which a quorum queue counts a message's deliveries. The first counts those that
/// ended unsettled.
pub const DELIVERY_COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// Whether the broker writes this header when it dead-letters a message.
pub fn is_about_deaths(name: &[u8]) -> bool {
    name == DEATHS.as_bytes()
        || ABOUT_DEATHS.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// Whether the broker counts a message's deliveries in this header.
pub fn is_delivery_count(name: &[u8]) -> bool {
    DELIVERY_COUNTS.iter().any(|count| name == count.as_bytes())
}
