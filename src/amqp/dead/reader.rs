//! Reading the queue of dead letters without taking anything out of it.
//!
//! What is read is held unacknowledged, and returns to its place when the reader closes.
//! To hold many letters takes several consumers, each with a channel of its own. The next
//! is opened when all that the last one may hold has been read and kept, so that what waits
//! in this process is never more than one consumer's prefetch. Of large letters it is not much more
//! than may wait on a connection (`wire::room`): they come on one of their own, since that is read
//! slowly then. The consumers are closed in the
//! order in which they were opened, so that the letters return in the order that they had.
//! What returns goes behind what returned before, so that the order stays only if all are
//! read.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{FutureExt, StreamExt, TryFutureExt};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::amqp::answer::{ANSWER_TIMEOUT, answered};
use crate::amqp::broker::Broker;
use crate::amqp::channel::{Channel, close_channel_within};
use crate::amqp::incoming::incoming;
use crate::amqp::ledger::Ledger;
use crate::amqp::letter::Letter;
use crate::amqp::topology::{self, ANSWERS, DEAD};
use crate::amqp::wire::room::Place;

/// The prefetch of the first consumer, in letters, of which nobody knows the size; and the most of
/// others.
const PREFETCH: u16 = 1000;
const LARGEST_PREFETCH: u16 = 10_000;
/// How many bytes of letters a consumer after the first may have, by the size of those before.
const BYTES: usize = 64 << 20;
/// After how long without a letter the queue is asked whether there is one, and how often
/// at most.
const SILENCE: Duration = Duration::from_millis(300);
const SILENCES: usize = 100;
/// How many letters are acknowledged at once.
const ACKS: usize = 100;
/// How long to wait for other commands that hold letters, and how often to look.
const OTHERS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// Reads the letters that are there when it opens, oldest first. Those that arrive later
/// are left alone: one that is sent back can be dead again before the next is read.
pub struct Reader<'a> {
    broker: &'a Broker,
    consumers: Vec<Held>,
    /// How many letters were there that have not been read.
    left: u32,
    /// What was read, in letters and in bytes.
    read: usize,
    bytes: usize,
}

/// One consumer and what it holds.
struct Held {
    channel: Channel,
    consumer: Consumer,
    /// What waits on the channel.
    place: Place,
    ledger: Ledger,
    prefetch: u16,
    /// Letters that stay in the queue.
    kept: u32,
    has_settled: bool,
}

/// What keeps or removes a letter that was read.
#[derive(Debug)]
pub struct Receipt {
    consumer: usize,
    tag: u64,
}

impl<'a> Reader<'a> {
    /// Opens the queue. Other commands that hold letters are waited for, a few seconds.
    ///
    /// # Errors
    /// The broker is unreachable, or the user may not read the queue.
    pub async fn open(broker: &'a Broker) -> Result<Self> {
        topology::declare_dead_letters(broker).await?;
        let left = present(broker).await?;
        Ok(Self { broker, consumers: Vec::new(), left, read: 0, bytes: 0 })
    }

    /// How many letters are still to be read, at most.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The most bytes of a frame of what letters come on; without a limit before the first comes.
    pub fn frame_max(&self) -> usize {
        self.consumers.last().map_or(usize::MAX, |held| held.channel.frame_max())
    }

