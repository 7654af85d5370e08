//! The exchange and the queue of dead letters.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::errors::{exchange_error, queue_error};
use crate::amqp::broker::{Broker, close_channel};
use crate::amqp::properties::table_to_amqp;
use crate::event::Value;

/// The exchange and the queue of dead letters.
pub const DEAD: &str = "mo-router.dead";

/// Declares the exchange and the queue of dead letters.
///
/// # Errors
/// The broker is unreachable, or they exist with other properties.
pub async fn declare_dead_letters(broker: &Broker) -> Result<()> {
    let channel = broker.declaring_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(DEAD.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await
        .map_err(|error| exchange_error(DEAD, error))?;
    channel
        .queue_declare(
            DEAD.into(),
            QueueDeclareOptions { durable: true, ..Default::default() },
            table_to_amqp(&dead_letter_arguments()),
        )
        .await
        .map_err(|error| queue_error(DEAD, error))?;
    channel
        .queue_bind(
            DEAD.into(),
            DEAD.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .context("binding the queue of dead letters")?;
    close_channel(channel).await;
    Ok(())
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
