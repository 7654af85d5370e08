//! How much the delay store holds: counted every now and then, for the metrics and the page.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use crate::delay::{Census, Filter};
use crate::event::Datetime;

/// How long the store may take to count what it holds.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How often it is counted: counting millions of messages takes most of a second.
const PAUSE: Duration = Duration::from_secs(15);
/// How soon it is tried again while the store is not open yet.
const AGAIN: Duration = Duration::from_secs(1);

/// For how long a count is told: a store that does not answer may hold anything.
const FRESH: Duration = Duration::from_secs(60);

/// The last count.
#[derive(Debug, Default)]
pub struct LastCount {
    last: Mutex<Option<Counted>>,
    /// Held by the one who counts: the others take what that one finds.
    turn: tokio::sync::Mutex<()>,
}

/// What the store held when it was counted.
#[derive(Clone, Debug)]
pub struct Counted {
    census: Census,
    /// When that was.
    pub at: Datetime,
    since: Instant,
}

impl LastCount {
    /// What was counted last, however long ago.
    pub fn read(&self) -> Option<Counted> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, census: Census) {
        let counted = Counted { census, at: Datetime::now(), since: Instant::now() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(counted);
    }

    /// Counts, unless another one does meanwhile; none if that fails or takes too long.
    async fn shared(&self, count: impl Future<Output = Result<Census>>) -> Option<Census> {
        let asked = Instant::now();
        let counted = async {
            let _turn = self.turn.lock().await;
            if let Some(counted) = self.read().filter(|counted| counted.since >= asked) {
                return Some(counted.census);
            }
            let census = count.await.ok()?;
            self.set(census.clone());
            Some(census)
        };
        timeout(TIMEOUT, counted).await.ok()?
    }
}

impl Counted {
    /// What there was, unless that is too long ago.
    pub fn fresh(self) -> Option<Census> {
        (self.since.elapsed() < FRESH).then_some(self.census)
    }
}

/// What the store holds now; none if it does not say in time.
pub async fn count(router: &Shared) -> Option<Census> {
    let store = router.observed.store()?;
    router.counted.shared(store.count(Filter::default(), Datetime::now())).await
}

/// Counts for ever.
pub async fn keep_counting(router: Shared) {
    loop {
        // Before the store is open there is nothing to count. One that is too slow to count is not
        // made slower by being asked more often.
        let pause = if router.observed.store().is_some() { PAUSE } else { AGAIN };
        count(&router).await;
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_together_are_told_one_count() {
        let (last, counts) = (LastCount::default(), std::cell::Cell::new(0));
        let asking = (0..10).map(|_| {
            last.shared(async {
                counts.set(counts.get() + 1);
                sleep(TIMEOUT / 2).await;
                Ok(Census { total: 7, next: None, histogram: Vec::new() })
            })
        });
        let told = futures::future::join_all(asking).await;
        assert!(told.iter().all(|census| census.as_ref().is_some_and(|census| census.total == 7)));
        assert_eq!(counts.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_is_told_for_a_minute() {
        let last = LastCount::default();
        last.set(Census { total: 7, next: None, histogram: Vec::new() });
        sleep(FRESH - PAUSE).await;
        let total = || last.read().unwrap().fresh().map(|census| census.total);
        assert_eq!(total(), Some(7));
        sleep(PAUSE).await;
        assert_eq!(total(), None);
        assert!(last.read().is_some(), "when it was counted is known");
    }
}
