//! Retries of operations on the store.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::backoff::{Backoff, Policy};
use crate::health::{Code, Health};

/// The pauses between attempts.
pub const PAUSES: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// Attempts `task` until it succeeds, with growing pauses of at most 5 s. While it fails,
/// `health` says why.
pub async fn until_done<T, F>(health: &Health, task: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::new(PAUSES);
    loop {
        match attempt().await {
            Ok(done) => {
                available(health, task);
                return done;
            }
            Err(error) => unavailable(health, task, &error),
        }
        sleep(backoff.next_pause()).await;
    }
}

/// Reports that the store does not do `task`, which is tried again.
pub fn unavailable(health: &Health, task: &str, error: &anyhow::Error) {
    let text = format!(
        "the delay store is unavailable: cannot {task}: {error:#}; retrying, nothing is lost"
    );
    health.report(Code::StoreUnavailable, task, &text);
}

/// It did.
pub fn available(health: &Health, task: &str) {
    health.over(Code::StoreUnavailable, task, "the delay store is available again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_seen_until_it_works() {
        let health = Health::default();
        let mut left = 3;
        let done = until_done(&health, "look", || {
            left -= 1;
            let seen = health.has(Code::StoreUnavailable);
            async move { if left > 0 { anyhow::bail!("it is away") } else { Ok(seen) } }
        });
        assert!(done.await, "it was reported while it failed");
        assert!(!health.has(Code::StoreUnavailable));
    }
}
