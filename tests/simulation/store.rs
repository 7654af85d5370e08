//! A simulated delay store, which is slow at times and fails at others.

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
        let latency = {
            let mut world = shared.lock();
            let latency = world.plan.latency;
            latency.mul_f64(world.rng.random_range(0.0..1.0))
        };
        sleep(latency).await;
        loop {
            let down = shared.lock().store_down;
            if Instant::now() >= down {
                break;
            }
            sleep_until(down).await;
        }
        for entry in entries.drain(..) {
            let message = &entry.delayed().message;
            let mut world = shared.lock();
            world.note(|| format!("commit {:?}", Of::message(message)));
            world.checks.on_committed(message);
            drop(world);
            entry.committed();
        }
    }
}
