//! Retries of operations on the store.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::stats::StoreStats;
use crate::backoff::{Backoff, Policy};
use crate::health::{Code, Health};

/// The pauses between attempts.
pub const PAUSES: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// What the store is asked to do, again and again until it does.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// To be opened.
    Open,
    /// To keep messages.
    Accept,
    /// To say how it is.
    Look,
    /// To give due messages.
    Claim,
    /// To remove messages that were sent.
    Settle,
}

impl Work {
    /// Its name, and what cannot be done while it fails.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Open => ("store", "open it"),
            Self::Accept => ("committer", "keep delayed messages"),
            Self::Look => ("monitor", "look at it"),
            Self::Claim => ("claims", "look for due messages"),
            Self::Settle => ("settlements", "settle sent messages"),
        }
    }
}

/// Attempts `work` until it succeeds, with growing pauses of at most 5 s. While it fails,
/// `health` says why, and `stats` counts.
pub async fn until_done<T, F>(
    health: &Health,
    stats: &StoreStats,
    work: Work,
    mut attempt: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::new(PAUSES);
    loop {
        match attempt().await {
            Ok(done) => {
                available(health, work);
                return done;
            }
            Err(error) => unavailable(health, stats, work, &error),
        }
        sleep(backoff.next_pause()).await;
    }
}

/// Reports that the store does not do it, which is tried again.
pub fn unavailable(health: &Health, stats: &StoreStats, work: Work, error: &anyhow::Error) {
    stats.errors.fetch_add(1, Relaxed);
    let (subject, task) = work.words();
    let text = format!(
        "the delay store is unavailable: cannot {task}: {error:#}; retrying, nothing is lost"
    );
    health.report(Code::StoreUnavailable, subject, &text);
}

/// It did.
pub fn available(health: &Health, work: Work) {
    health.over(Code::StoreUnavailable, work.words().0, "the delay store is available again");
}

/// It is not asked to any more: whether it would is not known.
pub fn ended(health: &Health, work: Work) {
    health.forget(work.words().0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_seen_until_it_works() {
        let (health, stats) = (Health::default(), StoreStats::default());
        let mut left = 3;
        let done = until_done(&health, &stats, Work::Look, || {
            left -= 1;
            let seen = health.has(Code::StoreUnavailable);
            async move { if left > 0 { anyhow::bail!("it is away") } else { Ok(seen) } }
        });
        assert!(done.await, "it was reported while it failed");
        assert!(!health.has(Code::StoreUnavailable));
        assert_eq!(stats.errors.load(Relaxed), 2);
    }
}
