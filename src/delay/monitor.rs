//! Looks at the store regularly, also while nothing is stored or sent.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::record::Overview;
use super::retry::Work;
use super::{Store, put_off, retry};
use crate::clock::Clock;
use crate::event::shortened;
use crate::health::{Code, Health};

/// How often, and how long the store may take to answer.
const INTERVAL: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// From how long after their time on messages count as overdue. Those that were put off do at
/// once.
pub const GRACE: Duration = Duration::from_secs(10);

/// The most that clocks may differ without a word.
const CLOCKS: Duration = Duration::from_secs(1);

/// Bytes of a problem that are shown.
const SHOWN: usize = 300;

/// Looks at the store until the future is dropped: whether it answers, what is overdue, what
/// its clock says, whether it can be made smaller, and which exchanges nothing waits for. Tells the
/// store's health.
pub async fn watch(store: Store, clock: Clock) {
    // At once, because the clocks are to be compared before anything is sent.
    let mut ticks = interval_at(Instant::now(), INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        store.exchanges().on_time(clock.instant(), store.health());
        let looked = timeout(PATIENCE, look(&store, &clock)).await;
        let looked = looked.context("it does not answer").and_then(|looked| looked);
        store.stats().looked(looked.as_ref().ok());
        match looked {
            Ok(overview) => {
                retry::available(store.health(), Work::Look);
                report_overdue(store.health(), &overview);
            }
            Err(error) => {
                retry::unavailable(store.health(), store.stats(), Work::Look, &error);
            }
        }
    }
}

async fn look(store: &Store, clock: &Clock) -> Result<Overview> {
    let apart = store.compare_clocks().await?;
    report_clocks(store.health(), apart);
    let now = clock.now();
    // Nothing that was put off waits longer, unless a clock was wrong at the time.
    let latest = now.saturating_add(put_off::LONGEST_PAUSE * 2);
    let ended = store.end_pauses(latest, now).await?;
    if ended > 0 {
        tracing::warn!("a clock has jumped: {ended} delayed messages are tried again now");
    }
    store.shrink().await?;
    store.overview(now.saturating_sub(GRACE)).await
}

fn report_overdue(health: &Health, overview: &Overview) {
    match overview.overdue {
        0 => health.over(Code::Overdue, "delayed", "no delayed message is overdue any more"),
        // Without their number, so that the text changes with the problem alone.
        _ => {
            let shown =
                "delayed messages are overdue; `mo-router delayed list --overdue` shows them";
            let text = match &overview.problem {
                Some(problem) => format!("{shown}. One was put off: {}", shortened(problem, SHOWN)),
                None => shown.to_owned(),
            };
            health.report(Code::Overdue, "delayed", &text);
        }
    }
}

fn report_clocks(health: &Health, apart: Duration) {
    if apart > CLOCKS {
        health.report(
            Code::ClockWrong,
            "clock",
            "this machine's clock and that of the delay store's database differ by more than a second; \
             messages are sent by the database's: check NTP on both",
        );
    } else {
        health.over(Code::ClockWrong, "clock", "the clocks agree again");
    }
}
