//! What becomes of a plugin whose file is gone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tracing::{info, warn};

use super::Fleet;
use super::life::{Life, Retirement};
use super::member::Member;
use crate::amqp::{Broker, topology};
use crate::backoff::{Backoff, Policy};
use crate::router::State;

/// The pauses before bindings that could not be undone are tried again.
const UNBIND_PAUSES: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(30));

/// The first pause before the broker is asked again who consumes, and the longest.
const CONSUMER_PAUSES: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_millis(1600));

impl Fleet {
    /// Stops a plugin whose file is gone. Its queue is unbound, and kept for a while.
    pub(super) fn remove(self: &Arc<Self>, name: &str) {
        let remove = |life: Life| life.remove(self.clock.now(), &self.stop);
        if let Some(Some(retirement)) = self.advance(name, remove) {
            let (fleet, name) = (Arc::clone(self), name.to_owned());
            tokio::spawn(async move { fleet.retire(&name, retirement).await });
        }
    }

    /// Cleans up at the broker after a removed plugin: undoes its bindings at once, and
    /// deletes its queue when it has been kept for long enough. Ends early if a file
    /// with its name returns.
    async fn retire(&self, name: &str, retirement: Retirement) {
        retirement.sessions_ended.cancelled().await;
        let Some(broker) = self.endpoints.broker() else { return };
        unbind(broker, name, &retirement).await;
        let kept = async {
            tokio::time::sleep(self.keep_queue()).await;
            broker.reachable().await;
        };
        if retirement.returned.run_until_cancelled(kept).await.is_none() {
            return;
        }
        match topology::delete_queue(broker, name).await {
            Ok(messages) => {
                // None if a person has deleted it.
                warn!(plugin = name, messages, "the queue of a removed plugin is deleted");
                self.advance(name, |life| (life.forget(&retirement), ()));
            }
            Err(error) => {
                warn!(plugin = name, "the queue of a removed plugin cannot be deleted: {error:#}");
            }
        }
    }

    /// Moves a plugin on in its life; off the list, if nothing is left of it.
    fn advance<T>(
        &self,
        name: &str,
        transition: impl FnOnce(Life) -> (Option<Life>, T),
    ) -> Option<T> {
        let mut members = self.members();
        let Member { life, stats } = members.remove(name)?;
        let (life, result) = transition(life);
        if let Some(life) = life {
            if matches!(life, Life::Refused(_)) {
                stats.set_state(State::Waiting, None);
            }
            members.insert(name.to_owned(), Member { life, stats });
        }
        Some(result)
    }
}

/// Undoes a removed plugin's bindings and keeps trying: until it succeeds, the queue
/// keeps filling. While another router consumes from the queue, the bindings stay; the
/// last router whose file is removed undoes them.
async fn unbind(broker: &Broker, name: &str, retirement: &Retirement) {
    let mut backoff = Backoff::new(UNBIND_PAUSES);
    loop {
        let asking = async {
            broker.reachable().await;
            has_consumers(broker, name).await
        };
        let Some(used) = retirement.returned.run_until_cancelled(asking).await else { return };
        let unbound = match used {
            Ok(true) => {
                info!(plugin = name, "plugin removed here; another router still runs it");
                return;
            }
            Ok(false) => topology::unbind(broker, name, &retirement.bound).await,
            Err(error) => Err(error),
        };
        let Err(error) = unbound else {
            info!(plugin = name, "plugin removed; its queue keeps its messages");
            return;
        };
        let pause = backoff.next_pause();
        warn!(
            plugin = name,
            retry_in = ?pause,
            "plugin removed, but its bindings are still there: {error:#}"
        );
        retirement.returned.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Whether someone consumes from a plugin's queue. This router does not any more, but
/// the broker takes a moment to notice.
async fn has_consumers(broker: &Broker, plugin: &str) -> Result<bool> {
    let queue = topology::queue_name(broker, plugin);
    let (mut pause, longest) = CONSUMER_PAUSES;
    loop {
        let depth = topology::depth(broker, &queue).await?;
        let used = depth.is_some_and(|depth| depth.consumers > 0);
        if !used || pause > longest {
            return Ok(used);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}
