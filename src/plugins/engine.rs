//! The engine that compiles and runs plugins.

use anyhow::Result;
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig, Strategy};

/// Limits on the core instances, memories and tables of one component: well above
/// what the largest language runtimes use, and well below what would exhaust the
/// address space.
pub(super) const MOST_INSTANCES: u32 = 400;
pub(super) const MOST_MEMORIES: u32 = 32;
pub(super) const MOST_TABLES: u32 = 64;

/// The size of a guest's stack, in bytes.
pub(super) const STACK: usize = 1 << 20;

/// How plugins are compiled to native code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codegen {
    /// With optimisations, by Cranelift: what the router runs.
    Optimised,
    /// By Winch, wasmtime's baseline compiler, in a fraction of that time. The code does the same,
    /// slower and with more stack. Winch does not know all of WebAssembly, nor all processors.
    Baseline,
}

/// How instances get their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allocation {
    /// From the system: for instances that are kept.
    System,
    /// From a pool of reserved address space: for instances that live for one event.
    Pool,
}

/// How many instances fit in the pool.
pub(super) const POOL: u32 = 1000;

/// How many core instances, and how many tables, they may have in total.
const POOL_PARTS: u32 = 20_000;

/// How many bytes of a memory are zeroed for the next instance. Giving the pages back
/// to the system costs more when they are few; what exceeds this is given back.
const WIPED: usize = 256 << 10;

/// Makes an engine. Compiled code depends on its settings, except for the allocation:
/// engines of both kinds run the same code.
pub(super) fn engine(allocation: Allocation, codegen: Codegen) -> Result<Engine> {
    let mut config = Config::new();
    config
        .strategy(match codegen {
            Codegen::Optimised => Strategy::Cranelift,
            Codegen::Baseline => Strategy::Winch,
        })
        .epoch_interruption(true)
        // An instance runs one call at a time and needs no concurrency.
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        // The host's functions run on the same stack, beyond the guest's part.
        .async_stack_size(STACK + (1 << 20));
    if allocation == Allocation::Pool {
        config.allocation_strategy(pool());
    }
    Ok(Engine::new(&config)?)
}

/// Reserves address space. Memory is only used for the pages that instances touch.
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
        // Zeroes only the pages that were touched, where the kernel can tell.
        .pagemap_scan(Enabled::Auto);
    pool
}
