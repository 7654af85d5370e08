//! Queues, exchanges and bindings: what there must be at the broker.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind, ExchangeKind};
use tracing::debug;

use super::broker::Broker;
use super::properties::{short, table_to_amqp};
use crate::event::Value;
use crate::settings::{Declare, QueueType};

/// The exchange and the queue of dead letters.
pub const DEAD: &str = "mo-router.dead";

/// RabbitMQ's reply code for what does not exist.
const NOT_FOUND: u16 = 404;
/// RabbitMQ's reply code for what exists with other properties.
const PRECONDITION_FAILED: u16 = 406;
/// RabbitMQ's reply code for what the user may not do.
const ACCESS_REFUSED: u16 = 403;

/// The queue of one plugin.
pub struct PluginQueue<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The topic patterns that it asks for.
    pub subscriptions: &'a [String],
    /// Whether only one router at a time consumes from it.
    pub single_active_consumer: bool,
}

/// The name of a plugin's queue.
pub fn queue_name(broker: &Broker, plugin: &str) -> String {
    format!("{}.{plugin}", broker.settings().queue_prefix)
}

/// Makes all that a plugin consumes from: the source exchange, the dead-letter
/// exchange and queue, the plugin's queue and its bindings.
///
/// # Errors
/// The broker is away, or something exists otherwise than the settings say.
pub async fn declare(broker: &Broker, queue: &PluginQueue<'_>) -> Result<()> {
    declare_dead_letters(broker).await?;
    exchange(broker, &broker.settings().exchange).await?;
    let name = queue_name(broker, queue.plugin);
    let channel = broker.consuming_channel().await?;
    channel
        .queue_declare(
            short(&name),
            QueueDeclareOptions { durable: true, ..Default::default() },
            table_to_amqp(&queue_arguments(broker, queue)),
        )
        .await
        .map_err(|error| queue_error(&name, error))?;
    bind(broker, queue.plugin, queue.subscriptions).await
}

/// What a plugin's queue is declared with. A message whose delivery keeps taking
/// the router down ends in the dead-letter exchange, never in nothing.
fn queue_arguments(broker: &Broker, queue: &PluginQueue<'_>) -> BTreeMap<String, Value> {
    let settings = broker.settings();
    let mut arguments: BTreeMap<String, Value> = BTreeMap::from([
        ("x-dead-letter-exchange".into(), DEAD.into()),
        ("x-dead-letter-routing-key".into(), queue.plugin.into()),
    ]);
    match settings.queue_type {
        QueueType::Classic => {
            arguments.insert("x-queue-type".into(), "classic".into());
        }
        QueueType::Quorum => arguments.extend([
            ("x-queue-type".into(), "quorum".into()),
            ("x-delivery-limit".into(), i64::from(settings.delivery_limit).into()),
            // At least once needs the queue to refuse rather than to drop.
            ("x-dead-letter-strategy".into(), "at-least-once".into()),
            ("x-overflow".into(), "reject-publish".into()),
        ]),
    }
    if queue.single_active_consumer {
        arguments.insert("x-single-active-consumer".into(), Value::Bool(true));
    }
    arguments
}

/// Binds a plugin's queue to the source exchange with each of the patterns.
///
/// # Errors
/// The broker is away, or the queue or the exchange does not exist.
pub async fn bind(broker: &Broker, plugin: &str, patterns: &[String]) -> Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    let queue = queue_name(broker, plugin);
    let exchange = &broker.settings().exchange;
    let channel = broker.consuming_channel().await?;
    for pattern in patterns {
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                short(&queue),
                short(exchange),
                short(pattern),
                options,
                FieldTable::default(),
            )
            .await
            .with_context(|| {
                format!("binding queue {queue:?} to exchange {exchange:?} with {pattern:?}")
            })?;
    }
    close(channel).await;
    Ok(())
}

/// Undoes [`bind`].
///
/// # Errors
/// The broker is away.
pub async fn unbind(broker: &Broker, plugin: &str, patterns: &[String]) -> Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    let queue = queue_name(broker, plugin);
    let exchange = &broker.settings().exchange;
    let channel = broker.consuming_channel().await?;
    for pattern in patterns {
        channel
            .queue_unbind(short(&queue), short(exchange), short(pattern), FieldTable::default())
            .await
            .with_context(|| {
                format!("unbinding queue {queue:?} from exchange {exchange:?} with {pattern:?}")
            })?;
    }
    close(channel).await;
    Ok(())
}

/// Deletes a plugin's queue if nobody consumes from it, and its bindings with it;
/// gives the number of messages that were in it. None if there is no such queue.
///
/// # Errors
/// The broker is away, or the queue is in use.
pub async fn delete_queue(broker: &Broker, plugin: &str) -> Result<Option<u32>> {
    let queue = queue_name(broker, plugin);
    // Quorum queues do not know `if-unused`: asked for, it ends the connection.
    let Some(depth) = depth(broker, &queue).await? else { return Ok(None) };
    if depth.consumers > 0 {
        bail!("queue {queue:?} is in use by another router");
    }
    let channel = broker.consuming_channel().await?;
    let messages = channel
        .queue_delete(short(&queue), QueueDeleteOptions::default())
        .await
        .with_context(|| format!("deleting queue {queue:?}"))?;
    close(channel).await;
    Ok(Some(messages))
}

