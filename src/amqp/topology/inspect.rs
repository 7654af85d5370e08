//! What the router would find at the broker, and whether it may do there what it does: asked
//! without changing anything.
//!
//! RabbitMQ looks at the user's rights before it looks at the rest of a command. So a right is
//! tried with a command that nothing can come of: with an argument of the wrong type, say. If
//! the broker refuses it for want of the right (403), the right is missing; if it refuses it
//! for any other reason, it is there.

use anyhow::{Context, Result};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use uuid::Uuid;

use super::dead_letters::{DEAD, try_declare_queue};
use super::depth::queue_exists;
use super::errors::{
    dead_letter_queue_error, exchange_error, is_access_refused, queue_error, refused, said,
};
use super::exchanges::{declare_or_find, exists, is_foreign};
use super::queues::{BRIDGE, PluginQueue, queue_name, try_declare};
use crate::amqp::answer::answered;
use crate::amqp::broker::Broker;
use crate::amqp::channel::{Channel, close_channel};
use crate::amqp::properties::short;

/// What is as it must be, or what is wrong and how to fix it.
pub type Finding = Result<String, String>;

/// A plugin that is to run.
pub struct Planned<'a> {
    /// What it consumes from.
    pub queue: PluginQueue<'a>,
    /// The exchanges that it may publish to.
    pub exchanges: &'a [String],
}

/// Looks at everything that a router with these plugins uses. `bridged` is the exchange that
/// events of MO's GraphQL go to, if they are fetched.
///
/// # Errors
/// The broker is unreachable or does not answer.
pub async fn inspect(
    broker: &Broker,
    plugins: &[Planned<'_>],
    bridged: Option<&str>,
) -> Result<Vec<Finding>> {
    let source = broker.settings().exchange.as_str();
    let mut found = vec![exchange(broker, source, &[]).await?];
    if let Some(bridged) = bridged {
        found.push(exchange(broker, bridged, &[Right::Publish]).await?);
        found.push(claim(broker).await?);
    }
    let mut targets: Vec<&str> =
        plugins.iter().flat_map(|plugin| plugin.exchanges).map(String::as_str).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in targets {
        found.push(exchange(broker, target, &[Right::Publish]).await?);
    }
    found.push(exchange(broker, DEAD, &[Right::Publish]).await?);
    found.push(dead_letters(broker).await?);
    for plugin in plugins {
        found.push(plugin_queue(broker, &plugin.queue).await?);
    }
    Ok(found)
}

/// What the router does with an exchange or a queue.
#[derive(Clone, Copy)]
enum Right {
    Declare,
    Publish,
    Bind,
    Consume,
}

impl Right {
    /// As what is said of a thing: "may be …".
    fn participle(self) -> &'static str {
        match self {
            Self::Declare => "declared",
            Self::Publish => "published to",
            Self::Bind => "bound",
            Self::Consume => "consumed from",
        }
    }
}

/// An exchange: whether it is there or may be made, and whether it may be used so.
async fn exchange(broker: &Broker, name: &str, rights: &[Right]) -> Result<Finding> {
    let subject = format!("exchange {name:?}");
    // The default exchange is always there.
    let is_there = name.is_empty() || exists(broker, name).await?;
    let is_foreign = name.is_empty() || is_foreign(broker, name);
    if !is_there && is_foreign {
        return Ok(Err(format!(
            "{subject} does not exist: create it, or let the router do so with [amqp] declare = \
             \"durable\""
        )));
    }
    let mut tried = Vec::new();
    if !is_foreign {
        // What the router does at each start, too: nothing changes.
        if is_there && let Err(error) = declare_or_find(broker, name).await? {
            return Ok(Err(format!("{:#}", exchange_error(name, error))));
        }
        tried.push(Right::Declare);
    }
    tried.extend(rights);
    judge(broker, &subject, is_there, &tried, |channel, right| try_exchange(channel, name, right))
        .await
}

/// A plugin's queue: whether it is there and like what the settings say, or may be made, and
/// whether it may be consumed from and bound.
async fn plugin_queue(broker: &Broker, queue: &PluginQueue<'_>) -> Result<Finding> {
    let name = queue_name(broker, queue.plugin);
    let is_there = queue_exists(broker, &name).await?;
    // What the router does at each start, too: nothing changes.
    if is_there
        && !broker.settings().is_passive()
        && let Err(error) = try_declare(broker, queue, &name).await?
    {
        return Ok(Err(format!("{:#}", queue_error(&name, error))));
    }
    let source = &broker.settings().exchange;
    judge_queue(broker, &name, source, is_there, &[Right::Consume]).await
}

