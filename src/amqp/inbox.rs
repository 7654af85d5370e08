//! One plugin's deliveries, for one session.

use std::time::Duration;

use anyhow::Result;
use futures::FutureExt;
use lapin::options::BasicAckOptions;
use tokio::time::{Interval, interval};

use super::answer::{ANSWER_TIMEOUT, CLOSE_TIMEOUT};
use super::broker::Broker;
use super::channel::close_channel_within;
use super::deliveries::Deliveries;
use super::gate::Opening;
use super::prefetch::Prefetch;
use super::topology;
use crate::transport::{self, Delivery, Received};

/// How often one looks whether the channel is still there, and what has come, while no
/// deliveries are wanted.
const LOOK: Duration = Duration::from_secs(1);

/// Consumes from the queue of one plugin.
pub struct Inbox {
    deliveries: Deliveries,
    looks: Interval,
}

/// What settles a delivery. It is moved into the settlement, so there can only be one.
#[derive(Debug)]
pub struct Receipt(u64);

impl Inbox {
    /// Starts to consume, with as many unsettled deliveries at a time as `prefetch` says, when
    /// those that open together have come as far. The queue must exist; `alone` says that the
    /// broker lets one consumer at a time have its messages.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the consumer.
    pub async fn open(
        broker: &Broker,
        plugin: &str,
        prefetch: Prefetch,
        alone: bool,
        opening: Opening<'_>,
    ) -> Result<Self> {
        let (channel, place) = broker.consuming_place().await?;
        opening.pass().await;
        let queue = topology::queue_name(broker, plugin);
        let deliveries = Deliveries::begin(channel, place, queue, prefetch, alone).await?;
        Ok(Self { deliveries, looks: interval(LOOK) })
    }
}

impl transport::Inbox for Inbox {
    type Receipt = Receipt;

    async fn next(&mut self) -> Result<Received<Receipt>> {
        Ok(match self.deliveries.next().await? {
            Some((tag, message)) => Received::Delivery(Delivery { message, receipt: Receipt(tag) }),
            None => Received::Overfull,
        })
    }

    async fn filled(&mut self) -> Result<()> {
        let before = self.overfull();
        loop {
            self.deliveries.check_open()?;
            let goes_on = self.deliveries.is_to_go_on();
            // Both branches can be dropped: neither takes anything until it is ready.
            tokio::select! {
                progressed = self.deliveries.progress(false), if goes_on => progressed?,
                _ = self.looks.tick() => self.deliveries.take_what_is_there()?,
            }
            if before.is_none() && self.overfull().is_some() {
                return Ok(());
            }
        }
    }

    fn can_widen(&self) -> bool {
        self.deliveries.can_widen()
    }

    fn overfull(&self) -> Option<usize> {
        self.deliveries.overfull()
    }

    fn took(&mut self, time: Duration) {
        self.deliveries.took(time);
    }

    fn widen(&mut self) {
        self.deliveries.widen();
    }

    fn settle(&mut self, receipt: Receipt) {
        self.deliveries.ledger.settle(receipt.0);
    }

    fn unsent(&self) -> usize {
        self.deliveries.ledger.unsent()
    }

    fn flush(&mut self) {
        let acks = self.deliveries.ledger.take();
        if acks.is_empty() {
            return;
        }
        for ack in acks {
            let options = BasicAckOptions { multiple: ack.multiple };
            // Polling once puts the frame into the connection's queue. A later error ends the
            // consumer too, and is noticed there.
            let _ = self.deliveries.channel().basic_ack(ack.tag, options).now_or_never();
        }
        self.deliveries.on_acknowledged();
    }

    async fn close(mut self) {
        self.flush();
        // Of large events, much may be under way, and the answer comes behind it.
        let patience = self.deliveries.overfull().map_or(CLOSE_TIMEOUT, |_| ANSWER_TIMEOUT);
        self.deliveries.settled().await;
        let channel = self.deliveries.channel().clone();
        tokio::select! {
            () = close_channel_within(patience, channel) => {}
            () = self.deliveries.discard() => {}
        }
    }
}
