//! The routing keys of MO's GraphQL events.

use std::collections::BTreeSet;

use crate::event::topic;

/// MO's namespace.
pub const NAMESPACE: &str = "mo";

/// The routing keys that MO sends in it. They are those of its one-word AMQP messages.
pub const KNOWN: [&str; 15] = topic::ONE_WORD_KEYS;

/// The keys to fetch events of: `fixed`, or those of MO's that one of the topic patterns selects.
pub fn wanted(fixed: &[String], patterns: &[String]) -> BTreeSet<String> {
    match fixed {
        [] => {
            let selected = KNOWN.into_iter().filter(|key| topic::any_matches(patterns, key));
            selected.map(str::to_owned).collect()
        }
        fixed => fixed.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_plugins_ask_for_or_that_the_settings_name() {
        let patterns = ["employee.#".to_owned(), "person".into(), "no_such_key".into()];
        assert_eq!(wanted(&[], &patterns).into_iter().collect::<Vec<_>>(), ["person"]);
        assert_eq!(wanted(&[], &["#".to_owned()]).len(), KNOWN.len());
        assert_eq!(wanted(&[], &["*.it.*".to_owned()]).len(), 0);
        let fixed = ["engagement".to_owned(), "of_our_own".into()];
        assert_eq!(wanted(&fixed, &patterns).len(), 2);
    }
}
