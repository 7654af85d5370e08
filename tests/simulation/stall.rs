//! Whether all that can go on does so: in time, and not just in the end.

use std::time::Duration;

use mo_router::router::{Limit, State};
use tokio::time::{Instant, sleep};

use super::check::LONGEST_RETRY;
use super::world::{Shared, World};

/// The longest pause before a suspended plugin is tried again.
const LONGEST_SUSPENSION: Duration = Duration::from_secs(300);
/// How long what began before the faults were over may last: incidents, and late confirms.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Looks each second whether something stalls, until the run ends.
pub async fn watch(shared: Shared) {
    // When the last trouble is over; since when nothing holds up anything.
    let (mut over, mut free) = (Instant::now(), Instant::now());
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = Instant::now();
        let mut world = shared.lock();
        if !world.healed {
            over = now + AFTERMATH;
        }
        let has_session = world.consuming && world.publishing;
        if has_session && let Some(delivery) = world.checks.unsettled() {
            fail(&mut world, format!("delivery {delivery} is done, and not settled"));
        }
        let state = world.stats.read().state;
        // What was sent after it may wait until it is given up.
        let is_withheld = world.withheld.is_some_and(|at| at.elapsed() < Limit::HOLD + AFTERMATH);
        if state != State::Running || is_withheld || !has_session {
            free = now;
        }
        let since = free.max(over);
        if now > since
            && let Some(delivery) = world.checks.stalled(since)
        {
            fail(&mut world, format!("delivery {delivery} stalls, and nothing holds it up"));
        }
        let pause = match state {
            _ if is_withheld => Limit::HOLD,
            State::Running => LONGEST_RETRY,
            _ => LONGEST_SUSPENSION,
        };
        let quiet = world.moved.elapsed();
        if now > over && quiet > pause + AFTERMATH && !world.checks.left().is_empty() {
            fail(&mut world, format!("nothing has happened for {quiet:?}, in state {state:?}"));
        }
    }
}

fn fail(world: &mut World, violation: String) {
    world.note(|| violation.clone());
    world.checks.fail(violation);
}
