//! How much has come of large messages that nobody has taken yet.
//!
//! lapin keeps whatever a broker sends until somebody takes it, and a broker sends as many
//! messages as were asked for, whatever their size. A plugin that is busy with one event for a
//! second could be sent a gigabyte meanwhile. So a connection reads slowly while much waits: slowly,
//! and not nothing, because the broker's heartbeats and answers come on it, too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;

/// Smaller bodies are not counted: the prefetch bounds what they take, and most are tiny.
pub const LARGE: usize = 16 << 10;

/// So many bytes may wait on a connection.
pub const MOST: usize = 64 << 20;

/// What waits on one connection.
#[derive(Default)]
pub struct Room {
    /// By channel; of those that somebody takes messages of.
    waiting: Mutex<HashMap<u16, Waiting>>,
    /// How many places there were.
    places: AtomicU64,
    is_full: AtomicBool,
    reader: AtomicWaker,
}

/// What waits on one channel.
struct Waiting {
    /// Whose it is.
    place: u64,
    bytes: usize,
}

/// What waits on one channel. It is counted as long as this is there, or until a new channel has
/// the number.
pub struct Place {
    room: Arc<Room>,
    channel: u16,
    number: u64,
}

impl Room {
    /// From here on messages of the channel are counted.
    pub fn place(self: &Arc<Self>, channel: u16) -> Place {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        self.update(|waiting| {
            waiting.insert(channel, Waiting { place: number, bytes: 0 });
        });
        Place { room: Arc::clone(self), channel, number }
    }

    /// A message of this size has come.
    pub(super) fn came(&self, channel: u16, size: usize) {
        self.update(|waiting| {
            if let Some(waiting) = waiting.get_mut(&channel) {
                waiting.bytes += size;
            }
        });
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Wakes whoever reads the connection once there is room.
    pub(super) fn wake(&self, waker: &Waker) {
        self.reader.register(waker);
    }

    fn update(&self, change: impl FnOnce(&mut HashMap<u16, Waiting>)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting);
        let is_full = waiting.values().map(|waiting| waiting.bytes).sum::<usize>() > MOST;
        self.is_full.store(is_full, Ordering::Release);
        if !is_full {
            self.reader.wake();
        }
    }
}

impl Place {
    /// How many bytes of large messages wait.
    pub fn waiting(&self) -> usize {
        let waiting = self.room.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.get(&self.channel).filter(|waiting| self.is_own(waiting));
        waiting.map_or(0, |waiting| waiting.bytes)
    }

    /// A message with a body of this size was taken.
    pub fn take(&self, size: usize) {
        if size >= LARGE {
            self.room.update(|waiting| {
                let waiting = waiting.get_mut(&self.channel);
                if let Some(waiting) = waiting.filter(|waiting| self.is_own(waiting)) {
                    waiting.bytes = waiting.bytes.saturating_sub(size);
                }
            });
        }
    }

    fn is_own(&self, waiting: &Waiting) -> bool {
        waiting.place == self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.update(|waiting| {
            if waiting.get(&self.channel).is_some_and(|waiting| self.is_own(waiting)) {
                waiting.remove(&self.channel);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_what_came_and_was_not_taken() {
        let room = Arc::new(Room::default());
        // Nobody takes messages of this one.
        room.came(1, 2 * MOST);
        assert!(!room.is_full());
        let (two, three) = (room.place(2), room.place(3));
        room.came(2, MOST);
        assert!(!room.is_full());
        room.came(3, LARGE);
        assert!(room.is_full());
        assert_eq!((two.waiting(), three.waiting()), (MOST, LARGE));
        three.take(LARGE);
        assert!(!room.is_full());
        // What was not counted does not count when it is taken.
        three.take(LARGE - 1);
        three.take(MOST);
        room.came(3, 1);
        assert!(room.is_full());
        drop(two);
        assert!(!room.is_full());
    }

    #[test]
    fn a_channel_s_number_is_taken_again_while_the_old_place_is_there() {
        let room = Arc::new(Room::default());
        let old = room.place(1);
        room.came(1, LARGE);
        let new = room.place(1);
        room.came(1, MOST + LARGE);
        assert_eq!((old.waiting(), new.waiting()), (0, MOST + LARGE));
        old.take(MOST);
        drop(old);
        assert_eq!(new.waiting(), MOST + LARGE);
        assert!(room.is_full());
        drop(new);
        assert!(!room.is_full());
    }
}
