//! MO events to send, messages to receive, and how the two are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    PublisherConfirm, Queue,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{PATIENCE, ask_until, within_reason};

/// After how long RabbitMQ says of a quorum queue that does not answer that it is empty:
/// `src/amqp/topology/depth.rs`.
const UNANSWERED: Duration = Duration::from_millis(250);

/// A client of the broker.
pub struct Client {
    connection: Connection,
    channel: Channel,
}

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The routing key that it came with.
    pub routing_key: String,
    /// Its headers, as text.
    pub headers: BTreeMap<String, String>,
    /// Its properties.
    pub properties: BasicProperties,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects, and waits for the broker if it is not there yet.
    pub async fn connect(url: &str) -> Self {
        ask_until("a connection", || async { Self::try_connect(url).await.ok() }).await
    }

    /// Connects.
    ///
    /// # Errors
    /// The broker is not there, or does not take the connection.
    pub async fn try_connect(url: &str) -> lapin::Result<Self> {
        let mut uri: AMQPUri = url.parse().expect("the URL of a broker");
        // A broker may set no limit, for which lapin would make room.
        uri.query.frame_max.get_or_insert(128 << 10);
        let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }

    /// Closes the connection.
    #[allow(dead_code, reason = "the benchmarks drop theirs")]
    pub async fn close(&self) {
        // It may be closed already.
        let _ = self.connection.close(200, "done".into()).await;
    }

    /// Makes a topic exchange.
    pub async fn exchange(&self, name: &str, durable: bool) {
        self.declare(name, ExchangeDeclareOptions { durable, ..Default::default() }).await;
    }

    /// Makes a topic exchange that nobody may publish to.
    pub async fn internal_exchange(&self, name: &str) {
        let (durable, internal) = (true, true);
        let options = ExchangeDeclareOptions { durable, internal, ..Default::default() };
        self.declare(name, options).await;
    }

    /// Makes an exchange that looks at no routing key.
    #[allow(dead_code, reason = "the benchmarks have topic exchanges alone")]
    pub async fn fanout_exchange(&self, name: &str) {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        self.declare_as(name, ExchangeKind::Fanout, options).await;
    }

    async fn declare(&self, name: &str, options: ExchangeDeclareOptions) {
        self.declare_as(name, ExchangeKind::Topic, options).await;
    }

    async fn declare_as(&self, name: &str, kind: ExchangeKind, options: ExchangeDeclareOptions) {
        let arguments = FieldTable::default();
        self.channel.exchange_declare(name.into(), kind, options, arguments).await.unwrap();
    }

    /// Makes a durable queue of the same name that gets all that passes an exchange.
    pub async fn catch_all(&self, exchange: &str) {
        self.catch(exchange, FieldTable::default()).await;
    }

    /// The same with a queue that has room for one message, and refuses others.
    pub async fn catch_one(&self, exchange: &str) {
        let mut narrow = FieldTable::default();
        narrow.insert("x-max-length".into(), AMQPValue::LongInt(1));
        narrow.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        self.catch(exchange, narrow).await;
    }

    /// The same with a queue that every node of a cluster has.
    #[allow(dead_code, reason = "the benchmarks need no cluster")]
    pub async fn catch_replicated(&self, exchange: &str) {
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        self.catch(exchange, quorum).await;
    }

    async fn catch(&self, exchange: &str, arguments: FieldTable) {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        self.channel.queue_declare(exchange.into(), options, arguments).await.unwrap();
        self.bind_all(exchange, exchange).await;
    }

    /// Lets a queue get all that passes an exchange.
    pub async fn bind_all(&self, queue: &str, exchange: &str) {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        self.channel
            .queue_bind(queue.into(), exchange.into(), "#".into(), options, arguments)
            .await
            .unwrap();
    }

    /// Publishes events and waits until the broker has confirmed them all.
    ///
    /// # Errors
    /// The broker went away or refused an event; which events it has is unknown then.
    pub async fn try_publish(
        &self,
        exchange: &str,
        events: impl IntoIterator<Item = Event>,
    ) -> anyhow::Result<()> {
        for confirm in self.send(exchange, events).await? {
            anyhow::ensure!(confirm.await?.is_ack(), "the broker refused an event");
        }
        Ok(())
    }

    /// Publishes events and gives what waits for their confirms.
    ///
    /// # Errors
    /// The broker went away.
    pub async fn send(
        &self,
        exchange: &str,
        events: impl IntoIterator<Item = Event>,
    ) -> lapin::Result<Vec<PublisherConfirm>> {
        let mut confirms = Vec::new();
        for Event { key, body, properties } in events {
            let options = BasicPublishOptions::default();
            let sent = self.channel.basic_publish(
                exchange.into(),
                key.as_str().into(),
                options,
                &body,
                properties,
            );
            confirms.push(sent.await?);
        }
        Ok(confirms)
    }

    /// As [`Client::try_publish`], of a broker that stays.
    pub async fn publish(&self, exchange: &str, events: impl IntoIterator<Item = Event>) {
        within_reason("the confirms of events", self.try_publish(exchange, events)).await.unwrap();
    }

    /// Takes messages from a queue until there are enough; each may take its time.
    pub async fn take_until(
        &self,
        queue: &str,
        mut enough: impl FnMut(&[Received]) -> bool,
    ) -> Vec<Received> {
        let mut taken = Vec::new();
        if enough(&taken) {
            return taken;
        }
        self.take_each(queue, |message| {
            taken.push(message);
            enough(&taken)
        })
        .await;
        taken
    }

    /// Takes messages from a queue, each as it comes, until one of them was the
    /// last.
    pub async fn take_each(&self, queue: &str, mut is_last: impl FnMut(Received) -> bool) {
        let mut consumer = self.consume(queue).await.unwrap();
        let (mut count, mut last) = (0, None);
        loop {
            let Ok(delivery) = tokio::time::timeout(PATIENCE, consumer.next()).await else {
                panic!("{count} messages in {queue:?} were not enough, the last {last:?}");
            };
            let delivery = delivery.expect("the broker stays").unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            let message = Received::from(delivery);
            (count, last) = (count + 1, Some(message.clone()));
            if is_last(message) {
                break;
            }
        }
        self.channel.basic_cancel(consumer.tag(), Default::default()).await.unwrap();
    }

    /// Begins to take messages from a queue, up to 1000 ahead of their acknowledgements.
    ///
    /// # Errors
    /// There is no such queue, or the broker went away.
    pub async fn consume(&self, queue: &str) -> lapin::Result<Consumer> {
        self.channel.basic_qos(1000, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        self.channel.basic_consume(queue.into(), "".into(), options, arguments).await
    }

    /// Takes so many messages from a queue.
    pub async fn take(&self, queue: &str, count: usize) -> Vec<Received> {
        self.take_until(queue, |taken| taken.len() >= count).await
    }

    /// The first message that waits in a queue, which stays there.
    pub async fn look(&self, queue: &str) -> Received {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap();
        let delivery = got.expect("a message waits").delivery;
        delivery.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap();
        Received::from(delivery)
    }

    /// Waits until a queue has so many messages that nobody holds. What somebody held is there
    /// again some time after the channel was closed.
    pub async fn has(&self, queue: &str, count: u32) {
        let what = format!("{count} messages in {queue:?}");
        let has = || async { (self.depth(queue).await == count).then_some(()) };
        ask_until(&what, has).await;
    }

    /// How many messages wait in a queue that exists.
    pub async fn depth(&self, queue: &str) -> u32 {
        self.try_depth(queue).await.unwrap()
    }

    /// The same of one that may not be there, or not now.
    ///
    /// # Errors
    /// It is not there, or the broker went away.
    pub async fn try_depth(&self, queue: &str) -> lapin::Result<u32> {
        Ok(self.inspect(queue).await?.message_count())
    }

    /// How many messages a queue has once nobody consumes from it: with those that somebody held
    /// who is gone. A quorum queue gives them back as it forgets the consumer.
    #[allow(dead_code, reason = "the benchmarks need nothing back")]
    pub async fn returned(&self, queue: &str) -> u32 {
        ask_until(&format!("nobody to consume from {queue:?}"), || async {
            let queue = self.inspect(queue).await.unwrap();
            (queue.consumer_count() == 0).then(|| queue.message_count())
        })
        .await
    }

    /// What the broker says of a queue, when the queue has answered.
    async fn inspect(&self, name: &str) -> lapin::Result<Queue> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let answer = async {
            loop {
                let asked = Instant::now();
                let inspect = self.channel.queue_declare(name.into(), options, Default::default());
                let queue = inspect.await?;
                let is_empty = queue.message_count() == 0 && queue.consumer_count() == 0;
                if !is_empty || asked.elapsed() < UNANSWERED {
                    return Ok(queue);
                }
            }
        };
        within_reason(&format!("{name:?} to answer"), answer).await
    }

    /// Takes out all that waits in a queue, and says how many that were.
    #[allow(dead_code, reason = "the benchmarks do, the tests do not")]
    pub async fn purge(&self, queue: &str) -> u32 {
        self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap()
    }

    /// Deletes a queue with all that is in it.
    pub async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Deletes an exchange, and all its bindings with it.
    pub async fn delete_exchange(&self, name: &str) {
        self.channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
    }

    /// Removes a binding.
    pub async fn unbind(&self, queue: &str, exchange: &str, pattern: &str) {
        let unbind = self.channel.queue_unbind(
            queue.into(),
            exchange.into(),
            pattern.into(),
            FieldTable::default(),
        );
        unbind.await.unwrap();
    }

    /// Whether there is such an exchange.
    pub async fn has_exchange(&self, name: &str) -> bool {
        // A channel of its own: the broker closes one that asks for what is not there.
        let channel = self.connection.create_channel().await.unwrap();
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        channel
            .exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default())
            .await
            .is_ok()
    }
}

