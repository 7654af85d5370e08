//! The engine that compiles and runs plugins, and the clock that interrupts them.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

/// How often a running guest gives its thread back, and how exact its time limit is.
const TICK: Duration = Duration::from_millis(20);

/// Core instances, memories and tables of one component: well above what the
/// largest language runtimes have, and well below what exhausts address space.
pub(super) const MOST_INSTANCES: u32 = 400;
pub(super) const MOST_MEMORIES: u32 = 32;
pub(super) const MOST_TABLES: u32 = 64;

/// How deep a guest may recurse, in bytes of its stack.
pub(super) const STACK: usize = 1 << 20;

/// How instances get their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allocation {
    /// From the system: for instances that are kept.
    System,
    /// From a pool of address space that is used again and again: for instances
    /// that live for one event.
    Pool,
}

/// How many instances may live in the pool at once.
const POOL: u32 = 1000;

/// How many parts (core instances, tables) those may have in all.
const POOL_PARTS: u32 = 20_000;

/// How much of a memory is wiped for the next instance, in bytes, rather than
/// given back to the system, which costs more for as little.
const WIPED: usize = 256 << 10;

/// Makes an engine. Its settings are part of what compiled code depends on, but
/// for the allocation: both kinds run the same code.
pub(super) fn engine(allocation: Allocation) -> Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // One call at a time per instance: what components do side by side is not needed.
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        // The host's own functions run on the same stack, above the guest's part.
        .async_stack_size(STACK + (1 << 20));
    if allocation == Allocation::Pool {
        config.allocation_strategy(pool());
    }
    Ok(Engine::new(&config)?)
}

/// Address space, of which no more is used than the instances touch.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOL)
        .total_stacks(POOL)
        .total_memories(POOL)
        .total_gc_heaps(POOL)
        .total_core_instances(POOL_PARTS)
        .total_tables(POOL_PARTS)
        .table_elements(100_000)
        .max_core_instances_per_component(MOST_INSTANCES)
        .max_memories_per_component(MOST_MEMORIES)
        .max_tables_per_component(MOST_TABLES)
        .linear_memory_keep_resident(WIPED)
        .table_keep_resident(WIPED)
        .async_stack_keep_resident(WIPED)
        // Wipes what was touched, where the kernel can tell.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Ticks an engine's epoch for as long as it lives.
pub(super) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts to tick.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start(engine: &Engine) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "nothing but the end is sent")]
        let (stop, stopped) = mpsc::channel();
        let engine = engine.weak();
        let tick = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                let Some(engine) = engine.upgrade() else { break };
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new()
            .name("plugin-ticker".into())
            .spawn(tick)
            .context("no thread for the plugins' time limits")?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and a destructor could not report it.
            let _ = thread.join();
        }
    }
}
