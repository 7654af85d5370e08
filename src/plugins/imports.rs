//! What a plugin may import: WASI with no access to anything, its settings, and the log.

use tracing::Level;
use wasmtime::component::{ComponentType, Lift, Linker};
use wasmtime::{Engine, Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi_config::WasiConfig;

use super::clocks::{MonotonicClock, view};
use super::guest::GuestState;
use super::interface::LOGGING;

/// Everything that a guest may import.
pub(super) fn linker(engine: &Engine) -> Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    // Ours in place of WASI's: a guest that sleeps may do so on a virtual clock.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<GuestState, MonotonicClock>(&mut linker, view)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_config::add_to_linker(&mut linker, |guest: &mut GuestState| {
        WasiConfig::from(&*guest.config)
    })?;
    for logging in LOGGING {
        linker.instance(logging)?.func_wrap("log", log)?;
    }
    Ok(linker)
}

/// `wasi:logging/logging.level`
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "wasmtime constructs them from a guest's argument")]
enum Severity {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// `wasi:logging/logging.log`
fn log(
    store: StoreContextMut<'_, GuestState>,
    (severity, context, message): (Severity, String, String),
) -> Result<()> {
    let level = match severity {
        Severity::Trace => Level::TRACE,
        Severity::Debug => Level::DEBUG,
        Severity::Info => Level::INFO,
        Severity::Warn => Level::WARN,
        Severity::Error | Severity::Critical => Level::ERROR,
    };
    store.data().console.message(level, &context, &message);
    Ok(())
}