impl From<Delivery> for Received {
    fn from(delivery: Delivery) -> Self {
        let headers = delivery.properties.headers().as_ref().map(text_headers).unwrap_or_default();
        Self {
            routing_key: delivery.routing_key.to_string(),
            headers,
            properties: delivery.properties,
            body: delivery.data,
        }
    }
}

fn text_headers(table: &FieldTable) -> BTreeMap<String, String> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    table.inner().iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

impl Received {
    /// The number that [`numbered`] gave to the event.
    pub fn number(&self) -> u64 {
        self.json()["number"].as_u64().unwrap_or_else(|| panic!("no number in {self:?}"))
    }

    /// The body.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// An event to send.
#[derive(Clone, Debug)]
pub struct Event {
    /// The routing key.
    pub key: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// MO sets none, and so is the default.
    pub properties: BasicProperties,
}

impl Event {
    /// With any body.
    pub fn new(key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), body: body.into(), properties: BasicProperties::default() }
    }

    /// As MO sends it today, about one of `uuids` persons, with a number that
    /// tells it from others.
    pub fn numbered(number: u64, uuids: u64) -> Self {
        let person = Uuid::from_u128(u128::from(number % uuids) + 1);
        let body = serde_json::json!({
            "uuid": person,
            "object_uuid": Uuid::from_u128(u128::from(number)),
            "time": "2024-07-01T00:00:00+02:00",
            "number": number,
        });
        // Persistent, unlike MO's: the tests kill brokers and count.
        let properties = BasicProperties::default().with_delivery_mode(2);
        Self {
            key: "employee.engagement.edit".into(),
            body: body.to_string().into_bytes(),
            properties,
        }
    }
}

/// Events about a hundred persons.
pub fn numbered(numbers: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Event> {
    numbers.into_iter().map(|number| Event::numbered(number, 100))
}

/// The numbers of what arrived, each once.
pub fn numbers(received: &[Received]) -> BTreeSet<u64> {
    received.iter().map(Received::number).collect()
}

/// Tells, one message after the other, whether all events `0..count` have arrived.
pub fn all_of(count: u64) -> impl FnMut(&[Received]) -> bool {
    let (mut missing, mut looked_at): (BTreeSet<u64>, _) = ((0..count).collect(), 0);
    move |received| {
        for message in &received[looked_at..] {
            missing.remove(&message.number());
        }
        looked_at = received.len();
        missing.is_empty()
    }
}

/// Whether the events of each person came in the order in which they were sent.
pub fn assert_ordered(received: &[Received]) {
    let mut last = BTreeMap::new();
    for message in received {
        let person = message.json()["uuid"].as_str().unwrap().to_owned();
        if let Some(before) = last.insert(person, message.number()) {
            assert!(before < message.number(), "{} came after {before}", message.number());
        }
    }
}
