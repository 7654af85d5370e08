//! The exchange and the queue of dead letters.

use std::collections::BTreeMap;

use anyhow::Result;
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::Instant;

use super::depth::{depth, queue_exists};
use super::errors::{dead_letter_queue_error, exchange_error, refused};
use super::exchanges::exists;
use crate::amqp::answer::answered;
use crate::amqp::broker::Broker;
use crate::amqp::channel::{Channel, close_channel};
use crate::amqp::properties::table_to_amqp;
use crate::event::Value;

/// The exchange and the queue of dead letters.
pub const DEAD: &str = "mo-router.dead";

/// Declares the exchange and the queue of dead letters. With `[amqp] declare = "passive"`, those
/// that somebody else has made stay as they are.
///
/// # Errors
/// The broker is unreachable or does not answer, or they exist with other properties.
pub async fn declare_dead_letters(broker: &Broker) -> Result<()> {
    let is_passive = broker.settings().is_passive();
    if is_passive && exists(broker, DEAD).await? && queue_exists(broker, DEAD).await? {
        return Ok(());
    }
    answered("declaring the queue of dead letters", declare(broker)).await
}

async fn declare(broker: &Broker) -> Result<()> {
    let channel = broker.declaring_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(DEAD.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await
        .map_err(|error| exchange_error(DEAD, error))?;
    declare_queue(&channel).await.map_err(|error| dead_letter_queue_error(DEAD, error))?;
    channel
        .queue_bind(
            DEAD.into(),
            DEAD.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|error| refused("binding the queue of dead letters", error))?;
    close_channel(channel).await;
    Ok(())
}

async fn declare_queue(channel: &Channel) -> lapin::Result<()> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let arguments = table_to_amqp(&dead_letter_arguments());
    channel.queue_declare(DEAD.into(), options, arguments).await.map(drop)
}

/// Declares the queue of dead letters alone. The outer error is that of the channel, the inner one
/// the broker's answer.
pub(super) async fn try_declare_queue(broker: &Broker) -> Result<Result<(), lapin::Error>> {
    let channel = broker.declaring_channel().await?;
    let declare = async { Ok(declare_queue(&channel).await) };
    let declared = answered("declaring the queue of dead letters", declare).await?;
    if declared.is_ok() {
        close_channel(channel).await;
    }
    Ok(declared)
}

/// How many dead letters there are, with those that a command is looking at; none if there is
/// no queue for them.
///
/// # Errors
/// The broker is unreachable, or the queue does not tell how many it has.
pub async fn count_dead_letters(broker: &Broker) -> Result<Option<u32>> {
    let depth = depth(broker, DEAD).await?;
    let count = |ready, consumers| broker.dead_letters().count(ready, consumers, Instant::now());
    Ok(depth.map(|depth| count(depth.messages, depth.consumers)))
}

/// Why dead letters cannot be read.
pub fn dead_letters_error(error: lapin::Error) -> anyhow::Error {
    refused("reading the queue of dead letters", error)
}

/// A quorum queue, so that it is replicated. Listing a dead letter counts as a delivery, so
/// the limit after which RabbitMQ 4 drops a message is set out of reach.
fn dead_letter_arguments() -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("x-queue-type".into(), "quorum".into()),
        ("x-delivery-limit".into(), i64::from(i32::MAX).into()),
        ("x-overflow".into(), "reject-publish".into()),
    ])
}
