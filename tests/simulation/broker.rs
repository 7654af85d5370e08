//! A simulated broker: the plugin's queue, a channel to publish on, and a connection
//! that can be lost.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail};
use mo_router::event::{Incoming, Outgoing, Properties, Value, headers};
use mo_router::router::{Connector, Version};
use mo_router::transport::{Completed, Delivery, Fate, Inbox, Outbox};
use rand::RngExt;
use tokio::time::{Instant, sleep};

use super::check::{DELIVERY, EVENT, Of};
use super::plan::{Kind, PlannedEvent};
use super::plugin::SimPlugin;
use super::world::{Shared, World};

/// What is published with it is returned: no queue takes it.
pub const UNROUTABLE: &str = "nowhere";
/// What is published with it makes the broker close the channel.
pub const POISON: &str = "poison";
/// What is published with it is nacked for ever.
pub const FULL: &str = "full";

pub struct SimBroker(pub Shared);

impl Connector<SimPlugin> for SimBroker {
    type Inbox = SimInbox;
    type Outbox = SimOutbox;

    async fn reachable(&self) {
        loop {
            let until = self.0.lock().unreachable;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    async fn open(
        &self,
        _: &Version<SimPlugin>,
        deliveries: usize,
    ) -> Result<(SimInbox, SimOutbox)> {
        sleep(Duration::from_millis(3)).await;
        let mut world = self.0.lock();
        let fails = world.plan.chances.open_fails;
        if Instant::now() < world.unreachable || world.happens(fails) {
            world.note(|| "no session: the broker refuses".into());
            bail!("the broker refuses");
        }
        world.session += 1;
        let session = world.session;
        (world.consuming, world.publishing) = (true, true);
        world.checks.on_session(session);
        world.note(|| format!("session {session} with {deliveries} deliveries"));
        let shared = self.0.clone();
        let inbox = SimInbox { shared: shared.clone(), session, deliveries, settled: Vec::new() };
        let outbox = SimOutbox { shared, session, in_flight: VecDeque::new() };
        Ok((inbox, outbox))
    }
}

pub struct SimInbox {
    shared: Shared,
    session: u64,
    deliveries: usize,
    /// Settled, and the broker has not been told.
    settled: Vec<usize>,
}

/// The number of a delivery. Moved into its settlement.
pub struct Receipt(usize);

impl Inbox for SimInbox {
    type Receipt = Receipt;

    async fn next(&mut self) -> Result<Option<Delivery<Receipt>>> {
        loop {
            {
                let mut world = self.shared.lock();
                if !world.consuming || world.session != self.session {
                    bail!("the broker ended the consumer");
                }
                if world.unacked.len() < self.deliveries
                    && let Some(event) = world.queue.pop_front()
                {
                    return Ok(Some(deliver(&mut world, event)));
                }
            }
            self.shared.change(None).await;
        }
    }

    fn settle(&mut self, receipt: Receipt) {
        let mut world = self.shared.lock();
        world.note(|| format!("settle {}", receipt.0));
        world.checks.on_settled(receipt.0);
        self.settled.push(receipt.0);
    }

    fn unsent(&self) -> usize {
        self.settled.len()
    }

    fn flush(&mut self) {
        let mut world = self.shared.lock();
        let world = &mut *world;
        let lost = !world.consuming || world.session != self.session;
        for delivery in self.settled.drain(..) {
            if !lost {
                let event = world.checks.event_of(delivery);
                world.unacked.retain(|(unacked, _)| *unacked != delivery);
                world.checks.on_acknowledged(event);
            }
        }
        // There is room for more.
        self.shared.changed();
    }

    async fn close(mut self) {
        self.flush();
        sleep(Duration::from_millis(2)).await;
    }
}

impl Drop for SimInbox {
    fn drop(&mut self) {
        let mut world = self.shared.lock();
        if world.session == self.session {
            world.note(|| "session ended".into());
            world.requeue();
        }
    }
}

fn deliver(world: &mut World, event: usize) -> Delivery<Receipt> {
    let PlannedEvent { uuid, kind, .. } = world.plan.events[event];
    let delivery = world.checks.on_delivered(event, uuid);
    world.unacked.push((delivery, event));
    world.note(|| format!("deliver {delivery}: event {event}, uuid {uuid}, {kind:?}"));
    let uuid = uuid::Uuid::from_u128(uuid);
    let mut properties = Properties::default();
    let number = |number: usize| Value::Int(i64::try_from(number).expect("small"));
    properties.headers.insert(EVENT.into(), number(event));
    properties.headers.insert(DELIVERY.into(), number(delivery));
    if kind == Kind::TooManyHops {
        properties.headers.insert(headers::HOPS.into(), Value::Int(100_000));
    }
    let message = Incoming {
        exchange: "os2mo".into(),
        routing_key: match kind {
            Kind::NotSubscribed => "org_unit.it.create".into(),
            _ => "employee.it.create".into(),
        },
        properties: properties.into(),
        body: match kind {
            Kind::Unreadable => "hello".into(),
            _ => format!(r#"{{"uuid": "{uuid}", "time": "2026-01-01T00:00:00Z"}}"#).into(),
        },
        redelivered: false,
    };
    Delivery { message, receipt: Receipt(delivery) }
}

pub struct SimOutbox {
    shared: Shared,
    session: u64,
    in_flight: VecDeque<InFlight>,
}

struct InFlight {
    token: u64,
    outgoing: Outgoing,
    fate: Fate,
    /// When the confirm is there; none if never.
    at: Option<Instant>,
}

impl Outbox for SimOutbox {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        let mut world = self.shared.lock();
        world
            .note(|| format!("send {} {:?}", describe(&outgoing), Of::message(outgoing.message())));
        world.checks.on_sent(&outgoing, self.session);
        let fate = fate(&mut world, &outgoing);
        let at = confirmed_at(&mut world, &outgoing);
        self.in_flight.push_back(InFlight { token, outgoing, fate, at });
    }

    async fn completed(&mut self) -> Result<Completed> {
        loop {
            let wait = {
                let shared = self.shared.clone();
                let mut world = shared.lock();
                if !world.publishing || world.session != self.session {
                    bail!("the channel is closed");
                }
                match self.next(&world) {
                    Next::Now(number) => return self.complete(&mut world, number),
                    Next::At(time) => Some(time),
                    Next::Never => None,
                }
            };
            self.shared.change(wait).await;
        }
    }
}

enum Next {
    Now(usize),
    At(Instant),
    Never,
}

impl SimOutbox {
    /// Which message's fate is known next, and when.
    fn next(&self, world: &World) -> Next {
        let number = match world.plan.out_of_order {
            false => (!self.in_flight.is_empty()).then_some(0),
            true => (0..self.in_flight.len()).min_by_key(|number| {
                let at = self.in_flight[*number].at;
                (at.is_none(), at)
            }),
        };
        let Some(number) = number else { return Next::Never };
        let Some(at) = self.in_flight[number].at else { return Next::Never };
        let at = at.max(world.blocked);
        if at <= Instant::now() { Next::Now(number) } else { Next::At(at) }
    }

    fn complete(&mut self, world: &mut World, number: usize) -> Result<Completed> {
        let InFlight { token, outgoing, fate, .. } =
            self.in_flight.remove(number).expect("it was just found");
        if outgoing.message().routing_key == POISON && matches!(outgoing, Outgoing::Message(_)) {
            world.publishing = false;
            world.note(|| "the broker closes the channel at a message".into());
            bail!("403: access refused");
        }
        world.note(|| {
            format!("{fate:?} {} {:?}", describe(&outgoing), Of::message(outgoing.message()))
        });
        world.checks.on_fate(&outgoing, &fate, self.session);
        Ok(Completed { token, outgoing, fate })
    }
}

fn fate(world: &mut World, outgoing: &Outgoing) -> Fate {
    let (chance, routing_key) = (world.plan.chances.nack, &outgoing.message().routing_key);
    let full = routing_key == FULL && matches!(outgoing, Outgoing::Message(_));
    if full || world.happens(chance) {
        return Fate::Nacked("a queue is full".into());
    }
    match outgoing {
        Outgoing::Message(message) if message.routing_key == UNROUTABLE => {
            Fate::Undeliverable("no queue".into())
        }
        _ => Fate::Confirmed,
    }
}

fn confirmed_at(world: &mut World, outgoing: &Outgoing) -> Option<Instant> {
    let withhold = world.plan.faults.withheld_confirm
        && !world.withheld
        && matches!(outgoing, Outgoing::Message(_));
    if withhold {
        world.withheld = true;
        world.note(|| "a confirm is withheld for ever".into());
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
