//! Claims that the store did not settle: their messages are due again, and some of them were sent.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Error;
use tokio::time::Instant;

use super::unsettled::Settled;
use crate::backoff::{Backoff, Policy};
use crate::delay::retry::{self, Work};
use crate::delay::{Store, Stored};

/// The pauses before the next claim. What is claimed beside such messages may well be settled, so
/// that pauses grow until none has failed for a while.
const PAUSES: Policy = retry::PAUSES.reset_after(Duration::from_secs(60));

/// Those that are not settled since. Health says so until one of them is: the store settles again, and
/// the others are due before long.
pub struct Failed<'a> {
    store: &'a Store,
    /// The ids of their messages.
    ids: BTreeSet<i64>,
    backoff: Backoff,
    since: Instant,
    pause: Option<Instant>,
}

impl<'a> Failed<'a> {
    /// None yet.
    pub fn new(store: &'a Store) -> Self {
        let (ids, since) = (BTreeSet::new(), Instant::now());
        Self { store, ids, backoff: Backoff::new(PAUSES), since, pause: None }
    }

    /// The store was asked to settle a claim. Returns whether any of its messages are still in the
    /// store.
    pub fn on_settled(&mut self, settled: Settled) -> bool {
        match settled.stays {
            Ok(stays) => {
                if settled.ids.iter().any(|id| self.ids.contains(id)) {
                    self.are_over();
                }
                stays
            }
            Err(error) => {
                self.fail(settled.ids, &error);
                true
            }
        }
    }

    /// Messages were claimed while no others were: those of a claim that failed are among them,
    /// unless they are gone by now.
    pub fn on_claimed_alone(&mut self, messages: &[Stored]) {
        if !self.ids.is_empty() && !messages.iter().any(|message| self.ids.contains(&message.id)) {
            self.are_over();
        }
    }

    /// Until when the next claim has to wait, and no other one; none unless one has failed since this
    /// was asked.
    pub fn take_pause(&mut self) -> Option<Instant> {
        self.pause.take()
    }

    fn fail(&mut self, ids: Vec<i64>, error: &Error) {
        retry::unavailable(self.store.health(), self.store.stats(), Work::Settle, error);
        self.backoff.worked_for(self.since.elapsed());
        self.since = Instant::now();
        self.pause = Some(self.since + self.backoff.next_pause());
        self.ids.extend(ids);
    }

    fn are_over(&mut self) {
        retry::available(self.store.health(), Work::Settle);
        self.ids.clear();
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Result, anyhow};

    use super::*;
    use crate::health::Code;
    use crate::settings::StoreUrl;

    fn settled(ids: &[i64], stays: Result<bool>) -> Settled {
        Settled { number: 1, ids: ids.to_vec(), stays }
    }

    #[tokio::test]
    async fn what_is_settled_beside_a_claim_that_is_not_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreUrl::Sqlite(folder.path().join("delays.db"))).await.unwrap();
        let is_told = || store.health().has(Code::StoreUnavailable);
        let mut failed = Failed::new(&store);
        assert!(!failed.on_settled(settled(&[1], Ok(false))));
        assert_eq!(failed.take_pause(), None);
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            assert!(failed.on_settled(settled(&[2, 3], Err(anyhow!("of the test")))));
            longest = failed.take_pause().unwrap() - failed.since;
            assert!(!longest.is_zero() && is_told());
            assert_eq!(failed.take_pause(), None, "of one claim");
            failed.on_settled(settled(&[4], Ok(false)));
            assert!(is_told());
        }
        assert!(longest >= Duration::from_secs(2), "{longest:?}");
        failed.on_settled(settled(&[3], Ok(false)));
        assert!(!is_told());

        // They were cancelled, or are with another router.
        failed.on_settled(settled(&[5], Err(anyhow!("of the test"))));
        failed.on_claimed_alone(&[]);
        assert!(!is_told());
    }
}
