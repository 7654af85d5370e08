//! Stored messages, and queries for them.

use std::fmt;

use crate::event::{Datetime, Delayed};

/// A delayed message in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Unique in the store; newer messages have larger ids.
    pub id: i64,
    /// How many attempts to send it have failed.
    pub attempts: u32,
    /// Why the last one failed.
    pub problem: Option<String>,
    /// The message. Its due time is that of the next attempt.
    pub delayed: Delayed,
    /// Its properties as stored, if they cannot be read. It is not sent until a person has
    /// corrected them.
    pub unreadable: Option<String>,
}

impl Stored {
    /// Sets the properties, from the form in which they are stored.
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
    /// Ids to remove, with the due times that the messages were claimed with.
    pub sent: Vec<(i64, Datetime)>,
    /// Messages to retry later, each with the due time that it was claimed with.
    pub put_off: Vec<(Datetime, Stored)>,
}

/// Which delayed messages: those that meet all of these conditions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Published by this plugin.
    pub plugin: Option<String>,
    /// About this person or unit.
    pub uuid: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// Due at this time or later.
    pub from: Option<Datetime>,
    /// Due before this time.
    pub until: Option<Datetime>,
}

/// How many messages there are, and when they are due.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    /// The number of all of them.
    pub total: u64,
    /// When the first is due.
    pub next: Option<Datetime>,
    /// How many are due in each of the [`PERIODS`] but not in an earlier one; and last, how
    /// many are due after all of them.
    pub histogram: Vec<u64>,
}

/// The error of opening a store that a newer version has written.
#[derive(Debug)]
pub struct NewerSchema {
    /// The version of its schema.
    pub found: usize,
    /// The newest version that this mo-router knows.
    pub known: usize,
}

impl std::error::Error for NewerSchema {}

impl fmt::Display for NewerSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, known } = self;
        write!(
            f,
            "it was written by a newer mo-router (schema version {found}, this one knows up to {known}): \
             run the newer one, or use another store with [delay] store"
        )
    }
}

/// The periods of the histogram: names, and their ends in microseconds from now.
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

/// The ends of the periods in microseconds since 1970.
pub(super) fn bounds(now: Datetime) -> [i64; PERIODS.len()] {
    PERIODS.map(|(_, micros)| now.unix_micros().saturating_add(micros))
}
