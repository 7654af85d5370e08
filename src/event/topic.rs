//! MO's routing keys, and the AMQP patterns that select them.

use anyhow::{Result, bail};

/// The keys of MO's one-word messages, by AMQP and by GraphQL.
pub const ONE_WORD_KEYS: [&str; 15] = [
    "address",
    "association",
    "class",
    "engagement",
    "facet",
    "itsystem",
    "ituser",
    "kle",
    "leave",
    "manager",
    "org_unit",
    "owner",
    "person",
    "related_unit",
    "rolebinding",
];

/// The longest routing key that AMQP can carry, in bytes.
const LONGEST_KEY: usize = 255;

/// A view of MO's routing key, taken apart: `<service>.<object-type>.<action>`, or
/// the one word of MO's newer messages, which is the object type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic<'a> {
    /// `employee` or `org_unit`.
    pub service: Option<&'a str>,
    /// `address`, `engagement`, `it`, …
    pub object_type: &'a str,
    /// `create`, `edit`, `terminate`, …
    pub action: Option<&'a str>,
}

impl<'a> Topic<'a> {
    /// Parses a key. Words that MO does not use today are taken as they are.
    ///
    /// # Errors
    /// Names a key of another number of words, or with an empty one.
    pub fn parse(routing_key: &'a str) -> Result<Self> {
        let mut count = 0;
        let mut words = Some(routing_key);
        while let Some((word, rest)) = first_word(words) {
            if word.is_empty() {
                bail!("routing key {routing_key:?} has an empty word");
            }
            (count, words) = (count + 1, rest);
        }
        match count {
            1 | 3 => Ok(Self::of(routing_key)),
            words => bail!(
                "routing key {routing_key:?} has {words} words, but MO's have one or three \
                 (such as employee.it.create)"
            ),
        }
    }

    /// Takes a key apart that is known to be MO's.
    pub(super) fn of(routing_key: &'a str) -> Self {
        match split(routing_key) {
            (object_type, None) => Self { service: None, object_type, action: None },
            (service, Some(rest)) => {
                let (object_type, action) = split(rest);
                Self { service: Some(service), object_type, action }
            }
        }
    }
}

/// Whether one of the AMQP topic patterns selects a routing key.
pub fn any_matches(patterns: &[String], routing_key: &str) -> bool {
    patterns.iter().any(|pattern| pattern == "#" || matches(pattern, routing_key))
}

/// Whether an AMQP topic pattern selects a routing key: `*` stands for one word,
/// `#` for any number of them.
pub fn matches(pattern: &str, routing_key: &str) -> bool {
    // What is left of both; none is no more words.
    let (mut pattern, mut key) = (Some(pattern), Some(routing_key));
    // Where to go on if the words after the last `#` do not fit. Those before it
    // have found their place, so that there is no need to go back further.
    let mut last = None;
    loop {
        match (first_word(pattern), first_word(key)) {
            (None, None) => return true,
            (Some(("#", rest)), _) => {
                last = Some((rest, key));
                pattern = rest;
            }
            (Some((expected, after)), Some((word, left)))
                if expected == "*" || expected == word =>
            {
                (pattern, key) = (after, left);
            }
            _ => {
                let Some((rest, from)) = last else { return false };
                let Some((_, next)) = first_word(from) else { return false };
                last = Some((rest, next));
                (pattern, key) = (rest, next);
            }
        }
    }
}

/// What is wrong with a topic pattern that the broker takes, but that selects no event of MO's.
pub fn mistake(pattern: &str) -> Option<String> {
    let (mut words, mut count, mut any) = (Some(pattern), 0, false);
    while let Some((word, rest)) = first_word(words) {
        words = rest;
        any |= word == "#";
        count += usize::from(word != "#");
        if word.is_empty() {
            return Some(format!(
                "pattern {pattern:?} has an empty word, which no routing key has"
            ));
        }
        if word.len() > 1 && word.contains(['*', '#']) {
            return Some(format!(
                "pattern {pattern:?}: * stands for one whole word and # for any number of them; in \
                 {word:?} they are ordinary characters"
            ));
        }
    }
    let is_possible = count == 1 || count == 3 || (any && count <= 3);
    (!is_possible).then(|| {
        format!("pattern {pattern:?} wants {count} words, but MO's routing keys have one or three")
    })
}

