//! A simulated broker: the plugin's queue, and a connection that can be lost.

use std::time::Duration;

use anyhow::{Result, bail};
use mo_router::event::{Incoming, Properties, Value, headers};
use mo_router::router::{Connector, Limit, Version};
use mo_router::transport::{Delivery, Inbox, Received};
use tokio::time::{Instant, sleep};

use super::channel::SimOutbox;
use super::check::{DELIVERY, EVENT};
use super::plan::{Kind, PlannedEvent};
use super::plugin::SimPlugin;
use super::world::{Shared, World};

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
        limit: Limit,
        at_first: usize,
    ) -> Result<(SimInbox, SimOutbox)> {
        let deliveries = limit.deliveries.min(at_first);
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
        let inbox = SimInbox {
            shared: shared.clone(),
            session,
            deliveries,
            since: 0,
            overfull: false,
            settled: Vec::new(),
        };
        Ok((inbox, SimOutbox::new(shared, session)))
    }
}

pub struct SimInbox {
    shared: Shared,
    session: u64,
    deliveries: usize,
    /// Deliveries before this one do not count for the prefetch of the consumer.
    since: usize,
    /// It was given what it did not keep.
    overfull: bool,
    /// Settled, and the broker has not been told.
    settled: Vec<usize>,
}

/// The number of a delivery. Moved into its settlement.
pub struct Receipt(usize);

impl Inbox for SimInbox {
    type Receipt = Receipt;

    async fn next(&mut self) -> Result<Received<Receipt>> {
        loop {
            {
                let mut world = self.shared.lock();
                self.check_open(&world)?;
                if self.overfull {
                    return Ok(Received::Overfull);
                }
                if !self.is_sated(&world) && !world.queue.is_empty() {
                    let is_too_much = world.plan.chances.too_much;
                    if world.happens(is_too_much) {
                        world.note(|| "more than is kept".into());
                        self.overfull = true;
                        return Ok(Received::Overfull);
                    }
                    let event = world.queue.pop_front().expect("it is not empty");
                    return Ok(Received::Delivery(deliver(&mut world, event)));
                }
            }
            self.shared.change(None).await;
        }
    }

    async fn filled(&mut self) -> Result<()> {
        loop {
            {
                let mut world = self.shared.lock();
                self.check_open(&world)?;
                let is_too_much = world.plan.chances.too_much;
                let comes = !self.overfull && !self.is_sated(&world) && !world.queue.is_empty();
                if comes && world.happens(is_too_much) {
                    world.note(|| "more than is kept, and none is wanted".into());
                    self.overfull = true;
                    return Ok(());
                }
            }
            self.shared.change(None).await;
        }
    }

    fn overfull(&self) -> Option<usize> {
        self.overfull.then(|| self.deliveries.div_ceil(2))
    }

    fn can_widen(&self) -> bool {
        !self.overfull && self.is_sated(&self.shared.lock())
    }

    fn widen(&mut self) {
        let mut world = self.shared.lock();
        self.since = world.checks.deliveries();
        world.note(|| "another consumer".into());
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

impl SimInbox {
    fn check_open(&self, world: &World) -> Result<()> {
        if !world.consuming || world.session != self.session {
            bail!("the broker ended the consumer");
        }
        Ok(())
    }

    /// Whether the consumer has as many deliveries as it may.
    fn is_sated(&self, world: &World) -> bool {
        let counted = world.unacked.iter().filter(|(number, _)| *number >= self.since);
        counted.count() >= self.deliveries
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
    world.delivered[event] += 1;
    world.unacked.push((delivery, event));
    world.note(|| format!("deliver {delivery}: event {event}, uuid {uuid}, {kind:?}"));
    let uuid = uuid::Uuid::from_u128(uuid);
    let mut properties = Properties::default();
    let number = |number: usize| Value::Int(i64::try_from(number).expect("small"));
    properties.message_id = Some(format!("event {event}"));
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
            _ => {
                // Of different sizes.
                let note = "x".repeat(event * 97 % 3000);
                format!(r#"{{"uuid": "{uuid}", "time": "2026-01-01T00:00:00Z", "note": "{note}"}}"#)
                    .into()
            }
        },
        deliveries: world.delivered[event] - 1,
    };
    world.checks.on_size(delivery, message.size());
    Delivery { message, receipt: Receipt(delivery) }
}
