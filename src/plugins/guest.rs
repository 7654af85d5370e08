//! What the host keeps for one instance: its view of the world, and its limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Result, Store, UpdateDeadline};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;

use super::engine::{MOST_INSTANCES, MOST_MEMORIES, MOST_TABLES, Ticker};
use super::log::{Console, Log, Stream};
use crate::clock::Clock;
use crate::event::Datetime;
use crate::settings::Limits;

/// Host objects (streams, timers, …) that a guest may hold at once.
const MOST_RESOURCES: usize = 10_000;

/// The bytes that one table element takes.
const ELEMENT: usize = 16;

/// The data of an instance's store.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) config: Arc<WasiConfigVariables>,
    pub(super) log: Arc<Log>,
    pub(super) console: Console,
    pub(super) usage: Usage,
    timeout: Duration,
    /// When the call under way met its first tick; most are over before.
    first_tick: Option<Instant>,
}

/// What the instances of one plugin have in common.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) limits: Limits,
    pub(super) config: Arc<WasiConfigVariables>,
    pub(super) log: Arc<Log>,
    pub(super) clock: Clock,
    /// Without it, no call would be interrupted.
    pub(super) _ticker: Arc<Ticker>,
}

/// A call that was stopped because its time was up.
#[derive(Debug)]
pub(super) struct OutOfTime;

impl std::fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("out of time")
    }
}

impl std::error::Error for OutOfTime {}

/// Makes the store of a new instance, its limits in force.
pub(super) fn store(engine: &Engine, surroundings: &Surroundings) -> Store<Guest> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(MOST_RESOURCES);
    let console = Console::new(surroundings.log.clone());
    let guest = Guest {
        wasi: wasi(surroundings, &console),
        table,
        console,
        config: surroundings.config.clone(),
        log: surroundings.log.clone(),
        usage: Usage::new(surroundings.limits.memory),
        timeout: surroundings.limits.timeout,
        first_tick: None,
    };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.usage);
    store.set_hostcall_fuel(handover(&surroundings.limits));
    store.epoch_deadline_callback(|mut store| store.data_mut().tick());
    store
}

/// Starts the clock of a call.
pub(super) fn start_clock(store: &mut Store<Guest>) {
    let guest = store.data_mut();
    guest.first_tick = None;
    guest.usage.refused = false;
    guest.console.forget();
    store.set_epoch_deadline(1);
}

impl Guest {
    /// Called at each tick while the guest runs: gives the thread back, for as
    /// long as there is time left.
    #[expect(clippy::disallowed_methods, reason = "a guest that loops spends real time")]
    fn tick(&mut self) -> Result<UpdateDeadline> {
        if self.first_tick.get_or_insert_with(Instant::now).elapsed() >= self.timeout {
            return Err(OutOfTime.into());
        }
        Ok(UpdateDeadline::Yield(1))
    }
}

/// How many bytes wasmtime may copy out of a guest in one go. It counts the
/// records themselves too, so this lets pass what is within the limits, and
/// keeps a guest that points at the same bytes a million times from filling
/// the router's memory.
fn handover(limits: &Limits) -> usize {
    const RECORD: usize = size_of::<super::bindings::Publication>();
    const SPARE: usize = 1 << 20;
    let bytes = usize::try_from(limits.max_output).unwrap_or(usize::MAX);
    bytes
        .saturating_mul(2)
        .saturating_add(limits.max_publications.saturating_mul(RECORD))
        .saturating_add(SPARE)
}

/// WASI with nothing granted.
fn wasi(surroundings: &Surroundings, console: &Console) -> WasiCtx {
    WasiCtx::builder()
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(1 << 20)
        .wall_clock(GuestClock::new(&surroundings.clock))
        .monotonic_clock(GuestClock::new(&surroundings.clock))
        .stdout(console.stream(Stream::Stdout))
        .stderr(console.stream(Stream::Stderr))
        .build()
}

/// What the monotonic clock begins with: Go's runtime takes zero for a clock that
/// does not work, and a virtual clock can stand still.
const MONOTONIC_START: Duration = Duration::from_secs(1);

/// The router's clock, as guests read it.
struct GuestClock {
    clock: Clock,
    started: Datetime,
    /// The highest reading so far, in nanoseconds: it never goes back, as the
    /// time of day may.
    highest: AtomicU64,
}

impl GuestClock {
    fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), started: clock.now(), highest: AtomicU64::new(0) }
    }
}

impl HostWallClock for GuestClock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        let now = self.clock.now();
        // WASI's wall clock cannot tell times before 1970.
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        Duration::new(seconds, now.nanoseconds())
    }
}

impl HostMonotonicClock for GuestClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        let elapsed = MONOTONIC_START + self.clock.now().saturating_since(self.started);
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.highest.fetch_max(elapsed, Ordering::Relaxed).max(elapsed)
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The memory that an instance uses, over all its memories and tables.
pub(super) struct Usage {
    limit: usize,
    used: usize,
    /// Whether it was refused more, in the call under way.
    pub(super) refused: bool,
}

impl Usage {
    fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), used: 0, refused: false }
    }

    fn grow(&mut self, more: usize) -> bool {
        let within = self.used.checked_add(more).filter(|sum| *sum <= self.limit);
        match within {
            Some(sum) => self.used = sum,
            None => self.refused = true,
        }
        within.is_some()
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT)))
    }

    fn instances(&self) -> usize {
        MOST_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        MOST_MEMORIES as usize
    }

    fn tables(&self) -> usize {
        MOST_TABLES as usize
    }
}
