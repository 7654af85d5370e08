//! A simulated channel to publish on, with the router's own rules of publishing.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail};
use mo_router::event::{Message, Outgoing};
use mo_router::transport::{Completed, Likeness, Outbox, Publisher, Refusal, Step};
use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::check::Of;
use super::world::{Shared, World};

/// What is published with it is returned: no queue takes it.
pub const UNROUTABLE: &str = "nowhere";
/// What is published with it makes the broker close the channel.
pub const POISON: &str = "poison";
/// What is published with it is nacked for ever.
pub const FULL: &str = "full";

/// The exchange that dead letters go to.
const DEAD: &str = "mo-router.dead";

pub struct SimOutbox {
    shared: Shared,
    session: u64,
    publisher: Publisher,
    channel: Channel,
    /// Exchanges that are asked about, and when the answer is there.
    checks: Vec<(Instant, String)>,
}

enum Channel {
    Open {
        sent: Vec<Sent>,
        /// The broker closes it then, and has taken nothing since.
        closing: Option<(Instant, Refusal)>,
        arrived: Arrived,
        /// What it was asked last, and when the answer is there.
        asked: Option<(Instant, u64)>,
    },
    Opening(Instant),
}

/// What has come from the broker and is not told yet. The client library tells the confirms
/// that came together in any order, with each of them the oldest return that is left, and
/// may be asked when it is halfway through.
#[derive(Default)]
struct Arrived {
    returns: VecDeque<Message>,
    /// The keys of the messages, and whether they were nacked.
    confirms: Vec<(usize, bool)>,
}

struct Sent {
    key: usize,
    answer: Answer,
    /// When the answer is there; none if never.
    at: Option<Instant>,
}

enum Answer {
    Confirm,
    Nack,
    Return,
}

impl Channel {
    fn open() -> Self {
        Self::Open { sent: Vec::new(), closing: None, arrived: Arrived::default(), asked: None }
    }
}

impl Outbox for SimOutbox {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        self.publisher.send(token, outgoing);
    }

    fn copy(&mut self, token: u64) -> Option<Outgoing> {
        self.publisher.copy(token)
    }

    fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        self.publisher.abandon(token)
    }

    fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        self.publisher.withdraw(token)
    }

    async fn completed(&mut self) -> Result<Completed> {
        loop {
            let wake_at = {
                let shared = self.shared.clone();
                let mut world = shared.lock();
                if !world.publishing || world.session != self.session {
                    bail!("the connection is lost");
                }
                self.read(&mut world)?;
                if let Some(completed) = self.publisher.next_completed() {
                    let Completed { outgoing, fate, .. } = &completed;
                    let of = Of::message(outgoing.message());
                    world.note(|| format!("{fate:?} {} {of:?}", describe(outgoing)));
                    world.checks.on_fate(outgoing, fate, self.session);
                    return Ok(completed);
                }
                while let Some(step) = self.publisher.next_step(exchange_of) {
                    match step {
                        Step::Publish(key) => self.publish(&mut world, key),
                        Step::Ask(up_to) => self.ask(&world, up_to),
                        Step::Check(exchange) => {
                            self.checks.push((Instant::now() + Duration::from_millis(1), exchange));
                        }
                    }
                }
                self.wake_at(&world)
            };
            self.shared.change(wake_at).await;
        }
    }
}

impl SimOutbox {
    pub fn new(shared: Shared, session: u64) -> Self {
        let publisher = Publisher::new(DEAD);
        Self { shared, session, publisher, channel: Channel::open(), checks: Vec::new() }
    }