/// What is wrong with a routing key, where no pattern can be meant.
pub fn key_mistake(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("an empty routing key, which no event has".into());
    }
    if key.len() > LONGEST_KEY {
        return Some(format!(
            "routing key {key:?} has {} bytes, and AMQP's have {LONGEST_KEY} at most",
            key.len()
        ));
    }
    if key.contains(['*', '#']) {
        return Some(format!("{key:?} is a pattern: name each routing key as a whole"));
    }
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    key.contains(is_odd).then(|| format!("routing key {key:?} has a space, which no event's has"))
}

fn first_word(words: Option<&str>) -> Option<(&str, Option<&str>)> {
    words.map(split)
}

/// The first word, and those behind it if there are any. Words are short: looking at
/// each byte takes less time than `split_once` takes to begin.
fn split(words: &str) -> (&str, Option<&str>) {
    match words.bytes().position(|byte| byte == b'.') {
        Some(dot) => (&words[..dot], Some(&words[dot + 1..])),
        None => (words, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_select_nothing_are_told() {
        for pattern in ["#", "employee.#", "*.*.create", "person", "#.edit", "*"] {
            assert_eq!(mistake(pattern), None, "{pattern}");
        }
        for pattern in ["a..b", "", ".a.b", "emp*.it.create", "employee.it", "a.b.c.d", "a.b.c.d.#"]
        {
            let said = mistake(pattern).unwrap_or_default();
            assert!(said.contains(&format!("{pattern:?}")), "{pattern}: {said}");
        }
    }

    #[test]
    fn keys_that_no_event_has_are_told() {
        for key in ONE_WORD_KEYS.into_iter().chain(["of_our_own", "Ærø"]) {
            assert_eq!(key_mistake(key), None, "{key}");
        }
        let long = "x".repeat(256);
        for key in ["", "*", "#", "employee.*", "org unit", "person\n", &long] {
            assert!(key_mistake(key).is_some(), "{key:?}");
        }
    }

    #[test]
    fn keys_of_three_words_and_of_one() {
        let topic = Topic::parse("employee.it.create").unwrap();
        assert_eq!(topic.service, Some("employee"));
        assert_eq!(topic.object_type, "it");
        assert_eq!(topic.action, Some("create"));
        assert_eq!(Topic::parse("engagement").unwrap().object_type, "engagement");
        assert_eq!(Topic::parse("planet.moon.eclipse").unwrap().object_type, "moon");
    }

    #[test]
    fn other_keys_are_named() {
        for key in ["", "employee.it", "a.b.c.d", "employee..create"] {
            let error = Topic::parse(key).unwrap_err().to_string();
            assert!(error.contains(&format!("{key:?}")), "{error}");
        }
    }

    #[test]
    fn patterns_select_as_the_broker_does() {
        for (pattern, key, expected) in [
            ("#", "employee.it.create", true),
            ("#", "", true),
            ("employee.#", "employee.it.create", true),
            ("employee.#", "employee", true),
            ("employee.#", "org_unit.it.create", false),
            ("*.it.*", "employee.it.create", true),
            ("*.it", "employee.it.create", false),
            ("#.create", "employee.it.create", true),
            ("*", "engagement", true),
            ("*", "employee.it.create", false),
            ("#.it.#", "employee.it.create", true),
            ("#.a.#.b", "a.x.a.b.b", true),
            ("#.a.#.b", "a.x.a.b.c", false),
            ("#.*", "a", true),
            ("*.#.*", "a", false),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} on {key}");
        }
    }
}
