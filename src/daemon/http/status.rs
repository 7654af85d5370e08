//! What the router says of itself as a whole.

use serde::Serialize;

use crate::daemon::PluginStatus;
use crate::event::Datetime;
use crate::health::Reason;
use crate::mo;

/// What `mo-router status` shows.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The router's version.
    pub version: &'static str,
    /// When it started.
    pub since: Datetime,
    /// Whether every plugin takes events or is suspended, and nothing stops or slows the flow.
    pub ready: bool,
    /// Why not, and what people are told besides.
    pub reasons: Vec<Reason>,
    /// Delayed messages; none if the store does not answer in time.
    pub delayed: Option<u64>,
    /// How many of them should have been sent; none if the store does not say.
    pub overdue: Option<u64>,
    /// When the next of them is due.
    pub next_due: Option<Datetime>,
    /// Dead letters that wait for people; none without a broker, or if it does not
    /// answer in time.
    pub dead_letters: Option<u32>,
    /// The bridge to MO's GraphQL events, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mo: Option<mo::stats::Counts>,
    /// The plugins.
    pub plugins: Vec<PluginStatus>,
}
