//! What becomes of a plugin whose file is gone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Fleet, Transport};
use crate::amqp::{Broker, topology};
use crate::backoff::{Backoff, Policy};
use crate::router::State;

/// The pauses before bindings that could not be undone are tried again.
const UNBINDING: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(30));

/// The first pause before the broker is asked again who consumes, and the last.
const NOTICING: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1600));

/// A plugin whose file is gone, and what it has at the broker still.
struct Retired {
    name: String,
    bound: Vec<String>,
    /// Cancelled when its last session has given back what it held.
    ended: Option<CancellationToken>,
    /// Cancelled when its file is back, or the router stops.
    back: CancellationToken,
}

impl Fleet {
    /// Stops a plugin whose file is gone. Its bindings go, its queue stays for a
    /// while.
    pub(super) fn remove(self: &Arc<Self>, name: &str) {
        let mut members = self.members();
        let Some(member) = members.get_mut(name) else { return };
        (member.stale, member.tried) = (None, None);
        let Some(running) = member.running.take() else {
            // What was there was never a plugin; but one may have been before it.
            if member.removed.is_none() {
                members.remove(name);
            }
            return;
        };
        running.stop.cancel();
        member.removed = Some(self.clock.now());
        let Transport::Amqp(broker) = &self.transport else { return };
        let back = self.stop.child_token();
        member.back = Some(back.clone());
        // A file that comes back waits until nothing is being taken away any more.
        let retired = CancellationToken::new();
        let ended = member.ended.replace(retired.clone());
        let plugin = Retired {
            name: name.to_owned(),
            bound: member.bound.iter().cloned().collect(),
            ended,
            back,
        };
        let (fleet, broker) = (Arc::clone(self), Arc::clone(broker));
        tokio::spawn(async move {
            let _retired = retired.drop_guard();
            fleet.retire(&broker, plugin).await;
        });
    }

    /// Takes from the broker what a removed plugin has there: its bindings at once,
    /// its queue when its time has come; unless its file comes back.
    async fn retire(&self, broker: &Broker, plugin: Retired) {
        if let Some(ended) = &plugin.ended {
            ended.cancelled().await;
        }
        unbind(broker, &plugin).await;
        let waited = async {
            tokio::time::sleep(self.keep_queue()).await;
            broker.reachable().await;
        };
        if plugin.back.run_until_cancelled(waited).await.is_none() {
            return;
        }
        let name = &plugin.name;
        match topology::delete_queue(broker, name).await {
            Ok(messages) => {
                // None if a person has deleted it.
                warn!(plugin = name, messages, "the queue of a removed plugin is deleted");
                self.forgotten(&plugin);
            }
            Err(error) => {
                warn!(plugin = name, "the queue of a removed plugin stays: {error:#}");
            }
        }
    }

    /// Nothing is left of a plugin; but there may be a file that cannot be loaded.
    fn forgotten(&self, plugin: &Retired) {
        let mut members = self.members();
        // It may have come back this very moment.
        if plugin.back.is_cancelled() {
            return;
        }
        if let Some(member) = members.get_mut(&plugin.name) {
            member.removed = None;
            member.stats.set_state(State::Waiting, None);
            if member.stale.is_none() {
                members.remove(&plugin.name);
            }
        }
    }
}

/// Undoes a removed plugin's bindings, for as long as it takes: until then its
/// queue goes on filling. Another router that consumes from the queue keeps them; the
/// last one whose file goes undoes them.
async fn unbind(broker: &Broker, plugin: &Retired) {
    let (name, mut backoff) = (&plugin.name, Backoff::new(UNBINDING));
    loop {
        let looking = async {
            broker.reachable().await;
            is_used(broker, name).await
        };
        let Some(used) = plugin.back.run_until_cancelled(looking).await else { return };
        let unbound = match used {
            Ok(true) => {
                info!(plugin = name, "plugin removed here; another router runs it still");
                return;
            }
            Ok(false) => topology::unbind(broker, name, &plugin.bound).await,
            Err(error) => Err(error),
        };
        let Err(error) = unbound else {
            info!(plugin = name, "plugin removed; its queue keeps what is in it");
            return;
        };
        let pause = backoff.next_pause();
        warn!(
            plugin = name,
            retry_in = ?pause,
            "plugin removed, but its bindings are still there: {error:#}"
        );
        plugin.back.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Whether someone consumes from a plugin's queue, though this router no longer
/// does: that takes the broker a moment to notice.
async fn is_used(broker: &Broker, plugin: &str) -> Result<bool> {
    let queue = topology::queue_name(broker, plugin);
    let (mut pause, longest) = NOTICING;
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
