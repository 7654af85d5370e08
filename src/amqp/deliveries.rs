//! What one consumer after another is given on a channel, in this order, and what of it is settled.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lapin::Consumer;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::answer::{ANSWER_TIMEOUT, answered};
use super::channel::Channel;
use super::consumer_tag::consumer_tag;
use super::incoming::incoming;
use super::ledger::Ledger;
use super::letter;
use super::prefetch::Prefetch;
use super::properties::short;
use super::topology::{ANSWERS, depth_on};
use super::wire::room::{LARGE, Place};
use crate::event::Incoming;

/// After how long without a sign the queue is asked whether there can be one.
const SILENCE: Duration = Duration::from_secs(1);

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
    /// The tag of the first delivery that the consumer may have been given.
    first: u64,
    /// Whether another one is to take its place.
    to_widen: bool,
    /// When acknowledgements were last sent.
    acknowledged: Option<Instant>,
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
            first: 1,
            to_widen: false,
            acknowledged: None,
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

    /// Acknowledgements were sent.
    pub fn on_acknowledged(&mut self) {
        self.acknowledged = Some(Instant::now());
    }

    /// Whether the consumer has all that it may have. Then all that was acknowledged is settled, or
    /// the broker would count it, too; and nothing is under way.
    fn is_sated(&self) -> bool {
        self.ledger.unacknowledged(self.first) >= usize::from(self.prefetch.now())
    }

    /// Drops what nobody took and what still comes, which goes back to the queue when the channel is
    /// closed, and waits until what was acknowledged is settled. While 32 commands wait for a quorum
    /// queue, RabbitMQ keeps further acknowledgements to itself (`slow` in its `rabbit_fifo_client`),
    /// and forgets them when the channel is closed.
    ///
    /// What comes in the place of what was acknowledged is the sign, however long the queue takes.
    /// From a queue with no more messages nothing comes; then a second of silence has to do. It takes
    /// [`ANSWER_TIMEOUT`] at most.
    pub async fn settled(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.overfull = true;
        let Some(mut heard) = self.acknowledged else { return };
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let settled = async {
            while !self.is_sated() {
                let goes_on = tokio::select! {
                    progressed = self.progress(false) => progressed.is_ok(),
                    has_more = has_more_at(heard + SILENCE, &channel, &queue) => {
                        let has_more = has_more && !matches!(self.change, Some(Change::Over));
                        // What came before the answers may not have been taken yet.
                        has_more || matches!(self.progress(false).now_or_never(), Some(Ok(())))
                    }
                };
                if !goes_on {
                    return;
                }
                heard = Instant::now();
            }
        };
        let _ = timeout(ANSWER_TIMEOUT, settled).await;
    }

    /// Drops what comes, for ever: nobody else takes it from the client library, which would read
    /// nothing behind it.
    pub async fn discard(&mut self) {
        while self.progress(false).await.is_ok() {}
        std::future::pending().await
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

    /// The next delivery, with its tag; none once all that was kept has been taken, if so much came
    /// that not all was kept. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The consumer or the channel has ended.
    pub async fn next(&mut self) -> Result<Option<(u64, Incoming)>> {
        loop {
            self.check_open()?;
            if let Some(Taken { tag, message, size }) = self.waiting.pop_front() {
                self.waiting_bytes -= size;
                return Ok(Some((tag, message)));
            }
            if self.overfull {
                return Ok(None);
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

    /// Has another consumer take this one's place, which may have as many deliveries, whatever of
    /// the earlier ones is unsettled: when nothing is under way to this one. Of what is, when a
    /// consumer is cancelled, RabbitMQ gives each message back alone, behind all that was given back
    /// before.
    pub fn widen(&mut self) {
        self.to_widen = true;
        if self.can_widen() {
            self.end_consumer();
        }
    }

    /// Whether another consumer can take this one's place now.
    pub fn can_widen(&self) -> bool {
        self.change.is_none() && !self.alone && !self.overfull && self.is_sated()
    }

    fn take(&mut self, delivery: lapin::message::Delivery, wanted: bool) {
        let tag = delivery.delivery_tag;
        let is_large = delivery.data.len() >= LARGE;
        self.ledger.delivered(tag);
        self.place.take(delivery.data.len());
        if self.overfull {
            return;
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
        if self.to_widen || self.prefetch.can_grow() {
            self.widen();
        }
    }

    /// What comes from here on goes back to the queue, and so does the rest of what has come. The
    /// consumer stays until the channel is closed: so it is given back together, in order.
    fn give_back(&mut self) {
        self.overfull = true;
    }

    fn end_consumer(&mut self) {
        let (channel, tag) = (self.channel.clone(), self.consumer.tag());
        let mut ended = answered("asking for other deliveries", cancel(channel, tag)).boxed();
        // Polling once sends it, before any other acknowledgement, which would have more come.
        let ended = match (&mut ended).now_or_never() {
            Some(ended) => std::future::ready(ended).boxed(),
            None => ended,
        };
        self.change = Some(Change::Ending(ended));
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
        self.first = self.ledger.next();
        self.to_widen = false;
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

/// Whether a queue has messages for its consumers at that time. If it has none, what was
/// on its way to this channel's has come.
async fn has_more_at(time: Instant, channel: &Channel, queue: &str) -> bool {
    sleep_until(time).await;
    for _ in 0..ANSWERS {
        if depth_on(channel, queue).await.is_ok_and(|depth| depth.messages > 0) {
            return true;
        }
    }
    false
}

async fn cancel(channel: Channel, consumer: ShortString) -> Result<()> {
    let cancelled = channel.basic_cancel(consumer, BasicCancelOptions::default());
    cancelled.await.context("cancelling a consumer")
}
