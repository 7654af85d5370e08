//! What is asked for together: in MO's transaction, one error undoes all.

use std::collections::VecDeque;

/// Things that wait to be asked for, many in one request; one by one after a request for many of
/// them was rejected, since that does not say which of them it was.
#[derive(Debug)]
pub struct Batches<T> {
    queue: VecDeque<T>,
    /// So many at the front are asked for one by one.
    singly: usize,
}

impl<T> Default for Batches<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), singly: 0 }
    }
}

impl<T> Batches<T> {
    /// Adds one.
    pub fn push(&mut self, item: T) {
        self.queue.push_back(item);
    }

    /// Those for the next request, at most so many.
    pub fn take(&mut self, most: usize) -> Vec<T> {
        let count = match self.singly {
            0 => most.min(self.queue.len()),
            _ => 1,
        };
        self.singly = self.singly.saturating_sub(1);
        self.queue.drain(..count).collect()
    }

    /// The request was not answered: they are asked for again in the same way.
    pub fn put_back(&mut self, items: Vec<T>) {
        if items.len() == 1 {
            self.singly += 1;
        }
        items.into_iter().rev().for_each(|item| self.queue.push_front(item));
    }

    /// The request was rejected: they are asked for one by one. Gives the item if it was alone,
    /// and is therefore the one that is wrong.
    pub fn split(&mut self, mut items: Vec<T>) -> Option<T> {
        if items.len() <= 1 {
            return items.pop();
        }
        self.singly += items.len();
        items.into_iter().rev().for_each(|item| self.queue.push_front(item));
        None
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether some wait to be asked for one by one.
    pub fn is_splitting(&self) -> bool {
        self.singly > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_batch_is_asked_for_one_by_one() {
        let mut batches = Batches::default();
        (1..=5).for_each(|number| batches.push(number));
        let first = batches.take(3);
        assert_eq!(first, [1, 2, 3]);
        assert_eq!(batches.split(first), None);
        assert_eq!(batches.take(3), [1]);
        let second = batches.take(3);
        batches.put_back(second);
        let second = batches.take(3);
        assert_eq!(batches.split(second), Some(2), "it is the one");
        assert_eq!(batches.take(3), [3]);
        assert_eq!(batches.take(3), [4, 5]);
        assert!(batches.is_empty());
    }
}
