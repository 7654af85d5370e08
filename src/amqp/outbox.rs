//! Publishing with confirms, thousands under way at once.

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
use crate::transport::{self, Confirmed, Fate};

/// Publishes on a channel of its own, for one session.
pub struct Outbox {
    broker: Arc<Broker>,
    /// Shared with what is under way: a channel is costly to clone.
    channel: Arc<Channel>,
    /// What has been given to `send` and not come out of `confirmed`, in order.
    under_way: VecDeque<UnderWay>,
    /// The number of the first of them, counted over the whole session.
    first: u64,
    /// The number of the first that has not been given to the channel.
    unsent: u64,
    confirms: Confirms,
    /// What the broker has sent back and nobody has claimed yet.
    returned: Vec<BasicReturnMessage>,
    exchanges: HashMap<String, Exchange>,
    checks: FuturesUnordered<BoxFuture<'static, (String, Result<()>)>>,
}

struct UnderWay {
    token: u64,
    outgoing: Outgoing,
    fate: Option<Fate>,
}

/// What is known of an exchange, in this session. Publishing to one that does
/// not exist would close the channel, with everything under way. One that does not
/// exist now may exist when the next message comes, and is looked at again.
enum Exchange {
    Usable,
    /// Being looked at; the messages with these numbers wait.
    Checking(Vec<u64>),
}

impl Outbox {
    /// Opens a channel with confirms.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn open(broker: Arc<Broker>) -> Result<Self> {
        let channel = broker.publishing_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .context("asking for confirms")?;
        Ok(Self {
            broker,
            channel: Arc::new(channel),
            under_way: VecDeque::new(),
            first: 0,
            unsent: 0,
            confirms: Confirms::default(),
            returned: Vec::new(),
            exchanges: HashMap::from([(topology::DEAD.to_owned(), Exchange::Usable)]),
            checks: FuturesUnordered::new(),
        })
    }

    /// Gives the channel all that waits for it, in one go: one message at a time
    /// would wake the thread that writes to the broker once for each.
    fn flush(&mut self) {
        for number in self.unsent..self.next_number() {
            self.dispatch(number);
        }
        self.unsent = self.next_number();
    }

    /// The number that the next message gets.
    fn next_number(&self) -> u64 {
        self.first + self.under_way.len() as u64
    }

    /// Publishes a message, if its exchange can be published to.
    fn dispatch(&mut self, number: u64) {
        let exchange = match &self.under_way[(number - self.first) as usize].outgoing {
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
                    let checked = topology::exchange(&broker, &name).await;
                    (name, checked)
                }));
            }
        }
    }

    /// Gives a message to the channel, whose exchange is known to exist.
    fn publish(&mut self, number: u64) {
        let channel = Arc::clone(&self.channel);
        let under_way = &self.under_way[(number - self.first) as usize];
        let message = self.as_message(&under_way.outgoing);
        let (exchange, routing_key) = (short(&message.exchange), short(&message.routing_key));
        let properties = to_amqp(&message.properties);
        let body = message.body.clone();
        let options = BasicPublishOptions {
            mandatory: self.is_mandatory(&under_way.outgoing),
            immediate: false,
        };
        self.confirms.send(number, async move {
            channel.basic_publish(exchange, routing_key, options, &body, properties).await
        });
    }

    fn as_message<'a>(&self, outgoing: &'a Outgoing) -> Cow<'a, Message> {
        match outgoing {
            Outgoing::Message(message) => Cow::Borrowed(message),
            Outgoing::Dead(dead) => Cow::Owned(letter::to_message(dead, self.broker.frame_max())),
        }
    }

    /// Whether a message that no queue takes is to come back. A dead letter is, and
    /// so is what a person sends back to a plugin's queue, whatever is to become of
    /// publications.
    fn is_mandatory(&self, outgoing: &Outgoing) -> bool {
        self.broker.settings().unroutable == Unroutable::DeadLetter
            || match outgoing {
                Outgoing::Dead(_) => true,
                Outgoing::Message(message) => message.exchange.is_empty(),
            }
    }

    fn set_fate(&mut self, number: u64, fate: Fate) {
        self.under_way[(number - self.first) as usize].fate = Some(fate);
    }

    fn on_confirmation(
        &mut self,
        number: u64,
        confirmation: lapin::Result<Confirmation>,
    ) -> Result<()> {
        let (fate, returned) = match confirmation.context("publishing")? {
            Confirmation::Ack(returned) => (Fate::Arrived, returned),
            Confirmation::Nack(returned) => (
                Fate::Refused("the broker refused the message (a queue may be full)".into()),
                returned,
            ),
            Confirmation::NotRequested => bail!("the channel does not confirm"),
        };
        self.set_fate(number, fate);
        // lapin hands a returned message to whichever confirm comes next, which
        // need not be that of the message: it is claimed below by what it is.
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
            Err(error) if topology::is_lasting(&error) => {
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
    fn poll_confirmed(&mut self, context: &mut task::Context<'_>) -> Poll<Result<Confirmed>> {
        loop {
            // All that has come is taken in before anything is given out.
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
    /// A message comes back before it is confirmed, and lapin hands it to a
    /// confirm that comes no later: so once the oldest is confirmed, and all
    /// confirms that have come are seen, its return has been seen if there is one.
    fn pop(&mut self) -> Option<Confirmed> {
        self.under_way.front()?.fate.as_ref()?;
        let UnderWay { token, outgoing, fate } = self.under_way.pop_front()?;
        self.first += 1;
        let mut fate = fate?;
        if !self.returned.is_empty() {
            let message = self.as_message(&outgoing);
            if let Some(at) = self.returned.iter().position(|returned| is(returned, &message)) {
                fate = Fate::Undeliverable(explain(&self.returned.swap_remove(at)));
            }
        }
        Some(Confirmed { token, outgoing, fate })
    }
}

impl transport::Outbox for Outbox {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        self.under_way.push_back(UnderWay { token, outgoing, fate: None });
    }

    async fn confirmed(&mut self) -> Result<Confirmed> {
        if let Some(confirmed) = self.pop() {
            return Ok(confirmed);
        }
        self.flush();
        poll_fn(|context| self.poll_confirmed(context)).await
    }
}

/// Whether the returned message is this one, or its like to the letter.
fn is(returned: &BasicReturnMessage, message: &Message) -> bool {
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
