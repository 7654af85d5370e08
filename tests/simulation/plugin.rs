//! A simulated plugin: what it does with an event follows from the seed, the event and
//! how often it was called with it.

use std::sync::Arc;
use std::time::Duration;

use mo_router::event::{Due, Event, Failure, Fault, Publication, Value};
use mo_router::router::{Answer, Program, Worker};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use super::channel::{FULL, POISON, UNROUTABLE};
use super::check::{Answered, DELIVERY, EVENT, INDEX};
use super::plan::Kind;
use super::world::Shared;

pub struct SimPlugin {
    pub shared: Shared,
    pub version: String,
    pub subscriptions: Vec<String>,
}

impl Program for SimPlugin {
    type Worker = SimWorker;

    fn name(&self) -> &str {
        "simulated"
    }

    fn label(&self) -> &str {
        &self.version
    }

    fn subscriptions(&self) -> &[String] {
        &self.subscriptions
    }

    fn worker(self: &Arc<Self>) -> SimWorker {
        SimWorker(Arc::clone(self))
    }
}

pub struct SimWorker(Arc<SimPlugin>);

impl Worker for SimWorker {
    async fn route(&mut self, event: &Event, attempt: u32) -> Answer {
        let shared = &self.0.shared;
        let (number, delivery) = (header(event, EVENT), header(event, DELIVERY));
        let (mut rng, time) = {
            let mut world = shared.lock();
            world.checks.on_called(delivery, attempt);
            world.calls[number] += 1;
            let call = world.calls[number];
            world.note(|| format!("call with delivery {delivery}, attempt {attempt}, call {call}"));
            let seed = world.plan.seed ^ (number as u64) << 40 ^ u64::from(call) << 56;
            let mut rng = SmallRng::seed_from_u64(seed);
            let chances = world.plan.chances;
            let time = match world.healed {
                false if rng.random_bool(chances.hang) => Duration::from_secs(1),
                false if rng.random_bool(chances.slow) => Duration::from_millis(10),
                _ => Duration::ZERO,
            };
            (rng, time)
        };
        let mut dropped = Dropped { shared, delivery, answered: false };
        if !time.is_zero() {
            sleep(time).await;
        }
        dropped.answered = true;
        let mut world = shared.lock();
        let answer = match time >= Duration::from_secs(1) {
            true => Err(Failure::Broken("took longer than 1s".into(), Fault::Timeout)),
            false => answer(&world, &mut rng, number),
        };
        let answered = match &answer {
            Ok(publications) if publications.iter().any(|p| p.exchange.is_some()) => Answered::Dead,
            Ok(publications) => {
                Answered::Publications(publications.iter().map(|p| p.due != Due::Now).collect())
            }
            Err(Failure::Reject(_)) => Answered::Dead,
            Err(_) => Answered::Failed,
        };
        world.note(|| format!("answer for {delivery}: {}", describe(&answer)));
        world.checks.on_answered(delivery, &answered);
        answer
    }
}

/// Tells that a call was dropped before its answer.
struct Dropped<'a> {
    shared: &'a Shared,
    delivery: usize,
    answered: bool,
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.lock().checks.on_call_dropped(self.delivery);
        }
    }
}

fn answer(world: &super::world::World, rng: &mut SmallRng, number: usize) -> Answer {
    let chances = world.plan.chances;
    let kind = world.plan.events[number].kind;
    let fails = Instant::now() < world.plugin_fails;
    if fails || (kind == Kind::Stubborn && (!world.healed || world.plan.stubborn)) {
        return Err(Failure::Retry("not now".into()));
    }
    if !world.healed {
        if rng.random_bool(chances.retry) {
            return Err(Failure::Retry("not yet".into()));
        }
        if rng.random_bool(chances.trap) {
            return Err(Failure::Broken("trapped".into(), Fault::Trap));
        }
    }
    if rng.random_bool(chances.reject) {
        return Err(Failure::Reject("never".into()));
    }
    let publications = match rng.random_bool(chances.many) {
        true => rng.random_range(100..300),
        false => rng.random_range(0..4),
    };
    let mut answer: Vec<Publication> =
        (0..publications).map(|index| publication(world, rng, index)).collect();
    let bad = match kind {
        Kind::Poison => Some(POISON),
        Kind::Full => Some(FULL),
        _ => None,
    };
    if let Some(bad) = bad {
        let index = rng.random_range(0..=answer.len());
        answer.insert(
            index,
            Publication { routing_key: Some(bad.to_owned()), ..Publication::default() },
        );
        for (index, publication) in answer.iter_mut().enumerate() {
            publication.headers = vec![(INDEX.into(), index.to_string().into())];
        }
    }
    if rng.random_bool(chances.forbidden)
        && let Some(last) = answer.last_mut()
    {
        last.exchange = Some("forbidden".into());
    }
    Ok(answer)
}

fn publication(world: &super::world::World, rng: &mut SmallRng, index: usize) -> Publication {
    let chances = world.plan.chances;
    let due = match rng.random_bool(chances.delayed) {
        true => Due::After(Duration::from_secs(3600)),
        false => Due::Now,
    };
    let key = rng.random_bool(chances.unroutable).then(|| UNROUTABLE.to_owned());
    Publication {
        routing_key: key,
        body: rng.random_bool(0.5).then(|| vec![b'o'; rng.random_range(1..2000)]),
        headers: vec![(INDEX.into(), index.to_string().into())],
        due,
        ..Publication::default()
    }
}

fn describe(answer: &Answer) -> String {
    match answer {
        Ok(publications) => format!("{} publications", publications.len()),
        Err(failure) => format!("{failure:?}"),
    }
}

fn header(event: &Event, name: &str) -> usize {
    match event.message.properties.headers.get(name) {
        Some(Value::Int(number)) => usize::try_from(*number).expect("set by the broker"),
        other => panic!("{name} is {other:?}"),
    }
}
