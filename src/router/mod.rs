//! The life of an event between its delivery and its settlement.
//!
//! A [`Session`] takes deliveries from an inbox, has the plugin's `lanes` route
//! them, turns what they [`answer`] into messages, and sends those to an outbox or
//! to the delay store. What those deliveries are that wait for their messages to
//! arrive is kept in `open`, the order of events in `turns`, and what has to be tried
//! again in `later`.

pub mod answer;
mod lanes;
mod later;
mod open;
mod session;
mod stats;
mod turns;
mod version;

pub use session::{Context, End, RETRY_PAUSES, Session};
pub use stats::{Reading, State, Stats};
pub use turns::Turns;
pub use version::Version;
