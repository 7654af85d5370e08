//! What one consumer after another is given on a channel, in this order, and what of it is settled.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::answer::answered;
use super::consumer_tag::consumer_tag;
use super::incoming::incoming;
use super::ledger::Ledger;
use super::letter;
use super::prefetch::Prefetch;
use super::properties::short;
use super::wire::room::{LARGE, Place};
use crate::event::Incoming;

/// What acknowledgements that the broker kept back are given after it has answered, as long again
/// as the answer took: at least this,
const AT_LEAST: Duration = Duration::from_millis(20);
/// and at most this.
const AT_MOST: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub struct Deliveries {
    channel: Channel,
    place: Place,
    queue: String,
    prefetch: Prefetch,
    /// Whether a consumer's place would go to another router's.
    alone: bool,
    consumer: Consumer,
    /// How many took the place of the first.
    consumers: u32,
    change: Option<Change>,
    /// What came before it was wanted.
    waiting: VecDeque<Taken>,
    waiting_bytes: usize,
    /// Whether more came than may wait, or than is worked off in time. It goes back to the queue when
    /// the channel closes, which keeps its order; single messages that are given back to a quorum
    /// queue may lose theirs.
    overfull: bool,
    /// What of it is settled.
    pub ledger: Ledger,
}

/// A delivery.
struct Taken {
    tag: u64,
    message: Incoming,
    /// In bytes; 0 if it was not counted.
    size: usize,
}

