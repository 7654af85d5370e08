//! How many messages wait in a queue.

use anyhow::{Context, Result};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::errors::is_not_found;
use crate::amqp::answer::answered;
use crate::amqp::broker::{Broker, close_channel};
use crate::amqp::properties::short;

/// How many messages a queue has, and how many consumers.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Messages that are ready, without those that are in flight to a consumer.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

/// The depth of a queue; none if there is no such queue.
///
/// # Errors
/// The broker is unreachable.
pub async fn depth(broker: &Broker, queue: &str) -> Result<Option<Depth>> {
    let channel = broker.declaring_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let what = format!("inspecting queue {queue:?}");
    let inspect = channel.queue_declare(short(queue), passive, FieldTable::default());
    match answered(&what, async { Ok(inspect.await) }).await? {
        Ok(queue) => {
            close_channel(channel).await;
            Ok(Some(Depth { messages: queue.message_count(), consumers: queue.consumer_count() }))
        }
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error).context(what),
    }
}
