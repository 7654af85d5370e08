//! `mo-router publish`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use uuid::Uuid;

use super::moment::from_now;
use super::output::{Format, remark};
use super::patience::BLOCKED_TIMEOUT;
use crate::amqp::{Broker, Outbox, topology};
use crate::event::{Datetime, Incoming, Message, Outgoing, Topic};
use crate::jsonl;
use crate::settings::Settings;
use crate::transport::{Fate, Outbox as _};

/// What to publish.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Routing key, such as employee.it.create
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    key: Option<String>,
    /// UUID of the person or unit that the event is about
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    uuid: Option<Uuid>,
    /// UUID of the object that changed
    #[arg(long, conflicts_with = "file")]
    object_uuid: Option<Uuid>,
    /// When the change takes effect: 2030-01-01T00:00:00+01:00, or from now: +3s [default: now]
    #[arg(long, value_parser = from_now, conflicts_with = "file")]
    time: Option<Datetime>,
    /// Publish every event of this JSON Lines file instead
    #[arg(long, value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

/// How long the broker may take to confirm a message.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes, and waits for the broker to confirm.
pub async fn run(args: Args, settings: Settings, format: Format) -> Result<()> {
    let messages = match &args.file {
        Some(file) => recorded(file)?,
        None => vec![(1, event(&args)?)],
    };
    let (exchange, total) = (settings.amqp.exchange.clone(), messages.len());
    let broker = Arc::new(Broker::new(settings.amqp));
    // Neither is polled again after the other one is ready.
    let published = tokio::select! {
        published = publish(&broker, &exchange, messages) => published?,
        blocked = broker.blocked_for(BLOCKED_TIMEOUT) => {
            return Err(blocked.context("not all was confirmed, and what was not may still be published"));
        }
    };
    broker.close().await;
    let Published { nowhere, refused, first_refused } = published;
    if let Some((line, reason)) = first_refused {
        let Some(file) = &args.file else { bail!("it was not published: {reason}") };
        let file = file.display();
        bail!(
            "{refused} of {total} were not published, the first of them line {line} of {file}: {reason}"
        );
    }
    match format {
        Format::Json => format.print(
            &json!({ "exchange": exchange, "published": total, "to_no_queue": nowhere }),
            "",
        )?,
        Format::Text if nowhere == 0 => {
            remark(format_args!("{total} published to exchange {exchange:?}"));
        }
        Format::Text => remark(format_args!(
            "{total} published to exchange {exchange:?}; {nowhere} of them unroutable: no queue is \
             bound to it for their routing keys"
        )),
    }
    Ok(())
}

/// What became of messages.
#[derive(Default)]
struct Published {
    /// How many were unroutable, which the sender may want to know.
    nowhere: usize,
    /// How many the broker refused.
    refused: usize,
    /// The line of the first of them, and why.
    first_refused: Option<(u64, String)>,
}

/// Publishes messages, each with its line, and waits until the broker has said what became of each.
async fn publish(
    broker: &Arc<Broker>,
    exchange: &str,
    messages: Vec<(u64, Message)>,
) -> Result<Published> {
    topology::find_exchange(broker, exchange).await?;
    let mut outbox = Outbox::open_for_events(Arc::clone(broker)).await?;
    let total = messages.len();
    for (line, mut message) in messages {
        message.exchange = exchange.to_owned();
        message.properties.message_id.get_or_insert_with(|| Uuid::new_v4().to_string());
        outbox.send(line, Outgoing::Message(message));
    }
    let mut published = Published::default();
    for answered in 0..total {
        let so_far = || format!("the broker has answered for {answered} of {total}");
        let Ok(completed) = tokio::time::timeout(CONFIRM_TIMEOUT, outbox.completed()).await else {
            bail!("{}, and then nothing for {CONFIRM_TIMEOUT:?}", so_far());
        };
        let completed = completed.with_context(so_far)?;
        let reason = match completed.fate {
            Fate::Confirmed => continue,
            Fate::Returned(_) => {
                published.nowhere += 1;
                continue;
            }
            Fate::Unacceptable(reason) | Fate::Refused(reason) | Fate::Nacked(reason) => reason,
        };
        published.refused += 1;
        let is_first = |(first, _): &(u64, String)| *first < completed.token;
        if !published.first_refused.as_ref().is_some_and(is_first) {
            published.first_refused = Some((completed.token, reason));
        }
    }
    Ok(published)
}

fn event(args: &Args) -> Result<Message> {
    let routing_key = args.key.clone().unwrap_or_default();
    let uuid = args.uuid.unwrap_or_default();
    // The body of a one-word key is only the UUID, as in MO.
    let body = match Topic::parse(&routing_key)?.service {
        None if args.time.is_some() || args.object_uuid.is_some() => bail!(
            "an event of {routing_key:?}, a key of one word, is nothing but a UUID: leave out --time and --object-uuid"
        ),
        None => json!(uuid),
        Some(_) => {
            let mut body = json!({ "uuid": uuid, "time": args.time.unwrap_or_else(Datetime::now) });
            if let Some(object_uuid) = args.object_uuid {
                body["object_uuid"] = json!(object_uuid);
            }
            body
        }
    };
    Ok(Message { routing_key, body: body.to_string().into(), ..Message::default() })
}

/// The events of a file, each with its line.
fn recorded(file: &PathBuf) -> Result<Vec<(u64, Message)>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let Incoming { routing_key, properties, body, .. } = jsonl::read_recorded(line)
                .with_context(|| format!("{}, line {number}", file.display()))?
                .message;
            Ok((number, Message { exchange: String::new(), routing_key, properties, body }))
        })
        .collect()
}
