//! What happens to a run: events come, and things break.

use mo_router::router::Version;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::plan::{CHAOS, Incident};
use super::plugin::SimPlugin;
use super::run;
use super::world::Shared;

/// Publishes the planned events into the plugin's queue.
pub async fn publish(shared: Shared) {
    let (start, events) = (Instant::now(), shared.lock().plan.events.clone());
    for (number, event) in events.iter().enumerate() {
        sleep_until(start + event.at).await;
        shared.lock().queue.push_back(number);
        shared.changed();
    }
}

/// Lets the planned incidents happen, then ends all trouble. Tells `restart` when the
/// router is to be stopped and started again.
pub async fn happen(
    shared: Shared,
    versions: watch::Sender<Version<SimPlugin>>,
    restart: watch::Sender<u64>,
) {
    let (start, incidents) = (Instant::now(), shared.lock().plan.incidents.clone());
    for (number, (at, incident)) in incidents.into_iter().enumerate() {
        sleep_until(start + at).await;
        let now = Instant::now();
        let mut world = shared.lock();
        world.note(|| format!("{incident:?}"));
        match incident {
            Incident::ConnectionLost(time) => {
                world.unreachable = now + time;
                (world.consuming, world.publishing) = (false, false);
            }
            Incident::ConsumerCancelled => world.consuming = false,
            Incident::ChannelClosed => world.publishing = false,
            Incident::ExchangeRefuses(time) => world.refuses = now + time,
            Incident::ExchangeMissing(time, is_declared) => {
                world.missing = now + time;
                world.is_declared = is_declared;
            }
            Incident::Blocked(time) => world.blocked = now + time,
            Incident::StoreDown(time) => world.store_down = now + time,
            Incident::PluginFails(time) => world.plugin_fails = now + time,
            Incident::NewVersion => {
                drop(world);
                versions.send_replace(run::version(&shared, &format!("v{number}")));
            }
            Incident::Resumed => {
                drop(world);
                versions.send_modify(|_| {});
            }
            Incident::Restart => restart.send_modify(|number| *number += 1),
        }
        shared.changed();
    }
    sleep_until(start + CHAOS).await;
    let mut world = shared.lock();
    world.note(|| "all trouble is over".into());
    world.healed = true;
    world.missing = Instant::now();
    drop(world);
    shared.changed();
}
