//! What a plugin's sessions need at the broker.

use std::sync::Arc;

use anyhow::Result;

use crate::amqp::{Broker, Inbox, Outbox, topology};
use crate::plugins::Plugin;
use crate::router::{Connector, Version};

pub(super) use crate::router::{STABLE, caught, supervise};

impl Connector<Plugin> for Arc<Broker> {
    type Inbox = Inbox;
    type Outbox = Outbox;

    async fn reachable(&self) {
        Broker::reachable(self).await;
    }

    async fn open(&self, version: &Version, deliveries: usize) -> Result<(Inbox, Outbox)> {
        let plugin = &version.plugin.name;
        let queue = topology::PluginQueue {
            plugin,
            subscriptions: version.subscriptions(),
            single_active_consumer: version.settings.single_active_consumer,
        };
        topology::declare(self, &queue).await?;
        topology::declare_exchanges(self, &version.settings.exchanges).await;
        let outbox = Outbox::open(Arc::clone(self)).await?;
        // AMQP counts in 16 bits.
        let prefetch = u16::try_from(deliveries).unwrap_or(u16::MAX);
        Ok((Inbox::open(self, plugin, prefetch).await?, outbox))
    }
}
