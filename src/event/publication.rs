//! A plugin's answer to an event.

use std::time::Duration;

use super::Datetime;

/// One message that a plugin asks to be published; what is unset is the event's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publication {
    /// None: the configured output exchange.
    pub exchange: Option<String>,
    /// None: the event's.
    pub routing_key: Option<String>,
    /// None: the event's bytes.
    pub body: Option<Vec<u8>>,
    /// Headers to set beside the event's own.
    pub headers: Vec<(String, String)>,
    /// When it leaves.
    pub due: Due,
    /// Of a delayed one: a newer one with the same key replaces it.
    pub key: Option<String>,
}

/// When a publication leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Due {
    /// At once.
    #[default]
    Now,
    /// At this time; at once if it has passed.
    At(Datetime),
    /// So long after the plugin said so.
    After(Duration),
}

/// Why a plugin did not route an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may work later: the plugin said so.
    Retry(String),
    /// It never will: the plugin said so.
    Reject(String),
    /// The plugin broke: a trap, or a limit exceeded. Its instance is gone; a new
    /// one may do better.
    Broken(String, Fault),
}

/// How a plugin broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It trapped, or returned what cannot be.
    Trap,
    /// It took longer than its time limit.
    Timeout,
    /// It asked for more memory than its limit.
    Memory,
}

impl Failure {
    /// What happened, in words.
    pub fn reason(&self) -> &str {
        match self {
            Failure::Retry(reason) | Failure::Reject(reason) | Failure::Broken(reason, _) => reason,
        }
    }
}