/// How far another consumer has taken the consumer's place.
enum Change {
    Ending(BoxFuture<'static, Result<()>>),
    Beginning(BoxFuture<'static, Result<Consumer>>),
    /// None will: there is no consumer any more, and nothing comes.
    Over,
}

impl Deliveries {
    /// Begins to consume. The channel has given nothing yet.
    ///
    /// # Errors
    /// The broker does not permit it, or the channel is closed.
    pub async fn begin(
        channel: Channel,
        place: Place,
        queue: String,
        prefetch: Prefetch,
        alone: bool,
    ) -> Result<Self> {
        let consumer = consume(channel.clone(), queue.clone(), prefetch.now(), 0).await?;
        Ok(Self {
            channel,
            place,
            queue,
            prefetch,
            alone,
            consumer,
            consumers: 0,
            change: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            overfull: false,
            ledger: Ledger::new(),
        })
    }

    /// The channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Ends the consumer, and drops what nobody took and what still comes: it all goes back to the
    /// queue when the channel is closed. What was acknowledged before is settled then, in a quorum
    /// queue too.
    pub async fn end(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.overfull = true;
        let begun = Instant::now();
        while !matches!(self.change, Some(Change::Over)) {
            if self.change.is_none() {
                self.end_consumer();
            }
            if self.progress(false).await.is_err() {
                return;
            }
        }
        // The answer comes when the queue has done what was asked of it before. While 32 commands
        // wait for it, RabbitMQ keeps further acknowledgements to itself (`slow` in its
        // rabbit_fifo_client), and it forgets them when the channel is closed: they leave now.
        sleep(begun.elapsed().clamp(AT_LEAST, AT_MOST)).await;
    }

    /// Whether what was delivered can still be settled. lapin tells that the channel is closed
    /// behind all that had come before, which a slow plugin would be given for many minutes, in
    /// vain.
    ///
    /// # Errors
    /// The channel is closed; in the broker's words, if there are any.
    pub fn check_open(&mut self) -> Result<()> {
        if self.channel.status().connected() {
            return Ok(());
        }
        while let Some(Some(delivery)) = self.consumer.next().now_or_never() {
            delivery.context("the broker closed the channel")?;
        }
        bail!("the broker closed the channel")
    }

    /// The next delivery, with its tag. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The consumer or the channel has ended.
    pub async fn next(&mut self) -> Result<(u64, Incoming)> {
        loop {
            self.check_open()?;
            if let Some(Taken { tag, message, size }) = self.waiting.pop_front() {
                self.waiting_bytes -= size;
                return Ok((tag, message));
            }
            self.progress(true).await?;
        }
    }

    /// The plugin was busy for so long with a delivery.
    pub fn took(&mut self, time: Duration) {
        if self.prefetch.took(time) && self.prefetch.is_too_slow() {
            self.give_back();
        }
    }

    /// How many deliveries at a time are right, if so much came that what came last was not kept.
    /// Nothing more is kept then.
    pub fn overfull(&self) -> Option<usize> {
        self.overfull.then(|| self.prefetch.fitting().into())
    }

    /// Whether it must go on although nothing is wanted: so that one delivery says that the
    /// consumer is there, and that not too many bytes gather where nobody counts them.
    pub fn is_to_go_on(&self) -> bool {
        let is_large = |last: &Taken| self.prefetch.is_large(last.size);
        self.overfull || self.change.is_some() || self.waiting.back().is_none_or(is_large)
    }

    /// Takes a delivery, `wanted` or not, or gets on with replacing the consumer. Nothing is lost
    /// when the future is dropped: no branch takes anything until it is ready.
    ///
    /// # Errors
    /// The consumer or the channel has ended.
    pub async fn progress(&mut self, wanted: bool) -> Result<()> {
        let changed = match &mut self.change {
            None => {
                let delivery = self.consumer.next().await;
                let delivery = delivery.context("the broker ended the consumer")?;
                self.take(delivery.context("consuming")?, wanted);
                return Ok(());
            }
            Some(Change::Ending(ended)) => tokio::select! {
                biased;
                Some(delivery) = self.consumer.next() => Some(delivery),
                ended = ended => { ended?; None }
            },
            Some(Change::Over) => return std::future::pending().await,
            Some(Change::Beginning(begun)) => {
                self.consumer = begun.await?;
                self.change = None;
                return Ok(());
            }
        };
        match changed {
            Some(delivery) => self.take(delivery.context("consuming")?, wanted),
            None => self.on_ended()?,
        }
        Ok(())
    }

    /// Takes all that has come, which is not wanted yet.
    ///
    /// # Errors
    /// The consumer or the channel has ended.
    pub fn take_what_is_there(&mut self) -> Result<()> {
        while let Some(progressed) = self.progress(false).now_or_never() {
            progressed?;
        }
        Ok(())
    }

    /// Has another consumer take this one's place, which may have as many deliveries,
    /// whatever of the earlier ones is unsettled.
    pub fn widen(&mut self) {
        if self.change.is_none() && !self.alone {
            self.end_consumer();
        }
    }

    fn take(&mut self, delivery: lapin::message::Delivery, wanted: bool) {
        let tag = delivery.delivery_tag;
        let is_large = delivery.data.len() >= LARGE;
        self.ledger.delivered(tag);
        self.place.take(delivery.data.len());
        if self.overfull {
            // Another router's consumer may take the place of one that ends: not before what is in
            // flight is done, where the queue has one consumer at a time for the sake of order.
            return self.widen();
        }
        let message = letter::restored(incoming(delivery));
        // What is wanted is counted by who wants it; but behind a large one there may be others.
        let is_counted = !wanted || is_large || self.prefetch.is_narrow();
        let size = if is_counted { message.size() } else { 0 };
        if size > 0 {
            self.prefetch.tell(size);
        }
        let is_too_much =
            !self.waiting.is_empty() && self.waiting_bytes + size > self.prefetch.bytes();
        if is_too_much || (is_large && self.prefetch.is_too_large(self.place.waiting())) {
            return self.give_back();
        }
        self.waiting_bytes += size;
        self.waiting.push_back(Taken { tag, message, size });
        if self.prefetch.can_grow() {
            self.widen();
        }
    }

    /// What comes from here on goes back to the queue, and so does the rest of what has come.
    fn give_back(&mut self) {
        self.overfull = true;
        self.widen();
    }

    fn end_consumer(&mut self) {
        let (channel, tag) = (self.channel.clone(), self.consumer.tag());
        let ended = answered("asking for other deliveries", cancel(channel, tag));
        self.change = Some(Change::Ending(Box::pin(ended)));
    }

    /// The consumer has been given all that it will be.
    fn on_ended(&mut self) -> Result<()> {
        while let Some(Some(delivery)) = self.consumer.next().now_or_never() {
            self.take(delivery.context("consuming")?, false);
        }
        if self.overfull {
            self.change = Some(Change::Over);
            return Ok(());
        }
        self.prefetch.fit();
        self.consumers += 1;
        let (queue, prefetch) = (self.queue.clone(), self.prefetch.now());
        debug!(queue, prefetch, "another consumer takes the consumer's place");
        let next = consume(self.channel.clone(), queue, prefetch, self.consumers);
        let next = answered("asking for other deliveries", next);
        self.change = Some(Change::Beginning(Box::pin(next)));
        Ok(())
    }
}

/// The prefetch is that of each consumer: what an older one has not settled does not count for
/// a new one.
async fn consume(channel: Channel, queue: String, prefetch: u16, number: u32) -> Result<Consumer> {
    let set = channel.basic_qos(prefetch, BasicQosOptions::default());
    set.await.context("setting the prefetch")?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let tag = consumer_tag(&queue, number);
    let consumer = channel.basic_consume(short(&queue), short(&tag), options, arguments);
    consumer.await.with_context(|| format!("consuming from queue {queue:?}"))
}

async fn cancel(channel: Channel, consumer: ShortString) -> Result<()> {
    let cancelled = channel.basic_cancel(consumer, BasicCancelOptions::default());
    cancelled.await.context("cancelling a consumer")
}
