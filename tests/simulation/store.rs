//! A simulated delay store, which is slow at times and fails at others: as a whole, at any
//! statement, or at one message alone.

use mo_router::delay::Entry;
use rand::RngExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::check::Of;
use super::world::Shared;

/// Commits what is handed in, some of it together.
pub async fn commit(shared: Shared, mut queue: mpsc::Receiver<Entry>) {
    let mut entries = Vec::new();
    while queue.recv_many(&mut entries, 8).await > 0 {
        // A transaction: its beginning, a statement for each message, and its end. Whatever
        // fails, nothing of it is stored, and all of it is tried again.
        loop {
            let latency = {
                let mut world = shared.lock();
                let latency = world.plan.latency;
                latency.mul_f64(world.rng.random_range(0.0..1.0))
            };
            sleep(latency).await;
            let down = shared.lock().store_down;
            sleep_until(down.max(Instant::now())).await;
            if !fails(&shared, entries.len() + 2) {
                break;
            }
        }
        for entry in entries.drain(..) {
            let message = &entry.delayed().message;
            let mut world = shared.lock();
            let chance = world.plan.chances.unstorable;
            if world.happens(chance) {
                world.note(|| format!("refuse {:?}", Of::message(message)));
                world.checks.on_unstorable(message);
                drop(world);
                entry.refused("no place for it".into());
                continue;
            }
            world.note(|| format!("commit {:?}", Of::message(message)));
            world.checks.on_committed(message);
            drop(world);
            entry.committed();
        }
    }
}

/// Whether one of so many statements fails.
fn fails(shared: &Shared, statements: usize) -> bool {
    let mut world = shared.lock();
    let chance = world.plan.chances.statement_fails;
    let failed = (0..statements).find(|_| world.happens(chance));
    if let Some(statement) = failed {
        world.note(|| format!("statement {statement} of {statements} fails"));
    }
    failed.is_some()
}
