//! One plugin's deliveries.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Interval, interval};

use super::answer::answered;
use super::broker::{Broker, close_channel};
use super::gate::Opening;
use super::incoming::incoming;
use super::ledger::Ledger;
use super::properties::short;
use super::{letter, topology};
use crate::transport::{self, Delivery};

/// How often one looks whether the channel is still there, while no deliveries are wanted.
const LOOK: Duration = Duration::from_secs(1);

/// Consumes from the queue of one plugin, for one session.
pub struct Inbox {
    channel: Channel,
    queue: String,
    prefetch: u16,
    /// Whether its place would go to another router's consumer.
    alone: bool,
    consumer: Consumer,
    /// How many took its place so far.
    consumers: u32,
    /// The consumer that will take the other's place.
    next_consumer: Option<BoxFuture<'static, Result<Consumer>>>,
    /// A delivery that came while none was wanted.
    early: Option<lapin::message::Delivery>,
    looks: Interval,
    ledger: Ledger,
}

/// What settles a delivery. It is moved into the settlement, so there can only be one.
#[derive(Debug)]
pub struct Receipt(u64);

impl Inbox {
    /// Starts to consume, with at most `prefetch` unsettled deliveries at a time, when those
    /// that open together have come as far. The queue must exist; `alone` says that the broker
    /// lets one consumer at a time have its messages.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the consumer.
    pub async fn open(
        broker: &Broker,
        plugin: &str,
        prefetch: u16,
        alone: bool,
        opening: Opening<'_>,
    ) -> Result<Self> {
        let channel = broker.consuming_channel().await?;
        set_prefetch(&channel, prefetch).await?;
        opening.pass().await;
        let queue = topology::queue_name(broker, plugin);
        let consumer = consume(&channel, &queue, 0).await?;
        let looks = interval(LOOK);
        Ok(Self {
            channel,
            queue,
            prefetch,
            alone,
            consumer,
            consumers: 0,
            next_consumer: None,
            early: None,
            looks,
            ledger: Ledger::new(),
        })
    }

    /// The next delivery, also while one consumer takes another's place: all that the old one
    /// was given comes before what the new one is.
    async fn delivery(&mut self) -> Result<lapin::message::Delivery> {
        loop {
            let Some(next_consumer) = &mut self.next_consumer else {
                return consumed(self.consumer.next().await);
            };
            // Both branches can be dropped: neither takes anything until it is ready.
            tokio::select! {
                biased;
                Some(delivery) = self.consumer.next() => return consumed(Some(delivery)),
                consumer = next_consumer => {
                    self.consumer = consumer?;
                    self.next_consumer = None;
                }
            }
        }
    }
}

async fn set_prefetch(channel: &Channel, prefetch: u16) -> Result<()> {
    let set = channel.basic_qos(prefetch, BasicQosOptions::default());
    set.await.context("setting the prefetch")
}

async fn consume(channel: &Channel, queue: &str, number: u32) -> Result<Consumer> {
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let tag = consumer_tag(queue, number);
    let consumer = channel.basic_consume(short(queue), short(&tag), options, arguments);
    consumer.await.with_context(|| format!("consuming from queue {queue:?}"))
}

/// Has another consumer take a consumer's place. The prefetch is that of each consumer: what
/// the old one has not settled does not count for the new one.
async fn replace(
    channel: Channel,
    old: ShortString,
    queue: String,
    prefetch: u16,
    number: u32,
) -> Result<Consumer> {
    channel
        .basic_cancel(old, BasicCancelOptions::default())
        .await
        .context("cancelling a consumer")?;
    set_prefetch(&channel, prefetch).await?;
    consume(&channel, &queue, number).await
}

/// Tells people at the broker which router this is, and which plugin: the queue, which has the
/// plugin's name, the machine and the process. No two consumers of a channel may share one.
fn consumer_tag(queue: &str, number: u32) -> String {
    const LONGEST: usize = 255;
    let place = format!("@{}:{}", machine(), std::process::id());
    let number = if number == 0 { String::new() } else { format!("/{number}") };
    let room = LONGEST.saturating_sub(place.len() + number.len());
    format!("{}{place}{number}", shortened_to(queue, room))
}

/// As much of the start as fits.
fn shortened_to(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room.min(text.len()))]
}

/// The machine's name, as far as a tag has room for it.
fn machine() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        // A hardened service does not see the first one.
        let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
        let name = files.iter().find_map(|file| std::fs::read_to_string(file).ok());
        let name = name.unwrap_or_default();
        shortened_to(name.trim(), 64).to_owned()
    });
    &NAME
}

/// What the consumer has given, if it has not ended.
fn consumed(
    next: Option<lapin::Result<lapin::message::Delivery>>,
) -> Result<lapin::message::Delivery> {
    next.context("the broker ended the consumer")?.context("consuming")
}

impl transport::Inbox for Inbox {
    type Receipt = Receipt;

    async fn next(&mut self) -> Result<Option<Delivery<Receipt>>> {
        let delivery = match self.early.take() {
            Some(delivery) => delivery,
            None => self.delivery().await?,
        };
        let tag = delivery.delivery_tag;
        self.ledger.delivered(tag);
        let message = letter::restored(incoming(delivery));
        Ok(Some(Delivery { message, receipt: Receipt(tag) }))
    }

    async fn lost(&mut self) -> anyhow::Error {
        loop {
            if !self.channel.status().connected() {
                return anyhow!("the broker closed the channel");
            }
            let wanted = self.early.is_none() && self.next_consumer.is_none();
            // Both branches can be dropped: neither takes anything until it is ready.
            tokio::select! {
                delivery = self.consumer.next(), if wanted => match consumed(delivery) {
                    Ok(delivery) => self.early = Some(delivery),
                    Err(error) => return error,
                },
                _ = self.looks.tick() => {}
            }
        }
    }

    fn widen(&mut self) {
        if self.next_consumer.is_none() && !self.alone {
            let (channel, old) = (self.channel.clone(), self.consumer.tag());
            self.consumers += 1;
            let replaced = replace(channel, old, self.queue.clone(), self.prefetch, self.consumers);
            self.next_consumer = Some(Box::pin(answered("asking for more deliveries", replaced)));
        }
    }

    fn settle(&mut self, receipt: Receipt) {
        self.ledger.settle(receipt.0);
    }

    fn unsent(&self) -> usize {
        self.ledger.unsent()
    }

    fn flush(&mut self) {
        for ack in self.ledger.take() {
            let options = BasicAckOptions { multiple: ack.multiple };
            // Polling once puts the frame into the connection's queue. A later error ends the
            // consumer too, and is noticed there.
            let _ = self.channel.basic_ack(ack.tag, options).now_or_never();
        }
    }

    async fn close(mut self) {
        self.flush();
        // Waits for the broker's answer, which comes after the acknowledgements.
        close_channel(self.channel).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumers_tag_names_plugin_machine_and_process() {
        let tag = consumer_tag("mo-router.redact", 0);
        assert!(tag.starts_with("mo-router.redact@"), "{tag}");
        assert!(tag.ends_with(&format!(":{}", std::process::id())), "{tag}");
        assert_ne!(tag, consumer_tag("mo-router.redact", 1));
        assert!(consumer_tag(&"ø".repeat(200), 7).len() <= 255);
    }
}
