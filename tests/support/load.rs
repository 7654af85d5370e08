//! Events that keep coming while something is killed.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::scene::MO;
use super::traffic::{Client, Event};

/// How many events are sent before their confirms are waited for.
const BATCH: u64 = 100;

/// Publishes events 0, 1, 2, … until it is stopped, through crashes of the broker: what
/// was not confirmed is sent again.
pub struct Load {
    stop: CancellationToken,
    publishing: JoinHandle<u64>,
}

impl Load {
    /// Begins to publish what `event` makes of each number, from `first` on, at most so
    /// many a second.
    pub fn start(url: &str, first: u64, per_second: u64, event: fn(u64) -> Event) -> Self {
        let stop = CancellationToken::new();
        let pause = Duration::from_secs(1) * BATCH as u32 / per_second as u32;
        let publishing = publish(url.to_owned(), first, pause, event, stop.clone());
        Self { stop, publishing: tokio::spawn(publishing) }
    }

    /// Publishes one more batch, so that there are events after whatever happened until
    /// now, and returns the number that the next event would have.
    pub async fn stop(self) -> u64 {
        self.stop.cancel();
        super::within_reason("the last confirms", self.publishing).await.unwrap()
    }
}

async fn publish(
    url: String,
    mut next: u64,
    pause: Duration,
    event: fn(u64) -> Event,
    stop: CancellationToken,
) -> u64 {
    let mut client = Client::connect(&url).await;
    let mut tick = tokio::time::interval(pause);
    // What an outage held up is not made up for.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let is_last = stop.is_cancelled();
        while client.try_publish(MO, (next..next + BATCH).map(event)).await.is_err() {
            client = Client::connect(&url).await;
        }
        next += BATCH;
        if is_last {
            return next;
        }
    }
}