    /// The next letter, if it is here already.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn try_next(&mut self) -> Result<Option<(Letter, Receipt)>> {
        let Some(held) = self.consumers.last_mut().filter(|_| self.left > 0) else {
            return Ok(None);
        };
        match held.consumer.next().now_or_never() {
            Some(delivery) => self.on_delivery(delivery).map(Some),
            None => Ok(None),
        }
    }

    /// Waits for the next letter; none if all have been read, or if others have taken what
    /// is left. Each letter that was read before has to be kept or removed by then.
    ///
    /// # Errors
    /// The broker is unreachable, or the user may not read the queue.
    pub async fn next(&mut self) -> Result<Option<(Letter, Receipt)>> {
        if let Some(read) = self.try_next()? {
            return Ok(Some(read));
        }
        self.flush();
        if self.left > 0 && self.consumers.last().is_none_or(Held::is_full) {
            let prefetch = u16::try_from(self.left).unwrap_or(u16::MAX).min(self.prefetch());
            self.consumers.push(Held::open(self.broker, prefetch).await?);
        }
        let (mut silences, mut answers) = (0, 0);
        while self.left > 0
            && let Some(Held { channel, consumer, .. }) = self.consumers.last_mut()
        {
            let ready = tokio::select! {
                delivery = consumer.next() => return self.on_delivery(delivery).map(Some),
                ready = ready_after_silence(channel) => ready?,
            };
            silences += 1;
            answers = if ready == 0 { answers + 1 } else { 0 };
            if answers == ANSWERS {
                return self.try_next();
            }
            if silences > SILENCES {
                bail!("the broker has {ready} more dead letters but does not deliver them");
            }
        }
        Ok(None)
    }

    /// How many letters the next consumer may have: as many as fit, by their usual size.
    fn prefetch(&self) -> u16 {
        match self.bytes.checked_div(self.read) {
            None => PREFETCH,
            Some(usual) => {
                u16::try_from(BYTES / usual.max(1)).unwrap_or(u16::MAX).clamp(1, LARGEST_PREFETCH)
            }
        }
    }

    fn on_delivery(
        &mut self,
        delivery: Option<lapin::Result<Delivery>>,
    ) -> Result<(Letter, Receipt)> {
        let delivery = delivery.context("the broker ended the consumer of the dead letters")?;
        let delivery = delivery.map_err(topology::dead_letters_error)?;
        let tag = delivery.delivery_tag;
        let consumer = self.consumers.len() - 1;
        self.consumers[consumer].ledger.delivered(tag);
        self.consumers[consumer].place.take(delivery.data.len());
        self.left -= 1;
        self.read += 1;
        self.bytes += delivery.data.len();
        Ok((Letter::read(incoming(delivery)), Receipt { consumer, tag }))
    }

    /// Has a letter stay in the queue.
    pub fn keep(&mut self, receipt: Receipt) {
        self.consumers[receipt.consumer].kept += 1;
    }

    /// Removes a letter from the queue.
    pub fn remove(&mut self, receipt: Receipt) {
        let held = &mut self.consumers[receipt.consumer];
        held.has_settled = true;
        held.ledger.settle(receipt.tag);
        if held.ledger.unsent() >= ACKS {
            held.flush();
        }
    }

    fn flush(&mut self) {
        self.consumers.iter_mut().for_each(Held::flush);
    }

    /// Returns what it holds to the queue, and waits until that is done. It is done, too, if nobody
    /// waits, or if the reader is dropped.
    pub async fn close(mut self) {
        if let Some(returned) = self.give_back() {
            // It can fail only if the process ends.
            let _ = returned.await;
        }
    }

    fn give_back(&mut self) -> Option<JoinHandle<()>> {
        let held = std::mem::take(&mut self.consumers);
        let runtime = held.first()?.channel.runtime().clone();
        Some(runtime.spawn(give_back(held)))
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        drop(self.give_back());
    }
}

/// Returns what they hold to the queue, one after the other.
async fn give_back(mut consumers: Vec<Held>) {
    let mut patience = Patience(ANSWER_TIMEOUT);
    consumers.iter_mut().for_each(Held::flush);
    for held in consumers.iter().filter(|held| held.has_settled) {
        patience.wait(held.settled()).await;
    }
    // What returns must not come to the last consumer, if it can take more.
    if let [.., _, last] = consumers.as_slice()
        && last.has_settled
    {
        let cancel = last.channel.basic_cancel(last.consumer.tag(), BasicCancelOptions::default());
        // It fails if the connection is lost, and the broker has noticed then.
        patience.wait(cancel).await;
    }
    let mut consumers = consumers.into_iter().peekable();
    while let Some(held) = consumers.next() {
        let next = consumers.peek().map(|next| &next.channel);
        // A channel that is dropped is closed, too.
        patience.wait(give_back_one(held.channel, next)).await;
    }
}

