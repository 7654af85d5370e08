//! Deliveries between the plugin's answer and their settlement.

use slab::Slab;

/// Deliveries whose messages have left and not all arrived, by token.
pub struct Open<R>(Slab<Entry<R>>);

struct Entry<R> {
    /// None if the delivery is not to be settled.
    receipt: Option<R>,
    /// Messages whose fate is unknown.
    missing: usize,
}

impl<R> Default for Open<R> {
    fn default() -> Self {
        Self(Slab::new())
    }
}

impl<R> Open<R> {
    /// Adds a delivery that caused so many messages, at least one; gives their token.
    pub fn insert(&mut self, receipt: R, messages: usize) -> u64 {
        self.0.insert(Entry { receipt: Some(receipt), missing: messages }) as u64
    }

    /// One of the messages has arrived or is stored. After the last one, gives what
    /// settles the delivery.
    pub fn arrived(&mut self, token: u64) -> Option<R> {
        let key = usize::try_from(token).ok()?;
        let entry = self.0.get_mut(key)?;
        entry.missing -= 1;
        if entry.missing > 0 {
            return None;
        }
        self.0.remove(key).receipt
    }

    /// One of the messages will not be sent any more: the delivery is not settled,
    /// so that it comes again.
    pub fn give_up(&mut self, token: u64) {
        if let Some(entry) = usize::try_from(token).ok().and_then(|key| self.0.get_mut(key)) {
            entry.receipt = None;
        }
        self.arrived(token);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_by_the_last_message() {
        let mut open = Open::default();
        let (one, two) = (open.insert("one", 1), open.insert("two", 2));
        assert_eq!(open.arrived(two), None);
        assert_eq!(open.arrived(one), Some("one"));
        assert_eq!(open.arrived(two), Some("two"));
        assert!(open.is_empty());
    }

    #[test]
    fn not_settled_if_a_message_was_given_up() {
        let mut open = Open::default();
        let token = open.insert("event", 2);
        open.give_up(token);
        assert!(!open.is_empty(), "the other message is under way");
        assert_ne!(open.insert("next", 1), token, "whose token is not given to another");
        assert_eq!(open.arrived(token), None);
    }
}
