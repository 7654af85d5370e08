//! Retries of operations on the store.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::backoff::{Backoff, Policy};

const PAUSES: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// Attempts `task` until it succeeds, with growing pauses of at most 5 s.
///
/// A failure is logged when its reason is new, not at every attempt.
pub async fn until_done<T, F>(task: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::new(PAUSES);
    let mut logged = String::new();
    loop {
        match attempt().await {
            Ok(done) => {
                if !logged.is_empty() {
                    tracing::info!("the delay store is available again");
                }
                return done;
            }
            Err(error) => {
                let reason = format!("{error:#}");
                if reason != logged {
                    tracing::error!(
                        "the delay store is unavailable: cannot {task}: {reason}; retrying, nothing is lost"
                    );
                    logged = reason;
                }
            }
        }
        sleep(backoff.next_pause()).await;
    }
}
