//! What the router is compared with: the least that a relay can do and lose
//! nothing. It publishes each delivery with a confirm, many under way at once,
//! and acknowledges together what has been confirmed.

use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// Acknowledgements that are sent together, at most.
const TOGETHER: usize = 256;

/// Relays from a queue to an exchange until it is killed.
pub async fn run(url: &str, queue: &str, exchange: &str, prefetch: u16) -> Result<()> {
    let consuming = Connection::connect(url, ConnectionProperties::default()).await?;
    let publishing = Connection::connect(url, ConnectionProperties::default()).await?;
    let (source, target) = (consuming.create_channel().await?, publishing.create_channel().await?);
    source.basic_qos(prefetch, BasicQosOptions::default()).await?;
    target.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        source.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    let mut confirms = FuturesUnordered::new();
    let mut settled = Settled { oldest: 1, states: VecDeque::new(), ready: 0 };
    loop {
        tokio::select! {
            biased;
            Some(confirmed) = confirms.next() => settled.confirm(confirmed?),
            delivery = consumer.next() => {
                let delivery = delivery.context("the consumer ended")??;
                settled.states.push_back(false);
                let target = target.clone();
                let exchange = exchange.to_owned();
                confirms.push(async move {
                    let options = BasicPublishOptions { mandatory: true, immediate: false };
                    let properties = BasicProperties::default().with_delivery_mode(2);
                    let confirmation = target
                        .basic_publish(exchange.into(), delivery.routing_key, options, &delivery.data, properties)
                        .await?
                        .await?;
                    ensure!(confirmation.is_ack(), "refused");
                    anyhow::Ok(delivery.delivery_tag)
                });
            }
            () = std::future::ready(()), if settled.ready > 0 => settled.acknowledge(&source).await?,
        }
        if settled.ready >= TOGETHER {
            settled.acknowledge(&source).await?;
        }
    }
}

/// Which deliveries are confirmed, from the oldest that is not acknowledged.
struct Settled {
    oldest: u64,
    states: VecDeque<bool>,
    ready: usize,
}

impl Settled {
    fn confirm(&mut self, tag: u64) {
        self.states[(tag - self.oldest) as usize] = true;
        self.ready += 1;
    }

    async fn acknowledge(&mut self, channel: &Channel) -> Result<()> {
        let run = self.states.iter().take_while(|confirmed| **confirmed).count();
        self.ready = 0;
        if run > 0 {
            self.states.drain(..run);
            self.oldest += run as u64;
            channel.basic_ack(self.oldest - 1, BasicAckOptions { multiple: true }).await?;
        }
        Ok(())
    }
}
