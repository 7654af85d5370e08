//! Dead letters counted by plugin and reason.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::amqp::letter::Letter;
use crate::event::Datetime;

/// How many groups are told apart. Reasons can contain anything, such as a uuid.
const GROUPS: usize = 1000;
/// The reason of the group that has the rest.
const REST: &str = "(other reasons)";

/// Dead letters of one plugin with one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The plugin; empty if several are counted together.
    pub plugin: String,
    /// The reason.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// Since when the first of them is a dead letter.
    pub first: Option<Datetime>,
    /// Since when the last of them is one.
    pub last: Option<Datetime>,
}

/// Counts letters, in memory that does not grow with their number.
#[derive(Default)]
pub struct Groups(BTreeMap<(String, String), Counted>);

#[derive(Default)]
struct Counted {
    count: u64,
    first: Option<Datetime>,
    last: Option<Datetime>,
}

impl Groups {
    /// Counts a letter.
    pub fn add(&mut self, letter: Letter) {
        let mut key = (letter.plugin, letter.reason);
        if self.0.len() >= GROUPS && !self.0.contains_key(&key) {
            key = (String::new(), REST.to_owned());
        }
        let counted = self.0.entry(key).or_default();
        counted.count += 1;
        if let Some(since) = letter.since {
            counted.first = Some(counted.first.map_or(since, |first| first.min(since)));
            counted.last = Some(counted.last.map_or(since, |last| last.max(since)));
        }
    }

    /// The groups, the largest first.
    pub fn into_sorted(self) -> Vec<Group> {
        let mut groups: Vec<_> = self
            .0
            .into_iter()
            .map(|((plugin, reason), Counted { count, first, last })| Group {
                plugin,
                reason,
                count,
                first,
                last,
            })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}