    /// Tells the publisher what has come from the broker.
    fn read(&mut self, world: &mut World) -> Result<()> {
        let now = Instant::now();
        let publisher = &mut self.publisher;
        self.checks.retain(|(at, exchange)| {
            let waits = *at > now;
            if !waits {
                let checked = check(world, exchange);
                world.note(|| format!("exchange {exchange}: {checked:?}"));
                publisher.on_checked(exchange, checked);
            }
            waits
        });
        match &mut self.channel {
            Channel::Opening(at) if *at <= now => {
                let fails = world.plan.chances.open_fails;
                if world.happens(fails) {
                    bail!("the broker opens no channel");
                }
                self.publisher.on_opened();
                self.channel = Channel::open();
            }
            Channel::Opening(_) => {}
            Channel::Open { sent, closing, arrived, asked } => {
                let closed_at = closing.as_ref().map(|(at, _)| *at);
                let until = closed_at.unwrap_or(now).min(now);
                let blocked = now < world.blocked;
                sent.retain(|sent| {
                    let comes = !blocked && sent.at.is_some_and(|at| at <= until);
                    if comes {
                        if let Answer::Confirm = sent.answer {
                            world.checks.on_taken(publisher.outgoing(sent.key));
                        }
                        arrived.add(publisher, sent);
                    }
                    !comes
                });
                arrived.tell(publisher, world);
                if let Some((_, up_to)) = asked.take_if(|(at, _)| !blocked && *at <= until) {
                    publisher.on_looked_at(up_to);
                }
                self.publisher.on_all_told();
                if closed_at.is_some_and(|at| at <= now && !blocked)
                    && let Some((_, refusal)) = closing.take()
                {
                    world.note(|| format!("the broker closes the channel: {refusal}"));
                    let untold = arrived.confirms.drain(..).map(|(key, _)| key);
                    let undecided = self.publisher.undecided();
                    for key in sent.drain(..).map(|sent| sent.key).chain(untold).chain(undecided) {
                        world.checks.on_lost(self.publisher.outgoing(key));
                    }
                    self.publisher.on_closed(&refusal, exchange_of);
                    self.channel = Channel::Opening(now + Duration::from_millis(3));
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self, world: &mut World, key: usize) {
        let Channel::Open { sent, closing, .. } = &mut self.channel else { return };
        let outgoing = self.publisher.outgoing(key);
        world.note(|| format!("send {} {:?}", describe(outgoing), Of::message(outgoing.message())));
        world.checks.on_sent(outgoing, self.session);
        let mut entry = Sent { key, answer: Answer::Confirm, at: None };
        if closing.is_none() {
            *closing = refusal(world, outgoing)
                .map(|refusal| (Instant::now() + world.plan.latency, refusal));
        }
        if closing.is_none() {
            entry.answer = fate(world, outgoing);
            entry.at = answered_at(world, outgoing);
        }
        sent.push(entry);
    }

    /// It looks at nothing after the message at which it closes the channel.
    fn ask(&mut self, world: &World, up_to: u64) {
        let Channel::Open { closing: None, asked, .. } = &mut self.channel else { return };
        *asked = Some((Instant::now() + world.plan.latency, up_to));
    }

    /// When something comes next.
    fn wake_at(&self, world: &World) -> Option<Instant> {
        let checks = self.checks.iter().map(|(at, _)| *at).min();
        let channel = match &self.channel {
            Channel::Opening(at) => Some(*at),
            Channel::Open { arrived, .. } if !arrived.confirms.is_empty() => Some(Instant::now()),
            Channel::Open { sent, closing, asked, .. } => sent
                .iter()
                .filter_map(|sent| sent.at)
                .chain(closing.as_ref().map(|(at, _)| *at))
                .chain(asked.as_ref().map(|(at, _)| *at))
                .min()
                .map(|at| at.max(world.blocked)),
        };
        [checks, channel].into_iter().flatten().min()
    }
}

impl Arrived {
    fn add(&mut self, publisher: &Publisher, sent: &Sent) {
        if let Answer::Return = sent.answer {
            self.returns.push_back(publisher.outgoing(sent.key).message().clone());
        }
        self.confirms.push((sent.key, matches!(sent.answer, Answer::Nack)));
    }

    /// Tells all of it, or some.
    fn tell(&mut self, publisher: &mut Publisher, world: &mut World) {
        self.confirms.shuffle(&mut world.rng);
        let some = match world.happens(0.5) {
            true => world.rng.random_range(0..=self.confirms.len()),
            false => self.confirms.len(),
        };
        for (key, is_nacked) in self.confirms.drain(..some) {
            publisher.on_confirm(key, is_nacked.then(|| "a queue is full".into()));
            let Some(returned) = self.returns.pop_front() else { continue };
            publisher.on_return("no queue".into(), |outgoing| match outgoing {
                Outgoing::Message(message) => likeness(&returned, message),
                Outgoing::Dead(_) => Likeness::Other,
            });
        }
    }
}

fn likeness(returned: &Message, message: &Message) -> Likeness {
    match returned == message {
        true => Likeness::Same,
        false => Likeness::Other,
    }
}

fn exchange_of(outgoing: &Outgoing) -> &str {
    match outgoing {
        Outgoing::Message(message) => &message.exchange,
        Outgoing::Dead(_) => DEAD,
    }
}

/// What the broker says of an exchange when it is looked at.
fn check(world: &mut World, exchange: &str) -> Result<(), String> {
    if Instant::now() >= world.missing {
        return Ok(());
    }
    if world.is_declared {
        world.missing = Instant::now();
        return Ok(());
    }
    Err(format!("exchange {exchange:?} does not exist"))
}

fn refusal(world: &World, outgoing: &Outgoing) -> Option<Refusal> {
    let Outgoing::Message(message) = outgoing else { return None };
    let exchange = &message.exchange;
    if !world.healed && Instant::now() < world.refuses {
        let text = format!("ACCESS_REFUSED - access to exchange '{exchange}' in vhost '/' refused");
        return Some(Refusal { code: 403, text });
    }
    if Instant::now() < world.missing {
        let text = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
        return Some(Refusal { code: 404, text });
    }
    let poison = message.routing_key == POISON;
    poison.then(|| Refusal { code: 406, text: "PRECONDITION_FAILED - invalid message".into() })
}

fn fate(world: &mut World, outgoing: &Outgoing) -> Answer {
    let (chance, routing_key) = (world.plan.chances.nack, &outgoing.message().routing_key);
    let full = routing_key == FULL && matches!(outgoing, Outgoing::Message(_));
    if full || world.happens(chance) {
        return Answer::Nack;
    }
    match outgoing {
        Outgoing::Message(message) if message.routing_key == UNROUTABLE => Answer::Return,
        _ => Answer::Confirm,
    }
}

fn answered_at(world: &mut World, outgoing: &Outgoing) -> Option<Instant> {
    let withheld = world.plan.chances.withheld_confirm;
    if matches!(outgoing, Outgoing::Message(_)) && world.happens(withheld) {
        world.note(|| "the confirm is withheld for ever".into());
        world.withheld = Some(Instant::now());
        return None;
    }
    let late = world.plan.chances.late_confirm;
    let usual = world.plan.latency;
    let latency = match world.happens(late) {
        true => Duration::from_millis(world.rng.random_range(1..20_000)),
        // In groups: one confirm often stands for many.
        false => usual.mul_f64(f64::from(world.rng.random_range(0..4)) / 3.0),
    };
    Some(Instant::now() + latency)
}

fn describe(outgoing: &Outgoing) -> &'static str {
    match outgoing {
        Outgoing::Message(_) => "message",
        Outgoing::Dead(_) => "dead letter",
    }
}
