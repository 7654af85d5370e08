//! What the host keeps for each guest: its view of the world, and its limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;

use super::engine::{MOST_INSTANCES, MOST_MEMORIES, MOST_TABLES};
use super::log::{Console, Log, Stream, Threshold, Voice};
use super::time::GuestTime;
use crate::clock::Clock;
use crate::settings::Limits;

/// Host objects (streams, timers, …) that a guest may hold at once.
pub(super) const MOST_RESOURCES: usize = 10_000;

/// The bytes that one table element takes.
const ELEMENT: usize = 16;

/// The data of a guest's `Store`.
pub(super) struct GuestState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) config: Arc<WasiConfigVariables>,
    pub(super) voice: Voice,
    pub(super) console: Console,
    pub(super) time: GuestTime,
    pub(super) memory: Memory,
    timeout: Duration,
    /// When the current call saw its first tick. Most calls end before it.
    first_tick: Option<Instant>,
}

/// What all guests of one plugin are set up with.
#[derive(Clone)]
pub(super) struct GuestSetup {
    pub(super) limits: Limits,
    pub(super) config: Arc<WasiConfigVariables>,
    pub(super) log: Arc<Log>,
    /// From which level on they log.
    pub(super) threshold: Arc<Threshold>,
    pub(super) clock: Clock,
    /// The bytes that all guests use together.
    pub(super) in_use: Arc<AtomicU64>,
}

/// The error of a call that was stopped because its time was up.
#[derive(Debug, thiserror::Error)]
#[error("out of time")]
pub(super) struct OutOfTime;

impl GuestState {
    /// One that has not been called yet.
    pub(super) fn new(setup: &GuestSetup) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_RESOURCES);
        let voice = Voice::new(&setup.log, &setup.threshold);
        let console = Console::new(voice.clone());
        let time = GuestTime::new(&setup.clock, setup.limits.timeout);
        Self {
            wasi: wasi(&time, &console),
            table,
            console,
            config: setup.config.clone(),
            voice,
            time,
            memory: Memory::new(setup.limits.memory, Arc::clone(&setup.in_use)),
            timeout: setup.limits.timeout,
            first_tick: None,
        }
    }

    /// A call begins.
    pub(super) fn begin_call(&mut self) {
        self.first_tick = None;
        self.memory.denied = None;
        self.console.clear_errors();
        self.time.begin_call();
    }

    /// Called at each tick while the guest runs. Yields the thread, or ends the call if
    /// its time is up.
    #[expect(clippy::disallowed_methods, reason = "a guest that loops spends real time")]
    pub(super) fn tick(&mut self) -> Result<UpdateDeadline> {
        if self.first_tick.get_or_insert_with(Instant::now).elapsed() >= self.timeout {
            return Err(OutOfTime.into());
        }
        Ok(UpdateDeadline::Yield(1))
    }
}

/// WASI with nothing granted.
fn wasi(time: &GuestTime, console: &Console) -> WasiCtx {
    WasiCtx::builder()
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(1 << 20)
        .wall_clock(time.clone())
        .monotonic_clock(time.clone())
        .stdout(console.stream(Stream::Stdout))
        .stderr(console.stream(Stream::Stderr))
        .build()
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// How much memory a guest uses, over all its linear memories and tables.
pub(super) struct Memory {
    limit: usize,
    used: usize,
    /// With those of the other guests.
    in_use: Arc<AtomicU64>,
    /// What the current call would have had, in bytes, when it asked for more than the limit.
    pub(super) denied: Option<u64>,
}

impl Memory {
    fn new(limit: u64, in_use: Arc<AtomicU64>) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, used: 0, in_use, denied: None }
    }

    /// A memory or table asks to grow so far, in units of so many bytes. What the plugin's own
    /// maximum forbids is not counted: the engine refuses that only after it has asked.
    fn grow(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
        unit: usize,
    ) -> bool {
        if maximum.is_some_and(|most| desired > most) {
            return false;
        }
        let more = desired.saturating_sub(current).saturating_mul(unit);
        let within = self.used.checked_add(more).filter(|sum| *sum <= self.limit);
        match within {
            Some(sum) => {
                self.used = sum;
                self.in_use.fetch_add(more as u64, Ordering::Relaxed);
            }
            None => self.denied = Some(self.used.saturating_add(more) as u64),
        }
        within.is_some()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.used as u64, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.grow(current, desired, maximum, 1))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.grow(current, desired, maximum, ELEMENT))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_that_the_plugin_forbids_itself_is_not_counted() {
        let in_use = Arc::new(AtomicU64::new(0));
        let mut memory = Memory::new(1 << 20, Arc::clone(&in_use));
        assert!(memory.memory_growing(0, 1000, Some(2000)).unwrap());
        assert!(memory.table_growing(0, 10, Some(20)).unwrap());
        for _ in 0..3 {
            assert!(!memory.memory_growing(1000, 3000, Some(2000)).unwrap());
            assert!(!memory.table_growing(10, 30, Some(20)).unwrap());
        }
        assert_eq!(in_use.load(Ordering::Relaxed), 1000 + 10 * ELEMENT as u64);
        assert_eq!(memory.denied, None);
    }
}
