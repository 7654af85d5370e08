//! A name that one connection at a time has: how several routers agree on who does a thing.

use anyhow::{Result, anyhow};
use futures::StreamExt;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::answer::answered;
use super::broker::Broker;
use super::channel::{Channel, close_channel};
use super::properties::short;
use super::topology::{is_locked, queue_name, refused};

/// A name that nobody else has: an exclusive queue. The broker deletes it when it is released or
/// the connection ends, however that ends.
pub struct Claim {
    channel: Channel,
    consumer: Consumer,
}

impl Claim {
    /// Claims the name of something, if nobody else has it.
    ///
    /// # Errors
    /// The broker is unreachable or does not answer, or does not permit the queue.
    pub async fn try_take(broker: &Broker, of: &str) -> Result<Option<Self>> {
        let name = &queue_name(broker, of);
        let channel = broker.consuming_channel().await?;
        let what = format!("declaring queue {name:?}");
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let declare = channel.queue_declare(short(name), options, FieldTable::default());
        match answered(&what, async { Ok(declare.await) }).await? {
            Ok(_) => {}
            Err(error) if is_locked(&error) => return Ok(None),
            Err(error) => return Err(refused(&what, error)),
        }
        // Only what is consumed from can be noticed to end.
        let options = BasicConsumeOptions { exclusive: true, no_ack: true, ..Default::default() };
        let consume = channel.basic_consume(short(name), "".into(), options, FieldTable::default());
        let what = format!("consuming from queue {name:?}");
        let consumer = answered(&what, async { Ok(consume.await) }).await?;
        let consumer = consumer.map_err(|error| refused(&what, error))?;
        Ok(Some(Self { channel, consumer }))
    }

    /// Waits until the name is lost, and says why. Nothing is lost when the future is dropped.
    pub async fn lost(&mut self) -> anyhow::Error {
        loop {
            match self.consumer.next().await {
                // Nobody has business to send anything here.
                Some(Ok(_)) => {}
                Some(Err(error)) => return anyhow!(error).context("the claim is lost"),
                None => return anyhow!("the claim is lost: the broker ended the consumer"),
            }
        }
    }

    /// Gives the name up.
    pub async fn release(self) {
        close_channel(self.channel).await;
    }
}
