//! Looking after what the plugins need at the broker: nobody tells the router that an
//! exchange was deleted, or a binding removed.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::debug;

use super::Fleet;
use crate::amqp::{Broker, topology};
use crate::daemon::supervisor::declare;
use crate::health::Code;

/// How soon to look again, at most, when something is known to be missing.
const RECHECK: Duration = Duration::from_secs(5);

impl Fleet {
    /// Declares all that the plugins need at the broker every `[amqp] check_interval`, for
    /// ever. What is there stays as it is; what cannot be declared is reported.
    pub async fn watch_topology(&self) {
        let Some(broker) = self.endpoints.broker() else { return };
        loop {
            let is_missing = [Code::ExchangeMissing, Code::BindingMissing, Code::NotPermitted]
                .into_iter()
                .any(|code| self.health.has(code));
            let interval = self.settings().amqp.check_interval;
            let pause = if is_missing { interval.min(RECHECK) } else { interval };
            tokio::time::sleep(pause).await;
            broker.reachable().await;
            let names: Vec<String> = self.members().keys().cloned().collect();
            for name in names {
                self.check(broker, &name).await;
            }
            topology::forget_exchanges_but(broker, &self.exchanges());
        }
    }

    /// What the plugins that run may publish to.
    fn exchanges(&self) -> BTreeSet<String> {
        let members = self.members();
        let running = members.values().filter_map(|member| member.life.running());
        running.flat_map(|running| running.version().settings.exchanges.clone()).collect()
    }

    async fn check(&self, broker: &Broker, name: &str) {
        let _topology = self.topology.lock().await;
        // Not before: it may have been removed or replaced meanwhile.
        let Some(version) = self.running(name, |running| running.version()) else { return };
        if let Err(error) = declare(broker, &version).await {
            // What people can do something about has been reported; the rest is a connection
            // that is lost, which the plugin's session notices.
            debug!(plugin = name, "checking what there is at the broker: {error:#}");
        }
    }
}
