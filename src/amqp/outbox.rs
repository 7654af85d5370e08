//! Publishing with confirms, with thousands of messages in flight.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{self, Poll};

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};

use super::broker::Broker;
use super::confirms::Confirms;
use super::properties::{short, to_amqp};
use super::{letter, topology};
use crate::event::{Message, Outgoing};
use crate::settings::Unroutable;
use crate::transport::{self, Completed, Fate};

/// Publishes on a channel of its own, for one session.
pub struct Outbox {
    broker: Arc<Broker>,
    /// Shared with the messages in flight, because cloning a channel is expensive.
    channel: Arc<Channel>,
    /// The messages whose fate has not been reported, in the order they were sent.
    in_flight: VecDeque<Pending>,
    /// The number of the first of them, counted from the start of the session.
    first: u64,
    /// The number of the first that has not been given to the channel.
    unsent: u64,
    confirms: Confirms,
    /// Messages that the broker returned and that are not matched yet to one in flight.
    returned: Vec<BasicReturnMessage>,
    exchanges: HashMap<String, Exchange>,
    checks: FuturesUnordered<BoxFuture<'static, (String, Result<()>)>>,
}

/// A message whose fate has not been reported.
struct Pending {
    token: u64,
    outgoing: Outgoing,
    fate: Option<Fate>,
}

/// What is known about an exchange in this session. Publishing to one that does not exist
/// closes the channel, with everything in flight. A missing exchange is forgotten, and
/// checked again for the next message.
enum Exchange {
    Usable,
    /// Being checked, while the messages with these numbers wait.
    Checking(Vec<u64>),
}

impl Outbox {
    /// Opens a channel with confirms.
    ///
    /// # Errors
    /// The broker is unreachable.
    pub async fn open(broker: Arc<Broker>) -> Result<Self> {
        let channel = broker.publishing_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .context("asking for confirms")?;
        Ok(Self {
            broker,
            channel: Arc::new(channel),
            in_flight: VecDeque::new(),
            first: 0,
            unsent: 0,
            confirms: Confirms::default(),
            returned: Vec::new(),
            exchanges: HashMap::from([(topology::DEAD.to_owned(), Exchange::Usable)]),
            checks: FuturesUnordered::new(),
        })
    }

    /// Gives all unsent messages to the channel at once. One at a time, each would wake the
    /// thread that writes to the broker.
    fn flush(&mut self) {
        for number in self.unsent..self.next_number() {
            self.dispatch(number);
        }
        self.unsent = self.next_number();
    }

    /// The number that the next message gets.
    fn next_number(&self) -> u64 {
        self.first + self.in_flight.len() as u64
    }

    /// Publishes a message, if its exchange can be published to.
    fn dispatch(&mut self, number: u64) {
        let exchange = match &self.in_flight[(number - self.first) as usize].outgoing {
            Outgoing::Message(message) => message.exchange.as_str(),
            Outgoing::Dead(_) => topology::DEAD,
        };
        match self.exchanges.get_mut(exchange) {
            Some(Exchange::Usable) => self.publish(number),
            Some(Exchange::Checking(waiting)) => waiting.push(number),
            None => {
                let name = exchange.to_owned();
                self.exchanges.insert(name.clone(), Exchange::Checking(vec![number]));
                let broker = Arc::clone(&self.broker);
                self.checks.push(Box::pin(async move {
                    let checked = topology::ensure_exchange(&broker, &name).await;
                    (name, checked)
                }));
            }
        }
    }

    /// Gives a message to the channel. Its exchange must exist.
    fn publish(&mut self, number: u64) {
        let channel = Arc::clone(&self.channel);
        let pending = &self.in_flight[(number - self.first) as usize];
        let message = self.as_message(&pending.outgoing);
        let (exchange, routing_key) = (short(&message.exchange), short(&message.routing_key));
        let properties = to_amqp(&message.properties);
        let body = message.body.clone();
        let options = BasicPublishOptions {
            mandatory: self.is_mandatory(&pending.outgoing),
            immediate: false,
        };
        self.confirms.send(number, async move {
            channel.basic_publish(exchange, routing_key, options, &body, properties).await
        });
    }

