//! Dead letters counted by plugin and reason.

use std::collections::BTreeMap;

use serde::Serialize;

use super::alike::shape;
use crate::amqp::letter::Letter;
use crate::event::Datetime;

/// How many groups are told apart. Reasons can contain anything, such as a name.
const GROUPS: usize = 1000;
/// How many hours of the past are told apart.
const HOURS: usize = 24;
/// The reason of the group that has the rest.
const REST: &str = "(other reasons)";

/// Dead letters of one plugin with one reason, or with several that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The plugin; empty if several are counted together.
    pub plugin: String,
    /// The reason; that of the oldest letter if there are several.
    pub reason: String,
    /// Whether there are several, which differ in UUIDs and long numbers alone.
    pub alike: bool,
    /// How many there are.
    pub count: u64,
    /// Since when the first of them is a dead letter.
    pub first: Option<Datetime>,
    /// Since when the last of them is one.
    pub last: Option<Datetime>,
    /// How many became dead letters in each of the last 24 hours, the newest last.
    pub hours: [u64; HOURS],
}

/// Counts letters, in memory that does not grow with their number.
pub struct Groups {
    now: Datetime,
    /// By plugin and shape of the reason.
    groups: BTreeMap<(String, String), Counted>,
}

#[derive(Default)]
struct Counted {
    reason: String,
    alike: bool,
    count: u64,
    first: Option<Datetime>,
    last: Option<Datetime>,
    hours: [u64; HOURS],
}

impl Groups {
    /// No letters yet. The hours end at `now`.
    pub fn until(now: Datetime) -> Self {
        Self { now, groups: BTreeMap::new() }
    }

    /// Counts a letter.
    pub fn add(&mut self, letter: Letter) {
        let mut reason = letter.reason;
        let mut key = (letter.plugin, shape(&reason));
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&key) {
            key = (String::new(), REST.to_owned());
            REST.clone_into(&mut reason);
        }
        let counted = self.groups.entry(key).or_default();
        if counted.count == 0 {
            counted.reason = reason;
        } else {
            counted.alike |= counted.reason != reason;
        }
        counted.count += 1;
        if let Some(since) = letter.since {
            counted.first = Some(counted.first.map_or(since, |first| first.min(since)));
            counted.last = Some(counted.last.map_or(since, |last| last.max(since)));
            let ago = self.now.saturating_since(since).as_secs() / 3600;
            if let Some(hour) =
                usize::try_from(ago).ok().and_then(|ago| (HOURS - 1).checked_sub(ago))
            {
                counted.hours[hour] += 1;
            }
        }
    }

    /// The groups, the largest first.
    pub fn into_sorted(self) -> Vec<Group> {
        let mut groups: Vec<_> = self
            .groups
            .into_iter()
            .map(|((plugin, _), counted)| {
                let Counted { reason, alike, count, first, last, hours } = counted;
                Group { plugin, reason, alike, count, first, last, hours }
            })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}
