//! Why a call into a guest failed, in words.

use wasmtime::{Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::guest::{GuestState, OutOfTime};
use crate::event::{Failure, Fault};
use crate::settings::Limits;

/// How a guest broke.
#[derive(Debug)]
pub(super) struct Broken {
    reason: String,
    fault: Fault,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken.reason, broken.fault)
    }
}

/// The result of a call, or the reason why it failed.
pub(super) fn result<T>(
    called: Result<wasmtime::Result<T>, OutOfTime>,
    store: &Store<GuestState>,
    limits: &Limits,
) -> Result<T, Broken> {
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Broken {
            fault: fault(&error, store.data()),
            reason: reason(&error, store.data(), limits),
        }),
        Err(OutOfTime) => Err(Broken { fault: Fault::Timeout, reason: out_of_time(limits) }),
    }
}

fn fault(error: &wasmtime::Error, guest: &GuestState) -> Fault {
    match error.is::<OutOfTime>() {
        true => Fault::Timeout,
        false if guest.memory.denied => Fault::Memory,
        false => Fault::Trap,
    }
}

/// The limit that the guest exceeded, or how it trapped.
fn reason(error: &wasmtime::Error, guest: &GuestState, limits: &Limits) -> String {
    if error.is::<OutOfTime>() {
        return out_of_time(limits);
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return format!("the plugin called exit({status})");
    }
    let root = error.root_cause().to_string();
    if root.contains("fuel allocated for hostcalls") {
        return format!(
            "returned more than {} bytes or {} publications ([limits] max_output, max_publications)",
            limits.max_output, limits.max_publications
        );
    }
    let mut reason = match error.downcast_ref() {
        Some(Trap::StackOverflow) => "recursed deeper than its stack of 1 MiB".to_owned(),
        Some(trap) => trapped(*trap, error),
        None if root.starts_with("realloc") => {
            format!("did not allocate memory for the event: {root}")
        }
        None => format!("returned an invalid value: {root}"),
    };
    if guest.memory.denied {
        let limit = bytesize::ByteSize(limits.memory);
        reason += &format!(", after it asked for more than {limit} of memory ([limits] memory)");
    }
    if let Some(lines) = guest.console.take_errors() {
        reason += &format!("; stderr: {lines}");
    }
    reason
}

/// A trap, and the function that trapped if the file has names.
fn trapped(trap: Trap, error: &wasmtime::Error) -> String {
    let trap = trap.to_string();
    let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames);
    match frames.and_then(|frames| frames.first()?.func_name()) {
        Some(function) => format!("trapped in {function}: {trap}"),
        None => format!("trapped: {trap}"),
    }
}

fn out_of_time(limits: &Limits) -> String {
    format!("took longer than {} ([limits] timeout)", humantime::format_duration(limits.timeout))
}
