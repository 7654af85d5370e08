//! Work that must go on: a fault of the router's own ends one attempt at it, not the work.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::backoff::{Backoff, Policy};
use crate::health::{Code, Health};

/// How long an attempt must last before the trouble of the last one counts as over.
const WORKS_AGAIN: Duration = Duration::from_secs(2);

/// Work whose panic is its error: a fault of the router's own must not end what
/// runs the work again. Where it happened has been reported there.
///
/// # Errors
/// The work's own, or its panic.
pub async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let caught = AssertUnwindSafe(work).catch_unwind().await;
    caught.unwrap_or_else(|panic| Err(anyhow!("{}", fault(&*panic))))
}

/// What to say of a panic.
pub fn fault(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a fault of the router's own: {}", text.unwrap_or("a panic"))
}

/// Where people see that some work fails.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The health that it is reported to.
    pub health: Health,
    /// The kind of trouble.
    pub code: Code,
    /// The work.
    pub subject: &'static str,
    /// What does not happen while it fails.
    pub meaning: &'static str,
    /// What to say when it works again.
    pub again: &'static str,
    /// Whether an error is another trouble than this one, which has been reported where it is.
    pub elsewhere: fn(&anyhow::Error) -> bool,
}

/// Does some work until it is done, attempt by attempt.
#[derive(Debug)]
pub struct Keeper {
    shown: Shown,
    backoff: Backoff,
    stop: CancellationToken,
}

impl Keeper {
    /// Pauses between attempts grow by `policy`. When `stop` is cancelled, there is no further
    /// attempt after one that fails; during an attempt, stopping is up to the work.
    pub fn new(shown: Shown, policy: Policy, stop: CancellationToken) -> Self {
        Self { shown, backoff: Backoff::new(policy), stop }
    }

    /// Makes one attempt, and a pause if it ends in an error or a panic. Returns whether
    /// another one is needed.
    pub async fn attempt(&mut self, work: impl Future<Output = Result<()>>) -> bool {
        let begun = Instant::now();
        let mut work = pin!(caught(work));
        // What is dropped at the timeout is a reference to the work, which goes on.
        let ended = match tokio::time::timeout(WORKS_AGAIN, &mut work).await {
            Ok(ended) => ended,
            Err(_) => {
                self.works();
                work.await
            }
        };
        self.backoff.worked_for(begun.elapsed());
        let Err(error) = ended else {
            self.works();
            return false;
        };
        let Shown { health, code, subject, meaning, elsewhere, .. } = &self.shown;
        match elsewhere(&error) {
            true => warn!("{meaning} for the moment: {error:#}"),
            false => health.report(*code, subject, &format!("{meaning}: {error:#}")),
        }
        let pause = tokio::time::sleep(self.backoff.next_pause());
        self.stop.run_until_cancelled(pause).await.is_some()
    }

    fn works(&self) {
        let Shown { health, code, subject, again, .. } = &self.shown;
        health.over(*code, subject, again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(8));

    fn keeper(health: &Health) -> Keeper {
        let shown = Shown {
            health: health.clone(),
            code: Code::StoreUnavailable,
            subject: "scheduler",
            meaning: "nothing is published",
            again: "it works again",
            elsewhere: |error| error.to_string().contains("broker"),
        };
        Keeper::new(shown, POLICY, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let panics = async { if true { panic!("of {}", "the test") } else { Ok(()) } };
        let error = caught(panics).await.unwrap_err();
        assert_eq!(error.to_string(), "a fault of the router's own: of the test");
        assert_eq!(caught(async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_is_done_again_and_people_see_it_meanwhile() {
        let health = Health::default();
        let mut keeper = keeper(&health);
        let work = async {
            let mut attempts = 0;
            let mut attempt = async || {
                attempts += 1;
                match attempts {
                    1 => panic!("of the test"),
                    2 => anyhow::bail!("the store is away"),
                    _ => std::future::pending().await,
                }
            };
            while keeper.attempt(attempt()).await {}
        };
        let mut work = pin!(work);
        let mut seen = Vec::new();
        for _ in 0..20 {
            let _ = tokio::time::timeout(Duration::from_millis(500), &mut work).await;
            let now = health.reasons().pop().map(|reason| reason.text);
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        let fault = "nothing is published: a fault of the router's own: of the test";
        let away = "nothing is published: the store is away";
        assert_eq!(seen, [Some(fault.into()), Some(away.into()), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_reported_elsewhere_is_tried_again_and_is_no_trouble_of_this_work() {
        let health = Health::default();
        let mut keeper = keeper(&health);
        assert!(keeper.attempt(async { anyhow::bail!("the broker is away") }).await);
        assert_eq!(health.reasons(), []);
        assert!(keeper.attempt(async { anyhow::bail!("the store is away") }).await);
        // Nor is it the end of what was wrong.
        assert!(keeper.attempt(async { anyhow::bail!("the broker is away") }).await);
        assert_eq!(health.reasons().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_pause() {
        let health = Health::default();
        let mut keeper = keeper(&health);
        keeper.stop.cancel();
        assert!(!keeper.attempt(async { anyhow::bail!("of the test") }).await);
        assert_eq!(health.reasons().len(), 1);
    }
}
