//! One run, from its seed to its verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::delay;
use mo_router::event::Datetime;
use mo_router::router::{Context, Intake, Limit, Record, Stats, Version, supervise};
use mo_router::settings::Settings;
use mo_router::telemetry::Tracer;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::broker::SimBroker;
use super::plan::{CHAOS, Plan};
use super::plugin::SimPlugin;
use super::world::Shared;
use super::{chaos, stall, store};

/// How long it may take, once all trouble is over, until everything is done. A plugin that
/// is suspended is tried every five minutes at worst, with a few events each time.
const SETTLED_WITHIN: Duration = Duration::from_secs(4 * 60 * 60);
/// How long a stop may take: what is in flight is finished first, if it can be.
const STOPPED_WITHIN: Duration = Duration::from_secs(25);

/// What came of a run.
pub struct Outcome {
    /// The first promise that was broken.
    pub violation: Option<String>,
    pub events: u64,
    /// The same for the same seed.
    pub trace: u64,
    pub log: Vec<String>,
}

/// Runs a plan.
pub fn run(plan: Plan, log: bool) -> Outcome {
    let events = plan.events.len() as u64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    let shared = Shared::new(plan, log);
    drop(entered);
    let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(play(&shared))));
    drop(runtime);
    let mut world = shared.lock();
    if ran.is_err() {
        world.checks.fail("a panic".into());
    }
    Outcome {
        violation: world.checks.violation.take(),
        events,
        trace: world.trace(),
        log: world.take_log(),
    }
}

async fn play(shared: &Shared) {
    let (handle, queue) = delay::handle(shared.lock().plan.store_capacity);
    let store = tokio::spawn(store::commit(shared.clone(), queue));
    let (versions, current) = watch::channel(version(shared, "v"));
    let (restart, mut restarts) = watch::channel(0);
    let publishing = tokio::spawn(chaos::publish(shared.clone()));
    let happening = tokio::spawn(chaos::happen(shared.clone(), versions, restart));
    let watching = tokio::spawn(stall::watch(shared.clone()));
    let done = async {
        tokio::time::sleep(CHAOS).await;
        timeout(SETTLED_WITHIN, everything_acknowledged(shared)).await
    };
    tokio::pin!(done);
    loop {
        let stop = CancellationToken::new();
        let context = context(shared, &handle, current.clone(), stop.clone());
        let (tell, _started) = oneshot::channel();
        let router = tokio::spawn(supervise(SimBroker(shared.clone()), context, tell));
        let finished = tokio::select! {
            biased;
            settled = &mut done => {
                if settled.is_err() {
                    let left = shared.lock().checks.left();
                    fail(shared, format!("nothing moves: events {left:?} are left"));
                }
                true
            }
            Ok(()) = restarts.changed() => false,
        };
        stop.cancel();
        match timeout(STOPPED_WITHIN, router).await {
            Ok(ended) => {
                if ended.is_err() {
                    fail(shared, "the supervisor panicked".into());
                }
            }
            Err(_) => fail(shared, "it does not stop".into()),
        }
        if finished || shared.lock().checks.violation.is_some() {
            break;
        }
    }
    for task in [store, publishing, happening, watching] {
        task.abort();
    }
}

async fn everything_acknowledged(shared: &Shared) {
    while !shared.lock().checks.left().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn fail(shared: &Shared, violation: String) {
    let mut world = shared.lock();
    world.note(|| violation.clone());
    world.checks.fail(violation);
}

fn context(
    shared: &Shared,
    delays: &delay::Handle,
    current: watch::Receiver<Version<SimPlugin>>,
    stop: CancellationToken,
) -> Context<SimPlugin> {
    let settings = Settings::default();
    let mut world = shared.lock();
    world.stats = Arc::new(Stats::default());
    Context {
        current,
        delays: delays.clone(),
        clock: Clock::with_timers_from(Datetime::from_unix_micros(1_700_000_000_000_000)),
        intake: Intake::of(&settings),
        queue: None,
        output_exchange: settings.amqp.output_exchange.clone(),
        limit: Limit {
            deliveries: world.plan.prefetch,
            bytes: world.plan.bytes,
            hold: Limit::HOLD,
            finish: Limit::FINISH,
        },
        record: Record::default(),
        seed: world.plan.seed,
        stats: Arc::clone(&world.stats),
        // Traces change nothing of what becomes of events.
        tracer: (world.plan.seed % 2 == 1).then(|| Tracer::unsent(0.5)),
        stop,
    }
}

/// A version of the plugin.
pub fn version(shared: &Shared, version: &str) -> Version<SimPlugin> {
    let plan = &shared.lock().plan;
    let mut settings = Settings::default().of_plugin("simulated");
    settings.lanes = plan.lanes;
    settings.limits.attempts = plan.attempts;
    settings.limits.suspend_after = plan.suspend_after;
    let plugin = SimPlugin {
        shared: shared.clone(),
        version: version.to_owned(),
        subscriptions: vec!["employee.#".to_owned()],
    };
    Version { plugin: Arc::new(plugin), settings: Arc::new(settings) }
}
