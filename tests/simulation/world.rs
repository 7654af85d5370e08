//! The state of the simulated world, and the log of what happened in it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mo_router::router::Stats;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::check::Checks;
use super::plan::Plan;

/// The world, shared by all who act in it.
#[derive(Clone)]
pub struct Shared(Arc<(Mutex<World>, Notify)>);

pub struct World {
    pub plan: Plan,
    pub rng: SmallRng,
    /// Events that wait in the plugin's queue, by number.
    pub queue: VecDeque<usize>,
    /// Deliveries that the broker has no acknowledgement of, in order, with their events.
    pub unacked: Vec<(usize, usize)>,
    /// Counts the sessions; that of the newest.
    pub session: u64,
    /// Whether the newest session's ends still work.
    pub consuming: bool,
    pub publishing: bool,
    /// Until when these do not work.
    pub unreachable: Instant,
    pub blocked: Instant,
    pub store_down: Instant,
    pub plugin_fails: Instant,
    pub refuses: Instant,
    pub missing: Instant,
    /// Whether the router declares an exchange that is missing when it looks at it.
    pub is_declared: bool,
    /// When the last confirm was withheld.
    pub withheld: Option<Instant>,
    /// What happened last, of anything.
    pub moved: Instant,
    /// The counts of the router that runs.
    pub stats: Arc<Stats>,
    /// Random trouble is over.
    pub healed: bool,
    pub checks: Checks,
    /// How many times each event was delivered.
    pub delivered: Vec<u32>,
    /// The number of calls of each event so far.
    pub calls: Vec<u32>,
    start: Instant,
    trace: DefaultHasher,
    log: Option<Vec<String>>,
}

impl Shared {
    pub fn new(plan: Plan, log: bool) -> Self {
        let start = Instant::now();
        let world = World {
            rng: SmallRng::seed_from_u64(plan.seed ^ 0x5eed),
            queue: VecDeque::new(),
            unacked: Vec::new(),
            session: 0,
            consuming: false,
            publishing: false,
            unreachable: start,
            blocked: start,
            store_down: start,
            plugin_fails: start,
            refuses: start,
            missing: start,
            is_declared: false,
            withheld: None,
            moved: start,
            stats: Arc::default(),
            healed: false,
            checks: Checks::new(&plan),
            delivered: vec![0; plan.events.len()],
            calls: vec![0; plan.events.len()],
            start,
            trace: DefaultHasher::new(),
            log: log.then(Vec::new),
            plan,
        };
        Self(Arc::new((Mutex::new(world), Notify::new())))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait for something to change.
    pub fn changed(&self) {
        self.0.1.notify_waiters();
    }

    /// Waits until something changes, or until `time`.
    pub async fn change(&self, time: Option<Instant>) {
        let changed = self.0.1.notified();
        match time {
            Some(time) => tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(time) => {}
            },
            None => changed.await,
        }
    }
}

impl World {
    /// Whether something happens that has this chance, while there is trouble.
    pub fn happens(&mut self, chance: f64) -> bool {
        !self.healed && chance > 0.0 && self.rng.random_bool(chance)
    }

    /// Notes what happened: for the log, and to compare runs.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let (at, what) = (self.start.elapsed(), what());
        self.moved = Instant::now();
        (at, &what).hash(&mut self.trace);
        if let Some(log) = &mut self.log {
            log.push(format!("{:>12.6} {what}", at.as_secs_f64()));
        }
    }

    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub fn take_log(&mut self) -> Vec<String> {
        self.log.take().unwrap_or_default()
    }

    /// The connection is gone: what is not acknowledged is redelivered, in its order.
    pub fn requeue(&mut self) {
        for (_, event) in self.unacked.drain(..).rev() {
            self.queue.push_front(event);
        }
        self.consuming = false;
        self.publishing = false;
    }
}
