//! Deliveries between the plugin's answer and their settlement.

use slab::Slab;

/// Deliveries that caused messages whose fate is not known of all, by token.
#[derive(Debug)]
pub struct Unsettled<R>(Slab<Entry<R>>);

#[derive(Debug)]
struct Entry<R> {
    /// None if the delivery is not to be settled.
    receipt: Option<R>,
    /// Messages whose fate is unknown.
    missing: usize,
    /// Of the delivery and of all that it caused.
    bytes: usize,
}

impl<R> Default for Unsettled<R> {
    fn default() -> Self {
        Self(Slab::new())
    }
}

impl<R> Unsettled<R> {
    /// Adds a delivery that caused so many messages, at least one; gives their token.
    /// `bytes` are those of the delivery and its messages.
    pub fn insert(&mut self, receipt: R, messages: usize, bytes: usize) -> u64 {
        debug_assert!(messages > 0, "a delivery that caused nothing is settled at once");
        self.0.insert(Entry { receipt: Some(receipt), missing: messages, bytes }) as u64
    }

    /// One of the messages is confirmed, or committed to the store. After the last
    /// one, gives what settles the delivery, and the bytes that were inserted with it.
    pub fn message_done(&mut self, token: u64) -> Option<(R, usize)> {
        let key = usize::try_from(token).ok()?;
        let entry = self.0.get_mut(key)?;
        entry.missing -= 1;
        if entry.missing > 0 {
            return None;
        }
        let Entry { receipt, bytes, .. } = self.0.remove(key);
        Some((receipt?, bytes))
    }

    /// One of the messages will not be sent again: the delivery is not settled, and
    /// the broker redelivers it.
    pub fn give_up(&mut self, token: u64) {
        if let Some(entry) = usize::try_from(token).ok().and_then(|key| self.0.get_mut(key)) {
            entry.receipt = None;
        }
        self.message_done(token);
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
        let mut unsettled = Unsettled::default();
        let (one, two) = (unsettled.insert("one", 1, 10), unsettled.insert("two", 2, 20));
        assert_eq!(unsettled.message_done(two), None);
        assert_eq!(unsettled.message_done(one), Some(("one", 10)));
        assert_eq!(unsettled.message_done(two), Some(("two", 20)));
        assert!(unsettled.is_empty());
    }

    #[test]
    fn not_settled_if_a_message_was_given_up() {
        let mut unsettled = Unsettled::default();
        let token = unsettled.insert("event", 2, 0);
        unsettled.give_up(token);
        assert!(!unsettled.is_empty(), "the other message is in flight");
        assert_ne!(unsettled.insert("next", 1, 0), token, "the token is still taken");
        assert_eq!(unsettled.message_done(token), None);
    }
}
