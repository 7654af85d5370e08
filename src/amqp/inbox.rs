//! One plugin's deliveries.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::{Interval, interval};

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
    consumer: Consumer,
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
    /// that open together have come as far. The queue must exist.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the consumer.
    pub async fn open(
        broker: &Broker,
        plugin: &str,
        prefetch: u16,
        opening: Opening<'_>,
    ) -> Result<Self> {
        let channel = broker.consuming_channel().await?;
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await
            .context("setting the prefetch")?;
        opening.pass().await;
        let queue = topology::queue_name(broker, plugin);
        let consumer = channel
            .basic_consume(
                short(&queue),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .with_context(|| format!("consuming from queue {queue:?}"))?;
        let looks = interval(LOOK);
        Ok(Self { channel, consumer, early: None, looks, ledger: Ledger::new() })
    }
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
            None => consumed(self.consumer.next().await)?,
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
            let wanted = self.early.is_none();
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
