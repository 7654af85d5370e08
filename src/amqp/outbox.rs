//! Publishing with confirms, with thousands of messages in flight.
//!
//! What is published when, and what becomes of it, the [`Publisher`] knows; this is its
//! driver.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::Confirmation;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use tokio::time::timeout;

use super::broker::Broker;
use super::channel::Channel;
use super::check::{Checked, check};
use super::confirms::Confirms;
use super::ending::Ending;
use super::properties::{content_header_size, from_amqp, short, to_amqp};
use super::untaken::Untaken;
use super::wire::stand_in;
use super::{letter, topology};
use crate::event::{Message, Outgoing};
use crate::settings::Unroutable;
use crate::transport::{
    self, Completed, Fate, LETTER_WAITS, Likeness, Publisher, Step, unroutable,
};

/// How long opening a channel may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// After so many messages whose confirm nobody waits for any more, a new channel is better: what is
/// kept of them goes with the old one.
const ABANDONED: usize = 1000;

/// How long people are told of dead letters of delayed messages that have no place, after the last
/// one. By then those that wait still were sent again; the others are no dead letters any more,
/// since what they are of was delivered, or cancelled.
const DELAYED_LETTERS: Duration = LETTER_WAITS.saturating_add(Duration::from_secs(10));

/// Publishes on a channel of its own, for one session. When the broker closes the channel
/// because of a message, another one is opened, and the session goes on.
pub struct Outbox {
    broker: Arc<Broker>,
    /// Whether the broker returns what is unroutable, whatever the message is.
    is_mandatory: bool,
    publisher: Publisher,
    channel: State,
    checks: FuturesUnordered<BoxFuture<'static, Checked>>,
    untaken: Untaken,
}

enum State {
    Open(Box<Open>),
    Opening(BoxFuture<'static, Result<Channel>>),
}

struct Open {
    channel: Channel,
    confirms: Confirms,
    question: Option<Question>,
    ending: Ending,
}

/// Something to ask the broker on the channel, which it answers when it has looked at all
/// that was published before: up to this number.
struct Question {
    up_to: u64,
    /// None until what was published is written: the channel would send the question first.
    answer: Option<BoxFuture<'static, lapin::Result<()>>>,
}

impl Outbox {
    /// Opens a channel with confirms, for what plugins publish: `[amqp] unroutable` says what
    /// becomes of one that is unroutable.
    ///
    /// # Errors
    /// The broker is unreachable.
    pub async fn open(broker: Arc<Broker>) -> Result<Self> {
        let is_mandatory = broker.settings().unroutable == Unroutable::DeadLetter;
        Self::opened(broker, is_mandatory).await
    }

    /// The same for delayed messages, whose dead letters wait in the store as what they are of.
    ///
    /// # Errors
    /// The broker is unreachable.
    pub async fn open_for_delayed(broker: Arc<Broker>) -> Result<Self> {
        let mut outbox = Self::open(broker).await?;
        outbox.untaken = Untaken::of_delayed(outbox.broker.health().clone(), DELAYED_LETTERS);
        Ok(outbox)
    }

    /// Opens a channel with confirms, for events: one that is unroutable is never confirmed,
    /// whatever the settings say of what plugins publish.
    ///
    /// # Errors
    /// The broker is unreachable.
    pub async fn open_for_events(broker: Arc<Broker>) -> Result<Self> {
        Self::opened(broker, true).await
    }

    async fn opened(broker: Arc<Broker>, is_mandatory: bool) -> Result<Self> {
        let channel = open_channel(Arc::clone(&broker)).await?;
        Ok(Self {
            untaken: Untaken::new(broker.health().clone()),
            broker,
            is_mandatory,
            publisher: Publisher::new(topology::DEAD),
            channel: State::opened(channel),
            checks: FuturesUnordered::new(),
        })
    }

    /// Gives all that can be published to the channel at once, since one at a time would
    /// wake the thread that writes to the broker each time. Says whether there was any.
    fn flush(&mut self) -> bool {
        if matches!(&self.channel, State::Open(open) if open.ending.has_begun()) {
            return false;
        }
        let mut any = false;
        while let Some(step) = self.publisher.next_step(exchange_of) {
            any = true;
            match step {
                Step::Publish(key) => self.publish(key),
                Step::Ask(up_to) => {
                    if let State::Open(open) = &mut self.channel {
                        open.question = Some(Question { up_to, answer: None });
                    }
                }
                Step::Check(exchange) => {
                    let channel = match &self.channel {
                        State::Open(open) => Some(open.channel.clone()),
                        // If there is no connection, that is told by itself.
                        State::Opening(_) => None,
                    };
                    let is_connected = move || channel.as_ref().is_none_or(Channel::has_connection);
                    let check = check(Arc::clone(&self.broker), exchange, is_connected);
                    self.checks.push(Box::pin(check));
                }
            }
        }
        any
    }

