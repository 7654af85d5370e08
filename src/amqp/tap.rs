//! Listening to an exchange, without affecting its other consumers.

use anyhow::{Context, Result};
use futures::StreamExt;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::answer::answered;
use super::broker::Broker;
use super::incoming::incoming;
use super::properties::short;
use super::topology;
use crate::event::Incoming;

/// A temporary queue bound to an exchange. The broker deletes it when the connection closes.
pub struct Tap {
    consumer: Consumer,
}

impl Tap {
    /// Listens for messages whose routing key matches `pattern`.
    ///
    /// # Errors
    /// The broker is unreachable or does not answer, or there is no such exchange.
    pub async fn open(broker: &Broker, exchange: &str, pattern: &str) -> Result<Self> {
        answered("listening", Self::consume(broker, exchange, pattern)).await
    }

    /// Takes messages out of a queue that somebody else has made for this: only the right to read
    /// from it is needed.
    ///
    /// # Errors
    /// The broker is unreachable or does not answer, or there is no such queue.
    pub async fn of_queue(broker: &Broker, queue: &str) -> Result<Self> {
        let what = format!("consuming from queue {queue:?}");
        let channel = broker.consuming_channel().await?;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consume =
            channel.basic_consume(short(queue), "".into(), options, FieldTable::default());
        let consumer = answered(&what, async { Ok(consume.await) }).await?;
        Ok(Self { consumer: consumer.map_err(|error| topology::refused(&what, error))? })
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
        Ok(Self { consumer })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The connection to the broker is lost.
    pub async fn next(&mut self) -> Result<Incoming> {
        let delivery = self.consumer.next().await.context("the broker ended the consumer")?;
        Ok(incoming(delivery.context("listening")?))
    }
}
