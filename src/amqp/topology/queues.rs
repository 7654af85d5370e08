//! The plugins' queues and their bindings.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use super::dead_letters::{DEAD, declare_dead_letters};
use super::depth::{depth, queue_exists};
use super::errors::{is_access_refused, is_permanent, queue_error, refused};
use super::exchanges::ensure_source;
use super::report::Report;
use crate::amqp::answer::answered;
use crate::amqp::broker::Broker;
use crate::amqp::channel::close_channel;
use crate::amqp::properties::{short, table_to_amqp};
use crate::event::Value;
use crate::health::Code;
use crate::settings::QueueType;

/// Of what the router that fetches MO's GraphQL events has the name. No plugin's name has a colon.
pub const BRIDGE: &str = "mo:bridge";

/// The queue of one plugin.
pub struct PluginQueue<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The topic patterns that it subscribes to.
    pub subscriptions: &'a [String],
    /// Whether only one router at a time may consume from it.
    pub single_active_consumer: bool,
}

/// The name of a plugin's queue.
pub fn queue_name(broker: &Broker, plugin: &str) -> String {
    format!("{}.{plugin}", broker.settings().queue_prefix)
}

/// Declares everything that a plugin consumes from: the source exchange, the dead-letter
/// exchange and queue, the plugin's queue and its bindings. What is there already stays as
/// it is. What the broker refuses is reported to its health.
///
/// # Errors
/// The broker is unreachable or does not answer, or something exists with other properties.
pub async fn declare(broker: &Broker, queue: &PluginQueue<'_>) -> Result<()> {
    let dead = answered("declaring the queue of dead letters", declare_dead_letters(broker)).await;
    match &dead {
        Ok(()) => broker.health().over(Code::NotPermitted, DEAD, "the broker permits it again"),
        Err(error) if is_permanent(error) => {
            broker.health().report(Code::NotPermitted, DEAD, &format!("{error:#}"));
        }
        // The connection is lost, which is reported where it is made again.
        Err(_) => {}
    }
    dead?;
    ensure_source(broker).await?;
    let name = queue_name(broker, queue.plugin);
    if !(broker.settings().is_passive() && queue_exists(broker, &name).await?) {
        declare_queue(broker, queue, &name).await?;
    }
    if queue.subscriptions.is_empty() {
        report(broker, &name).note_well();
    }
    bind(broker, queue.plugin, queue.subscriptions).await
}

/// Where to report what the broker says of a plugin's queue and its bindings.
fn report<'a>(broker: &'a Broker, queue: &'a str) -> Report<'a> {
    Report { broker, missing: Code::BindingMissing, subject: queue }
}

async fn declare_queue(broker: &Broker, queue: &PluginQueue<'_>, name: &str) -> Result<()> {
    let declared = try_declare(broker, queue, name).await?;
    report(broker, name).note_error(declared, |error| queue_error(name, error))
}

/// Declares a plugin's queue. The outer error is that of the channel, the inner one the broker's
/// answer.
pub(super) async fn try_declare(
    broker: &Broker,
    queue: &PluginQueue<'_>,
    name: &str,
) -> Result<Result<(), lapin::Error>> {
    let channel = broker.declaring_channel().await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let arguments = table_to_amqp(&queue_arguments(broker, queue));
    let declare = channel.queue_declare(short(name), options, arguments);
    let declared = answered("declaring a queue", async { Ok(declare.await) })
        .await
        .with_context(|| format!("queue {name:?}"))?;
    if declared.is_ok() {
        close_channel(channel).await;
    }
    Ok(declared.map(drop))
}

/// The arguments of a plugin's queue. A message that keeps crashing the router is
/// dead-lettered by the broker, never dropped.
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
            // RabbitMQ requires this for at-least-once dead-lettering.
            ("x-dead-letter-strategy".into(), "at-least-once".into()),
            ("x-overflow".into(), "reject-publish".into()),
        ]),
    }
    if queue.single_active_consumer {
        arguments.insert("x-single-active-consumer".into(), Value::Bool(true));
    }
    arguments
}

/// Binds a plugin's queue to the source exchange with each of the patterns. That it cannot
/// be bound is reported to the broker's health. With `[amqp] declare = "passive"`, a user who may
/// not bind has others do it, which is told there, too: whether they have, nobody can see.
///
/// # Errors
/// The broker is unreachable, or the queue or the exchange does not exist.
pub async fn bind(broker: &Broker, plugin: &str, patterns: &[String]) -> Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    let queue = queue_name(broker, plugin);
    let exchange = &broker.settings().exchange;
    let channel = broker.declaring_channel().await?;
    let report = report(broker, &queue);
    for pattern in patterns {
        let what = format!("binding queue {queue:?} to exchange {exchange:?} with {pattern:?}");
        let bind = channel.queue_bind(
            short(&queue),
            short(exchange),
            short(pattern),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        let bound = answered(&what, async { Ok(bind.await) }).await?;
        if broker.settings().is_passive() && bound.as_ref().is_err_and(is_access_refused) {
            report.note_well();
            report_others_bindings(broker, &queue, patterns);
            // The refusal has closed the channel.
            return Ok(());
        }
        report.note_error(bound, |error| refused(&what, error))?;
    }
    report.note_well();
    broker.health().over(Code::BindingsUnchecked, &queue, "the queue is bound by the router");
    close_channel(channel).await;
    Ok(())
}

fn report_others_bindings(broker: &Broker, queue: &str, patterns: &[String]) {
    let exchange = &broker.settings().exchange;
    let text = format!(
        "the user may not bind queue {queue:?} to exchange {exchange:?}: whoever made the queue has to \
         bind it with {patterns:?}, or the plugin gets no events"
    );
    broker.health().report(Code::BindingsUnchecked, queue, &text);
}

/// Undoes [`bind`].
///
/// # Errors
/// The broker is unreachable.
pub async fn unbind(broker: &Broker, plugin: &str, patterns: &[String]) -> Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    let queue = queue_name(broker, plugin);
    let exchange = &broker.settings().exchange;
    let channel = broker.declaring_channel().await?;
    for pattern in patterns {
        let what = format!("unbinding queue {queue:?} from exchange {exchange:?} with {pattern:?}");
        let arguments = FieldTable::default();
        let unbind =
            channel.queue_unbind(short(&queue), short(exchange), short(pattern), arguments);
        let unbound = answered(&what, async { Ok(unbind.await) }).await?;
        if broker.settings().is_passive() && unbound.as_ref().is_err_and(is_access_refused) {
            // Whoever made them has to.
            return Ok(());
        }
        unbound.context(what)?;
    }
    close_channel(channel).await;
    Ok(())
}

/// Deletes a plugin's queue and its bindings, unless someone consumes from it. Returns the
/// number of messages that were in it; none if there is no such queue.
///
/// # Errors
/// The broker is unreachable, or the queue is in use or does not tell whether it is.
pub async fn delete_queue(broker: &Broker, plugin: &str) -> Result<Option<u32>> {
    let queue = queue_name(broker, plugin);
    // Quorum queues do not support `if-unused`: using it closes the connection.
    let Some(depth) = depth(broker, &queue).await? else { return Ok(None) };
    if depth.consumers > 0 {
        bail!("queue {queue:?} is in use by another router");
    }
    let channel = broker.declaring_channel().await?;
    let what = format!("deleting queue {queue:?}");
    let delete = channel.queue_delete(short(&queue), QueueDeleteOptions::default());
    let messages = answered(&what, async { delete.await.with_context(|| what.clone()) }).await?;
    close_channel(channel).await;
    Ok(Some(messages))
}
