//! Trying again for as long as it takes.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::backoff::{Backoff, Policy};

const PAUSES: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// Does `task` until it succeeds, with growing pauses of at most 5 s.
///
/// What is wrong is logged when it begins or changes, not at every try.
pub async fn until_done<T, F>(task: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::new(PAUSES);
    let mut said = String::new();
    loop {
        match attempt().await {
            Ok(done) => {
                if !said.is_empty() {
                    tracing::info!("the delay store works again: did {task}");
                }
                return done;
            }
            Err(error) => {
                let reason = format!("{error:#}");
                if reason != said {
                    tracing::error!(
                        "the delay store cannot {task}: {reason}; trying on, nothing is lost"
                    );
                    said = reason;
                }
            }
        }
        sleep(backoff.next_pause()).await;
    }
}
