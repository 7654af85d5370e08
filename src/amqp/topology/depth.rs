//! How many messages wait in a queue.

use std::time::Duration;

use anyhow::{Context, Result};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::Instant;

use super::errors::is_not_found;
use crate::amqp::answer::answered;
use crate::amqp::broker::Broker;
use crate::amqp::channel::{Channel, close_channel};
use crate::amqp::properties::short;

/// After how long RabbitMQ gives up asking a quorum queue for its depth. It then answers that
/// there are no messages and no consumers: `stat` in its `rabbit_quorum_queue.erl`.
const UNANSWERED: Duration = Duration::from_millis(250);

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
/// The broker is unreachable, or the queue does not tell its depth.
pub async fn depth(broker: &Broker, queue: &str) -> Result<Option<Depth>> {
    let answer = async {
        loop {
            let Some(seen) = ask(broker, queue).await? else { return Ok(None) };
            if let Some(depth) = seen.told() {
                return Ok(Some(depth));
            }
        }
    };
    answered(&format!("asking how many messages queue {queue:?} has"), answer).await
}

/// Whether there is such a queue.
///
/// # Errors
/// The broker is unreachable.
pub(super) async fn queue_exists(broker: &Broker, queue: &str) -> Result<bool> {
    Ok(ask(broker, queue).await?.is_some())
}

/// How many answers of [`depth_on`] in a row that no message is ready mean that none is on its way
/// either to the consumers on the same channel: a channel answers the first before it sends what it
/// had from the queue by then, and the second behind that, however long that takes.
pub const ANSWERS: usize = 2;

/// The depth of a queue that a channel consumes from. The answer comes behind what the broker has
/// sent on the channel.
///
/// # Errors
/// The connection is lost, or there is no such queue any more.
pub async fn depth_on(channel: &Channel, queue: &str) -> lapin::Result<Depth> {
    loop {
        if let Some(depth) = look(channel, queue).await?.told() {
            return Ok(depth);
        }
    }
}

/// What the broker says of a queue, and how long it took to say so.
struct Seen {
    depth: Depth,
    took: Duration,
}

impl Seen {
    /// The depth; none if the queue has not told it.
    fn told(self) -> Option<Depth> {
        let Self { depth, took } = self;
        // Nothing but the time tells an empty queue from one that has not answered.
        let is_told = took < UNANSWERED || depth.messages > 0 || depth.consumers > 0;
        is_told.then_some(depth)
    }
}

/// What the broker says of a queue; none if there is no such queue.
async fn ask(broker: &Broker, queue: &str) -> Result<Option<Seen>> {
    let channel = broker.declaring_channel().await?;
    let what = format!("inspecting queue {queue:?}");
    match answered(&what, async { Ok(look(&channel, queue).await) }).await? {
        Ok(seen) => {
            close_channel(channel).await;
            Ok(Some(seen))
        }
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error).context(what),
    }
}

async fn look(channel: &Channel, queue: &str) -> lapin::Result<Seen> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked = Instant::now();
    let queue = channel.queue_declare(short(queue), passive, FieldTable::default()).await?;
    let (messages, consumers) = (queue.message_count(), queue.consumer_count());
    Ok(Seen { depth: Depth { messages, consumers }, took: asked.elapsed() })
}