/// The queue of dead letters, which the router fills by way of their exchange.
async fn dead_letters(broker: &Broker) -> Result<Finding> {
    let is_there = queue_exists(broker, DEAD).await?;
    // As for the queue of a plugin.
    if is_there
        && !broker.settings().is_passive()
        && let Err(error) = try_declare_queue(broker).await?
    {
        return Ok(Err(format!("{:#}", dead_letter_queue_error(DEAD, error))));
    }
    judge_queue(broker, DEAD, DEAD, is_there, &[]).await
}

/// The queue whose owner is the bridge. Another router may have it now, and then nobody else can
/// look at it.
async fn claim(broker: &Broker) -> Result<Finding> {
    let name = queue_name(broker, BRIDGE);
    let source = broker.settings().exchange.as_str();
    let subject = format!("queue {name:?}");
    let rights = [Right::Declare, Right::Consume];
    let tried = |channel, right| try_queue(channel, &name, source, right);
    let found = judge(broker, &subject, false, &rights, tried).await?;
    Ok(found.map(|_| format!("{subject}, which the bridge has, may be declared, consumed from")))
}

async fn judge_queue(
    broker: &Broker,
    name: &str,
    source: &str,
    is_there: bool,
    rights: &[Right],
) -> Result<Finding> {
    let subject = format!("queue {name:?}");
    let mut rights = rights.to_vec();
    if !broker.settings().is_passive() {
        rights.extend([Right::Declare, Right::Bind]);
    } else if !is_there {
        return Ok(Err(format!(
            "{subject} does not exist: create it as docs/permissions.md says, or let the router do \
             so with [amqp] declare = \"durable\""
        )));
    }
    judge(broker, &subject, is_there, &rights, |channel, right| {
        try_queue(channel, name, source, right)
    })
    .await
}

/// Tries each right on a channel of its own: a refusal closes it.
async fn judge<T: Future<Output = lapin::Result<()>>>(
    broker: &Broker,
    subject: &str,
    is_there: bool,
    rights: &[Right],
    try_right: impl Fn(Channel, Right) -> T,
) -> Result<Finding> {
    for right in rights {
        let what = format!("whether {subject} may be {}", right.participle());
        let channel = broker.declaring_channel().await?;
        let tried = try_right(channel.clone(), *right);
        let tried = answered(&what, async { Ok(tried.await) }).await?;
        match tried {
            Ok(()) => close_channel(channel).await,
            Err(error) if is_missing(&error) => {
                let doing = match right {
                    Right::Declare => format!("declaring {subject}"),
                    Right::Publish => format!("publishing to {subject}"),
                    Right::Bind => format!("binding {subject}"),
                    Right::Consume => format!("consuming from {subject}"),
                };
                return Ok(Err(format!("{:#}", refused(&doing, error))));
            }
            // The broker's word on what could not be done, as was meant.
            Err(error) if matches!(error.kind(), lapin::ErrorKind::ProtocolError(_)) => {}
            Err(error) => return Err(error).context(what),
        }
    }
    let state = if is_there { "exists" } else { "does not exist yet" };
    let may: Vec<_> = rights.iter().map(|right| right.participle()).collect();
    Ok(Ok(match may.as_slice() {
        [] => format!("{subject} {state}"),
        _ => format!("{subject} {state}, and may be {}", may.join(", ")),
    }))
}

/// Whether the user lacks the right. What is refused for a routing key alone is no word on
/// others: the right to the exchange itself is there.
fn is_missing(error: &lapin::Error) -> bool {
    is_access_refused(error) && !said(error).contains("access to topic")
}

async fn try_exchange(channel: Channel, name: &str, right: Right) -> lapin::Result<()> {
    match right {
        Right::Publish => {
            // No number of milliseconds: the message goes nowhere.
            let properties = BasicProperties::default().with_expiration("none".into());
            let options = BasicPublishOptions::default();
            // Without confirms publishing has no answer.
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let sent = channel.basic_publish(short(name), "".into(), options, b"", properties);
            sent.await?.await.map(drop)
        }
        Right::Declare | Right::Bind | Right::Consume => {
            let mut arguments = FieldTable::default();
            arguments.insert("alternate-exchange".into(), AMQPValue::Boolean(true));
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            channel.exchange_declare(short(name), ExchangeKind::Topic, options, arguments).await
        }
    }
}

async fn try_queue(channel: Channel, name: &str, source: &str, right: Right) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    match right {
        Right::Consume => {
            arguments.insert("x-priority".into(), AMQPValue::LongString("none".into()));
            let options = BasicConsumeOptions::default();
            channel.basic_consume(short(name), "".into(), options, arguments).await.map(drop)
        }
        Right::Bind => {
            // There is no such binding, and the rights are those of making one.
            let pattern = format!("mo-router.check.{}", Uuid::new_v4());
            channel.queue_unbind(short(name), short(source), short(&pattern), arguments).await
        }
        Right::Declare | Right::Publish => {
            arguments.insert("x-expires".into(), AMQPValue::LongString("none".into()));
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(short(name), options, arguments).await.map(drop)
        }
    }
}
