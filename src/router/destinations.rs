//! How many messages a plugin has answered with for each exchange, for the page.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How many exchanges are told apart. A plugin publishes to those that it was granted.
const MOST: usize = 64;

/// See the module's documentation. The few exchanges are looked for one after the other.
#[derive(Debug, Default)]
pub struct Destinations(Mutex<Vec<(String, u64)>>);

impl Destinations {
    /// A message leaves for this exchange.
    pub fn add(&self, exchange: &str) {
        // No holder leaves anything half done.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.iter().position(|(known, _)| known == exchange) {
            Some(place) => counts[place].1 += 1,
            None if counts.len() < MOST => counts.push((exchange.to_owned(), 1)),
            None => {}
        }
    }

    /// All of them, by exchange.
    pub fn read(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_exchanges_are_told_apart() {
        let destinations = Destinations::default();
        let names: Vec<String> = (0..2 * MOST).map(|number| number.to_string()).collect();
        for _ in 0..3 {
            names.iter().for_each(|name| destinations.add(name));
        }
        let counts = destinations.read();
        assert_eq!(counts.len(), MOST);
        assert!(counts.values().all(|count| *count == 3));
    }
}
