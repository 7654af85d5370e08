//! Writing dead letters, and sending them back.

use anyhow::{Result, bail, ensure};

use super::{EVENT, Letter, PUBLICATION, address, original_headers};
use crate::amqp::broker::Broker;
use crate::amqp::broker_headers::DELIVERY_COUNTS;
use crate::amqp::original;
use crate::amqp::properties::content_header_size;
use crate::amqp::topology::{self, DEAD};
use crate::event::{
    DeadKind, DeadLetter, Incoming, Message, Properties, SHORT_STRING, Unreadable, Value, headers,
    shortened,
};

/// The longest name that a letter's header has whole, in bytes. AMQP's names are shorter; one that
/// was imported into the delay store need not be, and a letter has to fit a frame.
const LONGEST: usize = 1024;

/// A dead letter as a message: the original bytes and properties, and headers that say
/// what happened. Its routing key is the plugin's name. `frame_max` is the size of the
/// frame that its properties must fit into, `queue` the plugin's queue. Original properties
/// that leave no room, or that the broker refuses, follow the body.
pub fn to_message(letter: &DeadLetter, queue: String, frame_max: usize) -> Message {
    let mut message = letter.message.clone();
    original_headers::set_aside(&mut message.properties.headers);
    let (exchange, routing_key) = match message.properties.unreadable.take() {
        Some(unreadable) => {
            let Unreadable { exchange, routing_key, properties, .. } = *unreadable;
            if let Some(properties) = properties {
                original::keep(properties, &mut message.properties, &mut message.body, frame_max);
            }
            (original::value(exchange), original::value(routing_key))
        }
        None => (name(&message.exchange), name(&message.routing_key)),
    };
    let kind = match letter.kind {
        DeadKind::Event => EVENT,
        DeadKind::Publication => PUBLICATION,
    };
    let entries: [(&str, Value); 9] = [
        (headers::REASON, letter.reason.as_str().into()),
        (headers::PLUGIN, name(&letter.plugin)),
        (headers::VERSION, name(&letter.version)),
        (headers::ATTEMPTS, i64::from(letter.attempts).into()),
        (headers::KIND, kind.into()),
        (headers::QUEUE, name(&queue)),
        (headers::EXCHANGE, exchange),
        (headers::ROUTING_KEY, routing_key),
        (headers::DEAD_SINCE, letter.since.to_string().into()),
    ];
    let body_size = letter.body_size.and_then(|size| i64::try_from(size).ok());
    let body_size = body_size.map(|size| (headers::BODY_SIZE, size.into()));
    let entries = entries.into_iter().chain(body_size);
    let entries: Vec<_> = entries.map(|(name, value)| (name.to_owned(), value)).collect();
    message.properties.headers.extend(entries.clone());
    let fits = !letter.is_bare && content_header_size(&message.properties) <= frame_max;
    if !fits && let Some(original) = original::written(&letter.message.properties) {
        original::keep_behind(&original, &mut message.properties, &mut message.body);
        message.properties.headers.extend(entries);
    }
    // It must wait for a person, however long that takes.
    message.properties.expiration = None;
    message.exchange = DEAD.to_owned();
    message.routing_key = letter.plugin.clone();
    message
}

fn name(text: &str) -> Value {
    shortened(text, LONGEST).as_str().into()
}

/// An event as it was first delivered: without the broker's delivery count, and if it was
/// sent back to the plugin's queue, with its original exchange and routing key. The
/// router's own headers are removed: only a router may set them.
pub fn restored(mut message: Incoming) -> Incoming {
    let headers = &mut message.properties.headers;
    if headers.is_empty() {
        return message;
    }
    let [count, _] = DELIVERY_COUNTS.map(|name| headers.remove(name).and_then(|it| it.int()));
    // A publisher's own header says nothing of a message that was not delivered before.
    if let (1.., Some(count)) = (message.deliveries, count) {
        message.deliveries = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    }
    let came_through = message.exchange.as_bytes();
    let sent_back = address::take(came_through, &mut message.properties, &mut message.body);
    headers::remove_own(&mut message.properties.headers);
    if let Some((exchange, routing_key)) = sent_back {
        original::set_address(&mut message, exchange, routing_key);
    }
    message
}

/// The exchange or routing key of a publication, as it is sent back.
fn sendable(what: &str, bytes: &[u8]) -> Result<String> {
    ensure!(
        bytes.len() <= SHORT_STRING,
        "its {what} has {} bytes, and AMQP allows {SHORT_STRING}: discard it",
        bytes.len()
    );
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

impl Letter {
    /// The message that sends it back: an event to the queue that it came from, a
    /// publication to its exchange. Where the properties of an event leave no room in a frame of
    /// `frame_max` bytes for what the router adds, they follow the body.
    ///
    /// # Errors
    /// Only the start of its body is left, or its exchange or routing key is longer than AMQP allows.
    pub(in crate::amqp) fn to_requeue(&self, broker: &Broker, frame_max: usize) -> Result<Message> {
        if let Some(size) = self.body_size {
            bail!(
                "only the start of its body of {size} bytes is left, since the broker takes no more"
            );
        }
        let queue = self.queue.clone();
        let queue = queue.unwrap_or_else(|| topology::queue_name(broker, &self.plugin));
        let (exchange, routing_key, body) = (&self.exchange, &self.routing_key, self.body.clone());
        // Others were only too large for the letter, as are a publication's.
        let original = self
            .unreadable
            .as_deref()
            .filter(|original| self.kind == DeadKind::Event && !original::is_readable(original));
        if let Some(original) =
            original.and_then(|it| original::to_requeue(it, exchange, routing_key))
        {
            let message_id = self.properties.message_id.clone();
            let unreadable = Unreadable { properties: Some(original), ..Unreadable::default() };
            let unreadable = Some(unreadable.into());
            let properties = Properties { message_id, unreadable, ..Properties::default() };
            if content_header_size(&properties) > frame_max {
                return Ok(self.reduced(queue));
            }
            let properties = properties.into();
            return Ok(Message { exchange: String::new(), routing_key: queue, properties, body });
        }
        let mut properties = self.properties.clone();
        let (exchange, routing_key) = match self.kind {
            DeadKind::Publication => {
                properties.message_id.get_or_insert_with(|| self.id.clone());
                (sendable("exchange", exchange)?, sendable("routing key", routing_key)?)
            }
            DeadKind::Event => {
                address::put(&mut properties.headers, exchange.clone(), routing_key.clone());
                if content_header_size(&properties) > frame_max {
                    return Ok(self.reduced(queue));
                }
                (String::new(), queue)
            }
        };
        Ok(Message { exchange, routing_key, properties: properties.into(), body })
    }

    /// An event on its way back with its properties behind its body.
    fn reduced(&self, queue: String) -> Message {
        let message_id = self.properties.message_id.clone();
        let mut properties = Properties { message_id, ..Properties::default() };
        let mut body = self.body.clone();
        let original = self.unreadable.clone().or_else(|| original::written(&self.properties));
        if let Some(original) = original {
            original::keep_behind(&original, &mut properties, &mut body);
        }
        let (exchange, routing_key) = (self.exchange.clone(), self.routing_key.clone());
        address::mark(&mut properties.headers, exchange, routing_key);
        Message { exchange: String::new(), routing_key: queue, properties: properties.into(), body }
    }
}
