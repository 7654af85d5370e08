//! What a store keeps, and how people ask for it.

use std::fmt;

use crate::event::{Datetime, Delayed};

/// A delayed message in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Tells it from all others of its store; later ones have larger ids.
    pub id: i64,
    /// How many times it was due and could not be sent.
    pub attempts: u32,
    /// Why not, the last time.
    pub problem: Option<String>,
    /// The message. Its due time is when it is tried next.
    pub delayed: Delayed,
    /// What stands in the store for its properties, if no router wrote that: then it
    /// is not sent until a person has corrected it.
    pub unreadable: Option<String>,
}

impl Stored {
    /// With its properties as they are stored.
    pub(super) fn with_properties(mut self, text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(properties) => self.delayed.message.properties = properties,
            Err(error) => {
                self.problem = Some(format!("its properties cannot be read: {error}"));
                self.unreadable = Some(text.to_owned());
            }
        }
        self
    }
}

/// What became of a claim's messages.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To remove, with the due times that they were claimed with.
    pub sent: Vec<(i64, Datetime)>,
    /// To try later: their former due times, and how they are now.
    pub put_off: Vec<(Datetime, Stored)>,
}

/// Which delayed messages: those that are all that is asked here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// That this plugin asked for.
    pub plugin: Option<String>,
    /// About this person or unit.
    pub uuid: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// Due then or later.
    pub from: Option<Datetime>,
    /// Due before then.
    pub until: Option<Datetime>,
}

/// How many messages wait, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    /// All of them.
    pub total: u64,
    /// When the first is due.
    pub next: Option<Datetime>,
    /// How many are due within each [`PERIODS`] after the one before it, and, at
    /// the end, how many after the last.
    pub histogram: Vec<u64>,
}

/// A store that was written by a newer version, whose schema is unknown here.
#[derive(Debug)]
pub struct Newer {
    /// The version of its schema.
    pub found: usize,
    /// The newest schema that is known here.
    pub known: usize,
}

impl std::error::Error for Newer {}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, known } = self;
        write!(
            f,
            "it was written by a newer mo-router (schema version {found}, this one knows up to {known}): \
             run that one, or name another store in [delay] store"
        )
    }
}

/// The bounds of the histogram: names, and microseconds from now.
pub const PERIODS: [(&str, i64); 8] = [
    ("now", 0),
    ("within a minute", MINUTE),
    ("within an hour", 60 * MINUTE),
    ("within a day", DAY),
    ("within a week", 7 * DAY),
    ("within 30 days", 30 * DAY),
    ("within a year", 365 * DAY),
    ("within ten years", 3652 * DAY),
];

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// The moments that divide the histogram, for a store to count between.
pub(super) fn bounds(now: Datetime) -> [i64; PERIODS.len()] {
    PERIODS.map(|(_, micros)| now.unix_micros().saturating_add(micros))
}
