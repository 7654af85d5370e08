//! What becomes of a plugin whose file is gone.

use std::sync::Arc;

use tracing::{info, warn};

use super::{Fleet, Transport};
use crate::amqp::topology;
use crate::event::Datetime;
use crate::router::State;

impl Fleet {
    /// Stops a plugin whose file is gone. Its bindings go, its queue stays for a
    /// while.
    pub(super) async fn remove(self: &Arc<Self>, name: &str) {
        let now = self.clock.now();
        let version = {
            let mut members = self.members();
            let Some(member) = members.get_mut(name) else { return };
            let version = member.version();
            (member.stale, member.tried) = (None, None);
            let Some(running) = member.running.take() else {
                // What was there was never a plugin; but one may have been before it.
                if member.removed.is_none() {
                    members.remove(name);
                }
                return;
            };
            running.stop.cancel();
            member.removed = Some(now);
            version
        };
        let (Transport::Amqp(broker), Some(version)) = (&self.transport, version) else { return };
        match topology::unbind(broker, name, version.subscriptions()).await {
            Ok(()) => info!(plugin = name, "plugin removed; its queue keeps what is in it"),
            Err(error) => warn!(
                plugin = name,
                "plugin removed; its queue keeps what is in it and goes on filling, since its \
                 bindings stay: {error:#}"
            ),
        }
        tokio::spawn(Arc::clone(self).forget(name.to_owned(), now));
    }

    /// Deletes the queue of a plugin that was removed, when its time has come and
    /// the plugin has not come back meanwhile.
    async fn forget(self: Arc<Self>, name: String, removed: Datetime) {
        tokio::time::sleep(self.keep_queue()).await;
        let Transport::Amqp(broker) = &self.transport else { return };
        broker.reachable().await;
        if self.members().get(&name).is_none_or(|member| member.removed != Some(removed)) {
            return;
        }
        match topology::delete_queue(broker, &name).await {
            Ok(messages) => {
                warn!(plugin = name, messages, "the queue of a removed plugin is deleted");
                self.forgotten(&name);
            }
            Err(error) => {
                warn!(plugin = name, "the queue of a removed plugin stays: {error:#}");
            }
        }
    }

    /// Nothing is left of a plugin; but there may be a file that cannot be loaded.
    fn forgotten(&self, name: &str) {
        let mut members = self.members();
        if let Some(member) = members.get_mut(name) {
            member.removed = None;
            member.stats.set_state(State::Waiting, None);
            if member.stale.is_none() {
                members.remove(name);
            }
        }
    }
}