    fn as_message<'a>(&self, outgoing: &'a Outgoing) -> Cow<'a, Message> {
        match outgoing {
            Outgoing::Message(message) => Cow::Borrowed(message),
            Outgoing::Dead(dead) => Cow::Owned(letter::to_message(
                dead,
                topology::queue_name(&self.broker, &dead.plugin),
                self.broker.frame_max(),
            )),
        }
    }

    /// Whether the broker is to return the message if no queue takes it. For dead letters,
    /// and for events that a person sends back to a plugin's queue, this does not depend on
    /// the settings.
    fn is_mandatory(&self, outgoing: &Outgoing) -> bool {
        self.broker.settings().unroutable == Unroutable::DeadLetter
            || match outgoing {
                Outgoing::Dead(_) => true,
                Outgoing::Message(message) => message.exchange.is_empty(),
            }
    }

    fn set_fate(&mut self, number: u64, fate: Fate) {
        self.in_flight[(number - self.first) as usize].fate = Some(fate);
    }

    fn on_confirmation(
        &mut self,
        number: u64,
        confirmation: lapin::Result<Confirmation>,
    ) -> Result<()> {
        let (fate, returned) = match confirmation.context("publishing")? {
            Confirmation::Ack(returned) => (Fate::Confirmed, returned),
            Confirmation::Nack(returned) => (
                Fate::Nacked("the broker nacked the message (a queue may be full)".into()),
                returned,
            ),
            Confirmation::NotRequested => bail!("the channel does not confirm"),
        };
        self.set_fate(number, fate);
        // lapin attaches a returned message to the next confirm, which may be that of another
        // message. So it is matched later, by its content.
        self.returned.extend(returned);
        Ok(())
    }

    fn on_checked(&mut self, exchange: String, checked: Result<()>) -> Result<()> {
        let Some(Exchange::Checking(waiting)) = self.exchanges.remove(&exchange) else {
            return Ok(());
        };
        match checked {
            Ok(()) => {
                self.exchanges.insert(exchange, Exchange::Usable);
                waiting.into_iter().for_each(|number| self.publish(number));
            }
            Err(error) if topology::is_permanent(&error) => {
                let reason = format!("{error:#}");
                for number in waiting {
                    self.set_fate(number, Fate::Undeliverable(reason.clone()));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits for the oldest message's fate.
    fn poll_completed(&mut self, context: &mut task::Context<'_>) -> Poll<Result<Completed>> {
        loop {
            // All available confirms are processed before any fate is returned; see `pop`.
            while let Poll::Ready((number, confirmation)) = self.confirms.poll_next(context) {
                self.on_confirmation(number, confirmation)?;
            }
            if let Some(confirmed) = self.pop() {
                return Poll::Ready(Ok(confirmed));
            }
            match self.checks.poll_next_unpin(context) {
                Poll::Ready(Some((exchange, checked))) => self.on_checked(exchange, checked)?,
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The oldest message, if its fate is known.
    ///
    /// The broker returns a message before it confirms it, and lapin attaches the return to
    /// that confirm or an earlier one. So when the oldest message is confirmed and all
    /// available confirms have been processed, so has its return, if there was one.
    fn pop(&mut self) -> Option<Completed> {
        self.in_flight.front()?.fate.as_ref()?;
        let Pending { token, outgoing, fate } = self.in_flight.pop_front()?;
        self.first += 1;
        let mut fate = fate?;
        if !self.returned.is_empty() {
            let message = self.as_message(&outgoing);
            if let Some(at) = self.returned.iter().position(|returned| is_same(returned, &message))
            {
                fate = Fate::Undeliverable(explain(&self.returned.swap_remove(at)));
            }
        }
        Some(Completed { token, outgoing, fate })
    }
}

impl transport::Outbox for Outbox {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        self.in_flight.push_back(Pending { token, outgoing, fate: None });
    }

    async fn completed(&mut self) -> Result<Completed> {
        if let Some(confirmed) = self.pop() {
            return Ok(confirmed);
        }
        self.flush();
        poll_fn(|context| self.poll_completed(context)).await
    }
}

/// Whether the returned message is this one, or one that cannot be told apart from it.
fn is_same(returned: &BasicReturnMessage, message: &Message) -> bool {
    returned.exchange.as_str() == message.exchange
        && returned.routing_key.as_str() == message.routing_key
        && returned.properties.message_id().as_ref().map_or("", ShortString::as_str) == message.id()
}

fn explain(returned: &BasicReturnMessage) -> String {
    format!(
        "no queue is bound to exchange {:?} for routing key {:?} ({} {})",
        returned.exchange.as_str(),
        returned.routing_key.as_str(),
        returned.reply_code,
        returned.reply_text.as_str(),
    )
}
