//! What a plugin's sessions need at the broker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::amqp::{Broker, Inbox, Outbox, Prefetch, topology};
use crate::plugins::Plugin;
use crate::router::{Connector, Limit, Version};

pub(super) use crate::keep::caught;
pub(super) use crate::router::{STABLE, supervise};

/// How long the broker may take to open what a session needs.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

impl Connector<Plugin> for Arc<Broker> {
    type Inbox = Inbox;
    type Outbox = Outbox;

    async fn reachable(&self) {
        Broker::reachable(self).await;
    }

    async fn open(
        &self,
        version: &Version,
        limit: Limit,
        at_first: usize,
    ) -> Result<(Inbox, Outbox)> {
        let opening = self.opening();
        declare(self, version).await?;
        let ends = async {
            let outbox = Outbox::open(Arc::clone(self)).await?;
            // AMQP counts in 16 bits.
            let most = u16::try_from(limit.deliveries).unwrap_or(u16::MAX);
            let prefetch = Prefetch::new(most, limit.bytes).beginning_with(at_first);
            let alone = version.settings.single_active_consumer;
            let inbox = Inbox::open(self, &version.plugin.name, prefetch, alone, opening).await?;
            Ok((inbox, outbox))
        };
        match tokio::time::timeout(OPEN_TIMEOUT, ends).await {
            Ok(ends) => ends,
            Err(_) => bail!("the broker has not answered within {OPEN_TIMEOUT:?}"),
        }
    }
}

/// Declares all that a version of a plugin needs at the broker. What is there already stays
/// as it is.
///
/// # Errors
/// The broker is unreachable or does not answer, or something exists with other properties.
pub(super) async fn declare(broker: &Broker, version: &Version) -> Result<()> {
    let queue = topology::PluginQueue {
        plugin: &version.plugin.name,
        subscriptions: version.subscriptions(),
        single_active_consumer: version.settings.single_active_consumer,
    };
    topology::declare(broker, &queue).await?;
    topology::declare_exchanges(broker, &version.settings.exchanges).await;
    Ok(())
}
