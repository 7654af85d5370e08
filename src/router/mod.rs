//! The life of an event between its delivery and its settlement.
//!
//! A [`Session`] takes deliveries from an inbox, has the plugin's `lanes` route
//! them, turns what they [`answer`] into messages, and sends those to an outbox or
//! to the delay store. What has to be tried again is on its agenda (`later`).

pub mod answer;
mod lanes;
mod later;
mod session;
mod stats;

pub use session::{Context, End, RETRY_PAUSE, Session, Version};
pub use stats::{Reading, State, Stats};
