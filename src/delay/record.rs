//! Stored messages, and queries for them.

use std::path::PathBuf;

use crate::event::{Datetime, Delayed};

/// A delayed message in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Unique in the store; newer messages have larger ids.
    pub id: i64,
    /// How many times in a row the broker has nacked it, or not confirmed it in time; at least 1 if
    /// it was put off, for whatever reason.
    pub attempts: u32,
    /// Why it was put off the last time.
    pub problem: Option<String>,
    /// The message. Its due time is that of the next attempt.
    pub delayed: Delayed,
    /// What of it cannot be read. It is not sent until a person has corrected that.
    pub damage: Option<String>,
    /// Its properties as stored, if they cannot be read.
    pub unreadable: Option<String>,
}

impl Stored {
    /// Sets the properties, from the form in which they are stored.
    pub(super) fn with_properties(mut self, text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(properties) => self.delayed.message.properties = properties,
            Err(error) => {
                let unreadable = format!("its properties cannot be read: {error}");
                self.damage = Some(match self.damage.take() {
                    Some(more) => format!("{more}; {unreadable}"),
                    None => unreadable,
                });
                self.unreadable = Some(text.to_owned());
            }
        }
        if self.damage.is_some() {
            self.problem.clone_from(&self.damage);
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
    /// Due before this time, or put off since: the broker did not take them when they were due.
    pub overdue: Option<Datetime>,
}

/// How many messages there are, and when they are due.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    /// The number of all of them.
    pub total: u64,
    /// When the first is due.
    pub next: Option<Datetime>,
    /// How many are due in each of the periods that were asked for ([`PERIODS`]) but not in an
    /// earlier one; and last, how many are due after all of them.
    pub histogram: Vec<u64>,
}

/// What a command did to the messages that it named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The ids of those that it changed.
    pub done: Vec<i64>,
    /// The ids of those that are being sent, and were left alone: they may be put off yet.
    pub in_flight: Vec<i64>,
}

/// A message that was stored elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// What tells it from others, at every import: it is added once.
    pub id: String,
    /// The message.
    pub delayed: Delayed,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many messages should have been sent by a given time, or were put off; a large number
    /// is cut.
    pub overdue: u64,
    /// Why one of them was put off, if any was: the same one as long as that is so.
    pub problem: Option<String>,
}

/// The most overdue messages that are counted, and the most whose problems are looked at.
pub(super) const MOST_OVERDUE: u32 = 1_000_000;
pub(super) const MOST_PROBLEMS: u32 = 1000;

/// The error of a batch that is stored where the database is, and not where it promises to have it
/// as well: its commit waits for a standby.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the commit waits for a standby that does not confirm it (synchronous_standby_names)")]
pub struct Unreplicated {
    /// What a batch that is stored gives.
    pub left_out: Vec<usize>,
    /// When the server was started that has it, in microseconds since 1970: a standby that takes
    /// over may not have it.
    pub server: i64,
}

/// The error of opening a store that will never do as it is. Any other may pass.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A newer version has written it.
    #[error(
        "it was written by a newer mo-router (schema version {found}, this one knows up to {known}): \
         run the newer one, or use another store with [delay] store"
    )]
    NewerSchema {
        /// The version of its schema.
        found: usize,
        /// The newest version that this mo-router knows.
        known: usize,
    },
    /// The database does not keep text as UTF-8, but in this encoding.
    #[error(
        "its database keeps text as {0}, which has no place for all that events contain: make a \
         database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// Nothing can be connected to by its URL, for this reason.
    #[error("{0}")]
    Address(String),
    /// A file was put beside the write-ahead log of another one.
    #[error(
        "the file is a copy that was put beside {log}, which belongs to the file that was there before \
         and would damage this one: to use the copy, move {log} away; to keep what was there before, \
         put that file back"
    )]
    StrayLog {
        /// The log.
        log: PathBuf,
    },
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
