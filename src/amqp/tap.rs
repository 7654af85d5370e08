//! Listening to an exchange, without affecting its other consumers.

use anyhow::{Context, Result};
use futures::StreamExt;
use lapin::Consumer;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;

use super::answer::answered;
use super::broker::Broker;
use super::channel::Channel;
use super::incoming::incoming;
use super::properties::short;
use super::topology;
use crate::event::Incoming;

/// A temporary queue bound to an exchange. The broker deletes it when the connection closes.
pub struct Tap {
    channel: Channel,
    consumer: Consumer,
    /// The delivery tag of the message that was given last, which is to be acknowledged; none where
    /// the queue is the tap's own.
    given: Option<u64>,
}

/// How many messages of a queue are given to a tap before it takes the first.
const AHEAD: u16 = 100;

impl Tap {
    /// Listens for messages whose routing key matches `pattern`.
    ///
    /// # Errors
    /// The broker is unreachable or does not answer, or there is no such exchange.
    pub async fn open(broker: &Broker, exchange: &str, pattern: &str) -> Result<Self> {
        answered("listening", Self::consume(broker, exchange, pattern)).await
    }

    /// Takes messages out of a queue that somebody else has made for this, each once
    /// [`Tap::took`] says so: only the right to read from it is needed.
    ///
    /// # Errors
    /// The broker is unreachable or does not answer, or there is no such queue.
    pub async fn of_queue(broker: &Broker, queue: &str) -> Result<Self> {
        let what = format!("consuming from queue {queue:?}");
        let channel = broker.consuming_channel().await?;
        let consume = async {
            channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(short(queue), "".into(), options, arguments).await
        };
        let consumer = answered(&what, async { Ok(consume.await) }).await?;
        let consumer = consumer.map_err(|error| topology::refused(&what, error))?;
        Ok(Self { channel, consumer, given: Some(0) })
    }

    async fn consume(broker: &Broker, exchange: &str, pattern: &str) -> Result<Self> {
        topology::find_exchange(broker, exchange).await?;
        let channel = broker.consuming_channel().await?;
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let declared = channel.queue_declare("".into(), options, FieldTable::default()).await;
        let queue = declared
            .map_err(|error| topology::refused("declaring a queue to listen with", error))?;
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                short(exchange),
                short(pattern),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| {
                let what = format!("binding to exchange {exchange:?} with {pattern:?}");
                topology::refused(&what, error)
            })?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
        let consumer =
            channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
        Ok(Self { channel, consumer, given: None })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The connection to the broker is lost.
    pub async fn next(&mut self) -> Result<Incoming> {
        let delivery = self.consumer.next().await.context("the broker ended the consumer")?;
        let delivery = delivery.context("listening")?;
        if let Some(tag) = &mut self.given {
            *tag = delivery.delivery_tag;
        }
        Ok(incoming(delivery))
    }

    /// What was given last has been taken. It comes again if the connection is lost before.
    pub async fn took(&self) {
        if let Some(tag) = self.given {
            // A lost connection is noticed where the next message is waited for.
            let _ = self.channel.basic_ack(tag, BasicAckOptions::default()).await;
        }
    }
}
