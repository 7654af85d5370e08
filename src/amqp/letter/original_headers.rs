//! A message's own headers that a dead letter cannot bear: the broker or the router would
//! take them for something else. The letter keeps them under other names.

use std::collections::BTreeMap;

use crate::amqp::broker_headers::{is_about_deaths, is_delivery_count};
use crate::event::{SHORT_STRING, Value, headers};

/// What a letter says of itself. Of a delayed message, two are its own.
const OF_LETTERS: [&str; 11] = [
    headers::REASON,
    headers::PLUGIN,
    headers::VERSION,
    headers::ATTEMPTS,
    headers::KIND,
    headers::QUEUE,
    headers::EXCHANGE,
    headers::ROUTING_KEY,
    headers::DEAD_SINCE,
    headers::PROPERTIES,
    headers::PROPERTIES_SIZE,
];

/// Renames the headers that a letter, or an event on its way back, cannot bear. One whose
/// name gets too long is dropped.
pub fn set_aside(headers: &mut BTreeMap<String, Value>) {
    let cannot_stay = |name: &str| {
        is_about_deaths(name.as_bytes())
            || is_delivery_count(name.as_bytes())
            || headers::COPIES.contains(&name)
            || OF_LETTERS.contains(&name)
    };
    let set_aside: Vec<_> = headers.extract_if(.., |name, _| cannot_stay(name)).collect();
    for (name, value) in set_aside {
        let name = [headers::ORIGINAL, &name].concat();
        if name.len() <= SHORT_STRING {
            headers.insert(name, value);
        }
    }
}

/// Undoes [`set_aside`].
pub fn restore(headers: &mut BTreeMap<String, Value>) {
    let set_aside: Vec<_> =
        headers.extract_if(.., |name, _| name.starts_with(headers::ORIGINAL)).collect();
    let originals = set_aside.into_iter().filter_map(|(name, value)| {
        Some((name.strip_prefix(headers::ORIGINAL)?.to_owned(), value))
    });
    headers.extend(originals);
}