/// What is in a queue, and who takes from it.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Messages that wait, without those that are with a consumer.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

/// Looks at a queue; none if there is no such queue.
///
/// # Errors
/// The broker is away.
pub async fn depth(broker: &Broker, queue: &str) -> Result<Option<Depth>> {
    let channel = broker.consuming_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    match channel.queue_declare(short(queue), passive, FieldTable::default()).await {
        Ok(queue) => {
            close(channel).await;
            Ok(Some(Depth { messages: queue.message_count(), consumers: queue.consumer_count() }))
        }
        Err(error) if reply_code(&error) == Some(NOT_FOUND) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("looking at queue {queue:?}")),
    }
}

/// Makes the exchange and the queue of dead letters.
///
/// # Errors
/// The broker is away, or they exist otherwise.
pub async fn declare_dead_letters(broker: &Broker) -> Result<()> {
    let channel = broker.consuming_channel().await?;
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
    close(channel).await;
    Ok(())
}

/// Replicated like the plugins' queues. Looking at a dead letter is a delivery of
/// it, so the limit after which RabbitMQ 4 drops a message is set out of reach.
fn dead_letter_arguments() -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("x-queue-type".into(), "quorum".into()),
        ("x-delivery-limit".into(), i64::from(i32::MAX).into()),
        ("x-overflow".into(), "reject-publish".into()),
    ])
}

/// Sees to it that an exchange can be used: declares it, or looks whether it is
/// there, as `[amqp] declare` says.
///
/// # Errors
/// The broker is away; or an error that [`is_lasting`], with the mend in it.
pub async fn exchange(broker: &Broker, name: &str) -> Result<()> {
    // The default exchange and the broker's own always exist and cannot be declared.
    if name.is_empty() {
        return Ok(());
    }
    let passive = broker.settings().declare == Declare::Passive || name.starts_with("amq.");
    declare_exchange(broker, name, passive).await?.map_err(|error| exchange_error(name, error))
}

/// Makes exchanges that are going to be published to, if the settings say so: people
/// can then bind to them before the first message. What cannot be declared is told
/// of when it is published to.
pub async fn declare_exchanges(broker: &Broker, names: &[String]) {
    if broker.settings().declare == Declare::Passive {
        return;
    }
    for name in names {
        if let Err(error) = exchange(broker, name).await {
            debug!("{error:#}");
        }
    }
}

/// Looks whether an exchange is there, and declares nothing.
///
/// # Errors
/// The broker is away, or there is no such exchange.
pub async fn find_exchange(broker: &Broker, name: &str) -> Result<()> {
    match declare_exchange(broker, name, true).await? {
        Err(error) if reply_code(&error) == Some(NOT_FOUND) => bail!(
            "exchange {name:?} does not exist at {}: is that its name, and does a router run?",
            broker.settings().url
        ),
        declared => declared.map_err(|error| exchange_error(name, error)),
    }
}

/// Declares an exchange, or looks whether it is there; says what the broker says. On a
/// channel of its own, because the broker closes the channel of a refused declaration.
async fn declare_exchange(
    broker: &Broker,
    name: &str,
    passive: bool,
) -> Result<Result<(), lapin::Error>> {
    let channel = broker.consuming_channel().await?;
    let options = ExchangeDeclareOptions { passive, durable: !passive, ..Default::default() };
    let declared = channel
        .exchange_declare(short(name), ExchangeKind::Topic, options, FieldTable::default())
        .await;
    if declared.is_ok() {
        close(channel).await;
    }
    Ok(declared)
}

/// Why something at the broker cannot be used until a person mends it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lasting(String);

/// Whether waiting for the broker does not help against `error`.
pub fn is_lasting(error: &anyhow::Error) -> bool {
    error.is::<Lasting>()
}

fn exchange_error(name: &str, error: lapin::Error) -> anyhow::Error {
    match reply_code(&error) {
        Some(NOT_FOUND) => Lasting(format!(
            "exchange {name:?} does not exist: create it, or let the router do so with \
             [amqp] declare = \"durable\""
        ))
        .into(),
        Some(PRECONDITION_FAILED) => Lasting(format!(
            "exchange {name:?} exists, but is not a durable topic exchange ({error}): \
             use it as it is with [amqp] declare = \"passive\""
        ))
        .into(),
        Some(ACCESS_REFUSED) => Lasting(format!(
            "the user in [amqp] url may not use exchange {name:?} ({error}): grant it the right"
        ))
        .into(),
        _ => anyhow!(error).context(format!("declaring exchange {name:?}")),
    }
}

fn queue_error(name: &str, error: lapin::Error) -> anyhow::Error {
    match reply_code(&error) {
        Some(PRECONDITION_FAILED) => Lasting(format!(
            "queue {name:?} exists with other properties than the settings give it ({error}): \
             set [amqp] queue_type, delivery_limit and single_active_consumer as they were, or let \
             the queue run empty and delete it"
        ))
        .into(),
        _ => anyhow!(error).context(format!("declaring queue {name:?}")),
    }
}

fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Closes a channel that has served; that it may be closed already is no matter.
pub(super) async fn close(channel: Channel) {
    let _ = channel.close(200, "done".into()).await;
}