/// How long the broker may take for each step of giving back. Once it has taken longer, nothing is
/// waited for any more, and letters that were removed may come again, or others in another order.
struct Patience(Duration);

impl Patience {
    async fn wait<T>(&mut self, step: impl Future<Output = T>) {
        if timeout(self.0, step).await.is_err() {
            self.0 = Duration::ZERO;
        }
    }
}

/// Closes a consumer's channel, and waits until the queue has back what it held, which is some time
/// after the channel is closed. The next in turn can tell: the queue has one consumer less.
async fn give_back_one(channel: Channel, next: Option<&Channel>) {
    let Some(next) = next else { return close_channel_within(ANSWER_TIMEOUT, channel).await };
    let consumers = || async { topology::depth_on(next, DEAD).await.map(|depth| depth.consumers) };
    let before = consumers().await;
    close_channel_within(ANSWER_TIMEOUT, channel).await;
    // Where it cannot be asked, the connection is lost, and all of it is given back.
    let Ok(before) = before else { return };
    let forgotten = async {
        while consumers().await.is_ok_and(|now| now >= before) {
            tokio::time::sleep(LOOK).await;
        }
    };
    // Another command may have begun to read meanwhile.
    let _ = timeout(OTHERS, forgotten).await;
}

/// How many letters wait for a consumer, asked on the channel of one after a time without a letter.
async fn ready_after_silence(channel: &Channel) -> Result<u32> {
    tokio::time::sleep(SILENCE).await;
    let depth = topology::depth_on(channel, DEAD).map_err(topology::dead_letters_error);
    Ok(answered("asking for more dead letters", depth).await?.messages)
}

impl Held {
    async fn open(broker: &Broker, prefetch: u16) -> Result<Self> {
        let (channel, place) = broker.letters_place().await?;
        let consume = async {
            let set = channel.basic_qos(prefetch, BasicQosOptions::default());
            set.await.context("setting the prefetch")?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let consume = channel.basic_consume(DEAD.into(), "".into(), options, arguments);
            consume.await.map_err(topology::dead_letters_error)
        };
        let consumer = answered("reading the queue of dead letters", consume).await?;
        let ledger = Ledger::new();
        Ok(Self { channel, consumer, place, ledger, prefetch, kept: 0, has_settled: false })
    }

    fn is_full(&self) -> bool {
        self.kept >= self.prefetch.into()
    }

    /// Waits until the queue has the acknowledgements. RabbitMQ keeps those that come faster
    /// than a quorum queue takes them in the channel, and forgets them when it closes. Asking
    /// the queue for a message makes it wait for them; the second time for those that it
    /// could pass on only after the first. A letter that it gives returns with the others.
    async fn settled(&self) {
        for _ in 0..2 {
            let got = self.channel.basic_get(DEAD.into(), BasicGetOptions::default());
            // It fails if the connection is lost. What was not acknowledged is there again.
            let _ = got.await;
        }
    }

    fn flush(&mut self) {
        for ack in self.ledger.take() {
            let options = BasicAckOptions { multiple: ack.multiple };
            // Polling once puts the frame into the connection's queue. A later error ends the
            // consumer too, and is noticed there.
            let _ = self.channel.basic_ack(ack.tag, options).now_or_never();
        }
    }
}

/// How many letters there are, without those that other commands hold longer than a few
/// seconds.
async fn present(broker: &Broker) -> Result<u32> {
    let mut waited = Duration::ZERO;
    loop {
        let depth = topology::depth(broker, DEAD).await?;
        let Some(depth) = depth else { return Ok(0) };
        if depth.consumers == 0 || waited >= OTHERS {
            return Ok(depth.messages);
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}