    fn publish(&mut self, key: usize) {
        let State::Open(open) = &mut self.channel else { return };
        let Open { channel, confirms, .. } = &mut **open;
        let outgoing = self.publisher.outgoing(key);
        let frame_max = channel.frame_max();
        let message = as_message(outgoing, &self.broker, frame_max);
        let size = content_header_size(&message.properties);
        if size > frame_max {
            let reason = format!(
                "its properties take {size} bytes on the wire, more than the {frame_max} that a \
                 frame may have (frame_max of the broker, or 131072 if it sets no limit)"
            );
            return self.publisher.on_impossible(key, reason);
        }
        let channel = channel.clone();
        let (exchange, routing_key) = (short(&message.exchange), short(&message.routing_key));
        let properties = to_amqp(&message.properties);
        let body = message.body.clone();
        let options = BasicPublishOptions {
            mandatory: self.is_mandatory
                || is_always_mandatory(outgoing)
                || self.broker.renewed().has(&message.exchange),
            immediate: false,
        };
        confirms.send(key as u64, async move {
            channel.basic_publish(exchange, routing_key, options, &body, properties).await
        });
    }

    /// Tells the publisher all that is there: confirms and returns, or that the channel is
    /// closed.
    ///
    /// # Errors
    /// The connection is lost.
    fn poll_channel(&mut self, context: &mut task::Context<'_>) -> Result<()> {
        match &mut self.channel {
            State::Open(open) => {
                let Open { channel, confirms, question, ending } = &mut **open;
                let frame_max = channel.frame_max();
                while let Poll::Ready((key, confirmation)) = confirms.poll_next(context) {
                    match confirmation {
                        Ok(confirmation) => on_confirmation(
                            &mut self.publisher,
                            key as usize,
                            confirmation,
                            |outgoing| as_message(outgoing, &self.broker, frame_max),
                        )?,
                        // All that is on the channel ends so.
                        Err(error) => ending.note(error),
                    }
                }
                if let Poll::Ready(ended) = ending.poll(!confirms.is_empty(), context) {
                    let refusal = ended.context("publishing")?;
                    tracing::debug!("the broker closed a channel: {refusal}");
                    if let Some(missing) = refusal.missing_exchange() {
                        self.broker.renewed().gone(missing);
                    }
                    self.publisher.on_closed(&refusal, exchange_of);
                    self.channel = State::opening(&self.broker);
                    return self.poll_channel(context);
                }
                if confirms.all_written()
                    && let Some(up_to) = poll_question(question, channel, context)
                {
                    self.publisher.on_looked_at(up_to);
                }
            }
            State::Opening(opening) => {
                if let Poll::Ready(channel) = opening.poll_unpin(context) {
                    self.channel = State::opened(channel?);
                    self.publisher.on_opened();
                }
            }
        }
        Ok(())
    }

    fn next_completed(&mut self) -> Option<Completed> {
        let completed = self.publisher.next_completed()?;
        self.on_letter(&completed);
        let Completed { token, outgoing, fate } = completed;
        let fate = match &outgoing {
            Outgoing::Dead(_) => fate,
            Outgoing::Message(message) => {
                let (renewed, health) = (self.broker.renewed(), self.broker.health());
                renewed.judged(fate, &message.exchange, self.is_mandatory, health)
            }
        };
        Some(Completed { token, outgoing, fate })
    }

    /// If it is a dead letter, its fate is known. One that waits is sent again by whoever sent it; if it
    /// had no place, its exchange and queue are declared again by then.
    fn on_letter(&mut self, completed: &Completed) {
        let Outgoing::Dead(letter) = &completed.outgoing else { return };
        if completed.fate == Fate::Confirmed {
            self.untaken.taken(&letter.plugin);
        } else if let Some(reason) = completed.waits() {
            self.untaken.waits(&letter.plugin, reason);
        }
        if matches!(completed.fate, Fate::Returned(_) | Fate::Refused(_)) {
            self.publisher.on_useless(topology::DEAD);
        }
    }

    fn poll_checks(&mut self, context: &mut task::Context<'_>) -> Poll<Result<()>> {
        match self.checks.poll_next_unpin(context) {
            Poll::Ready(Some((exchange, checked))) => {
                self.publisher.on_checked(&exchange, checked?);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_completed(&mut self, context: &mut task::Context<'_>) -> Poll<Result<Completed>> {
        loop {
            self.poll_channel(context)?;
            self.untaken.poll(context);
            self.publisher.on_all_told();
            if let Some(completed) = self.next_completed() {
                return Poll::Ready(Ok(completed));
            }
            if self.publisher.abandoned() > ABANDONED {
                tracing::debug!(
                    "{ABANDONED} messages are not confirmed: another channel is opened"
                );
                self.publisher.on_given_up();
                self.channel = State::opening(&self.broker);
                continue;
            }
            if self.poll_checks(context)?.is_ready() || self.flush() {
                continue;
            }
            return Poll::Pending;
        }
    }
}

/// Asks the question, if there is one; gives its number when it is answered. That it cannot be,
/// since the channel is closed, the confirms tell.
fn poll_question(
    question: &mut Option<Question>,
    channel: &Channel,
    context: &mut task::Context<'_>,
) -> Option<u64> {
    let Question { up_to, answer } = question.as_mut()?;
    let answer = answer.get_or_insert_with(|| {
        let channel = channel.clone();
        // It has been said already, and changes nothing.
        Box::pin(async move { channel.confirm_select(ConfirmSelectOptions::default()).await })
    });
    match answer.poll_unpin(context) {
        Poll::Pending => None,
        Poll::Ready(answered) => {
            let up_to = *up_to;
            *question = None;
            answered.ok().map(|()| up_to)
        }
    }
}

impl transport::Outbox for Outbox {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        self.publisher.send(token, outgoing);
    }

    fn copy(&mut self, token: u64) -> Option<Outgoing> {
        if self.broker.is_blocked() { None } else { self.publisher.copy(token) }
    }

    fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        // To send it again later would only add copies.
        if self.broker.is_blocked() {
            return None;
        }
        self.publisher.abandon(token)
    }

    fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        if self.broker.is_blocked() {
            return None;
        }
        self.publisher.withdraw(token)
    }

