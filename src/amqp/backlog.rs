//! How many dead letters wait, also while a command looks at them.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// How long commands can hold letters before what they hold counts as gone. Others than the
/// router's commands may consume them for good.
const HELD: Duration = Duration::from_secs(60);

/// How many dead letters wait for people. The broker counts those that nobody holds; a
/// command holds what it looks at, and is a consumer meanwhile.
#[derive(Debug, Default)]
pub struct Backlog(Mutex<Known>);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// What there was when nobody consumed.
    messages: u32,
    consumed_since: Option<Instant>,
}

impl Backlog {
    /// The number of letters, if the broker counts so many `ready` and so many consumers.
    pub fn count(&self, ready: u32, consumers: u32, now: Instant) -> u32 {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if consumers == 0 {
            *known = Known { messages: ready, consumed_since: None };
            return ready;
        }
        let since = *known.consumed_since.get_or_insert(now);
        if now.duration_since(since) < HELD { known.messages.max(ready) } else { ready }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_command_holds_is_counted() {
        let (backlog, now) = (Backlog::default(), Instant::now());
        assert_eq!(backlog.count(7, 1, now), 7);
        assert_eq!(backlog.count(5, 0, now), 5);
        assert_eq!(backlog.count(0, 1, now), 5);
        assert_eq!(backlog.count(6, 2, now), 6);
        assert_eq!(backlog.count(4, 0, now), 4);
        // Somebody takes them out for good.
        assert_eq!(backlog.count(0, 1, now), 4);
        assert_eq!(backlog.count(0, 1, now + HELD), 0);
        assert_eq!(backlog.count(3, 0, now + HELD), 3);
    }
}