    async fn completed(&mut self) -> Result<Completed> {
        if let Some(completed) = self.next_completed() {
            return Ok(completed);
        }
        poll_fn(|context| self.poll_completed(context)).await
    }
}

impl State {
    fn opened(channel: Channel) -> Self {
        let (confirms, ending) = (Confirms::default(), Ending::default());
        Self::Open(Box::new(Open { channel, confirms, question: None, ending }))
    }

    fn opening(broker: &Arc<Broker>) -> Self {
        Self::Opening(Box::pin(open_channel(Arc::clone(broker))))
    }
}

async fn open_channel(broker: Arc<Broker>) -> Result<Channel> {
    let opening = async {
        let channel = broker.publishing_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .context("asking for confirms")?;
        Ok(channel)
    };
    timeout(OPEN_TIMEOUT, opening)
        .await
        .with_context(|| format!("opening a channel took longer than {OPEN_TIMEOUT:?}"))?
}

fn exchange_of(outgoing: &Outgoing) -> &str {
    match outgoing {
        Outgoing::Message(message) => &message.exchange,
        Outgoing::Dead(_) => topology::DEAD,
    }
}

fn as_message<'a>(outgoing: &'a Outgoing, broker: &Broker, frame_max: usize) -> Cow<'a, Message> {
    match outgoing {
        Outgoing::Message(message) => Cow::Borrowed(message),
        Outgoing::Dead(letter) => {
            let queue = topology::queue_name(broker, &letter.plugin);
            Cow::Owned(letter::to_message(letter, queue, frame_max))
        }
    }
}

/// Whether the broker is to return the message if it is unroutable, in every outbox: dead
/// letters, and events that a person sends back to a plugin's queue.
fn is_always_mandatory(outgoing: &Outgoing) -> bool {
    match outgoing {
        Outgoing::Dead(_) => true,
        Outgoing::Message(message) => message.exchange.is_empty(),
    }
}

fn on_confirmation(
    publisher: &mut Publisher,
    key: usize,
    confirmation: Confirmation,
    as_message: impl Fn(&Outgoing) -> Cow<'_, Message>,
) -> Result<()> {
    let returned = match confirmation {
        Confirmation::Ack(returned) => {
            publisher.on_confirm(key, None);
            returned
        }
        Confirmation::Nack(returned) => {
            let reason = "a queue bound to this key rejects messages: it may be full";
            publisher.on_confirm(key, Some(reason.into()));
            returned
        }
        Confirmation::NotRequested => bail!("the channel does not confirm"),
    };
    // lapin gives a returned message with the next confirm, which may be that of another
    // message.
    if let Some(mut returned) = returned {
        let body = own_body(&mut returned);
        publisher.on_return(explain(&returned), |outgoing| {
            likeness(&returned, &body, &as_message(outgoing))
        });
    }
    Ok(())
}

/// The body that was published: lapin has a longer one of a message whose properties it cannot
/// read, as it has of a delivery.
fn own_body(returned: &mut BasicReturnMessage) -> Bytes {
    let mut body = Bytes::from(std::mem::take(&mut returned.data));
    stand_in::resolve(&mut from_amqp(&returned.properties), &mut body);
    body
}

/// How much a message is like the returned one, which had this body. A `message_id` is chosen by
/// whoever publishes an event, and may be that of several messages. A number of the router's own
/// would tell them apart too, but it would take the properties beyond the 64 bytes up to which
/// RabbitMQ is fast.
fn likeness(returned: &BasicReturnMessage, body: &[u8], message: &Message) -> Likeness {
    if returned.exchange.as_str() != message.exchange
        || returned.routing_key.as_str() != message.routing_key
    {
        Likeness::Other
    } else if *body != message.body[..] {
        Likeness::Akin
    } else if returned.properties != to_amqp(&message.properties) {
        Likeness::Alike
    } else {
        Likeness::Same
    }
}

fn explain(returned: &BasicReturnMessage) -> String {
    let said = format!("{} {}", returned.reply_code, returned.reply_text.as_str());
    unroutable(returned.exchange.as_str(), returned.routing_key.as_str(), &said)
}
