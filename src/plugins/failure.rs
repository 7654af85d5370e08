//! Why a call into a guest failed, in words.

use wasmtime::{PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::guest::{GuestState, MOST_RESOURCES, OutOfTime};
use super::store::max_copied_bytes;
use crate::event::{Failure, Fault, shortened};
use crate::settings::Limits;

/// How much of a function's name a reason shows, in bytes.
const SHOWN_NAME: usize = 300;

/// How a guest broke.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Broken {
    reason: String,
    fault: Fault,
    crowded: bool,
}

impl Broken {
    /// Whether there was no room for the guest, beside those of all plugins.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Whether a busy machine can have been the reason: the time of a call is that of the clock, and
    /// room is what other guests leave.
    fn may_pass(&self) -> bool {
        self.crowded || self.fault == Fault::Timeout
    }

    /// Why a plugin is not loaded, if it broke so in being loaded.
    pub(super) fn while_loading(self) -> anyhow::Error {
        match self.may_pass() {
            true => Temporary(self.reason).into(),
            false => self.into(),
        }
    }

    /// The same, and before the reason what did not happen because of it.
    pub(super) fn prefixed(self, what: &str) -> Self {
        Self { reason: format!("{what}: {}", self.reason), ..self }
    }
}

/// Why a plugin is not loaded that may load if it is tried again, though nothing of it has changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Temporary(String);

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
            crowded: error.is::<PoolConcurrencyLimitError>(),
        }),
        Err(OutOfTime) => {
            let reason = out_of_time(limits);
            Err(Broken { fault: Fault::Timeout, reason, crowded: false })
        }
    }
}

fn fault(error: &wasmtime::Error, guest: &GuestState) -> Fault {
    match error.is::<OutOfTime>() {
        true => Fault::Timeout,
        false if guest.memory.denied.is_some() => Fault::Memory,
        false if error.downcast_ref() == Some(&Trap::StackOverflow) => Fault::Stack,
        false => Fault::Trap,
    }
}

/// The limit that the guest exceeded, or how it trapped.
fn reason(error: &wasmtime::Error, guest: &GuestState, limits: &Limits) -> String {
    if error.is::<OutOfTime>() {
        return out_of_time(limits);
    }
    let root = error.root_cause().to_string();
    if root.contains("fuel allocated for hostcalls") {
        if has_frames(error) {
            let most = bytesize::ByteSize(max_copied_bytes(limits) as u64);
            return format!(
                "passed more than {most} to the router in one call, such as a message for the log"
            );
        }
        return format!(
            "returned more than {} bytes or {} publications ([limits] max_output, max_publications)",
            limits.max_output, limits.max_publications
        );
    }
    if let (Some(bytes), true) = (guest.memory.denied, root.contains("minimum size")) {
        let [needed, limit] = [bytes, limits.memory].map(bytesize::ByteSize);
        return format!("it needs {needed} of memory to start; [limits] memory is {limit}");
    }
    let mut reason = match (error.downcast_ref(), error.downcast_ref()) {
        // WASI knows success and failure, and no other status.
        (_, Some(I32Exit(status))) => format!("the plugin called exit({status})"),
        (Some(Trap::StackOverflow), _) => "recursed deeper than its stack of 1 MiB".to_owned(),
        (Some(trap), _) => trapped(*trap, error),
        (None, _) if error.is::<PoolConcurrencyLimitError>() => {
            format!("there is no room for one more instance beside those of all plugins: {root}")
        }
        (None, _) if root.starts_with("realloc") => {
            format!("did not allocate memory for the event: {root}")
        }
        (None, _) if root.starts_with("resource table") => {
            format!(
                "holds more than {MOST_RESOURCES} streams, timers and their like at once: {root}"
            )
        }
        (None, _) if root.starts_with("requested len") => {
            format!("asked for too many random bytes at once: {root}")
        }
        // In the middle of a call it called the router, to log or for a setting.
        (None, _) if has_frames(error) => format!("passed an invalid value to the router: {root}"),
        (None, _) => format!("returned an invalid value: {root}"),
    };
    if guest.memory.denied.is_some() {
        let limit = bytesize::ByteSize(limits.memory);
        reason += &format!(", after it asked for more than {limit} of memory ([limits] memory)");
    }
    let [logged, stderr] = guest.console.take_errors();
    for (what, lines) in [("log", logged), ("stderr", stderr)] {
        if let Some(lines) = lines {
            reason += &format!("; {what}: {lines}");
        }
    }
    reason
}

/// Whether it happened while the plugin's code ran.
fn has_frames(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<WasmBacktrace>().is_some_and(|trace| !trace.frames().is_empty())
}

/// A trap, and the function of the plugin's author that it happened in, if the file has names.
fn trapped(trap: Trap, error: &wasmtime::Error) -> String {
    let trap = trap.to_string();
    let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames);
    let own = frames.unwrap_or_default().iter().find_map(|frame| {
        let name = format!("{:#}", rustc_demangle::demangle(frame.func_name()?));
        (!is_runtime(&name)).then_some(name)
    });
    match own {
        Some(function) => format!("trapped in {}: {trap}", shortened(&function, SHOWN_NAME)),
        None => format!("trapped: {trap}"),
    }
}

/// Whether a function belongs to a language's runtime rather than to the plugin. A trap that the
/// runtime raises says little of itself; who called it does.
fn is_runtime(function: &str) -> bool {
    // Whole names, which an author's may begin with: of Rust's and of C's.
    const FUNCTIONS: [&str; 10] = [
        "rust_begin_unwind",
        "rust_eh_personality",
        "rust_oom",
        "rust_panic",
        "abort",
        "raise",
        "dlmalloc",
        "dlcalloc",
        "dlfree",
        "dlrealloc",
    ];
    // What names begin with.
    const RUNTIMES: [&str; 24] = [
        // Rust's standard library, and what it is built on.
        "core::",
        "<core::",
        "alloc::",
        "<alloc::",
        "std::",
        "<std::",
        "__rust",
        "_rust",
        "dlmalloc::",
        "<dlmalloc::",
        "wit_bindgen::",
        // C's.
        "__",
        "cabi_",
        // Of projects in C++: what joins plugin and bindings.
        "router::",
        // Zig's standard library, and what joins plugin and bindings.
        "\"debug.",
        "debug.",
        "glue.",
        "router.",
        "heap.",
        "mem.",
        "fmt.",
        "Io.",
        // Go's.
        "runtime.",
        // Python's.
        "wit_dylib_",
    ];
    // `INTERFACE#FUNCTION` is an export, whatever is behind it.
    function.contains('#')
        || FUNCTIONS.contains(&function)
        || RUNTIMES.iter().any(|runtime| function.starts_with(runtime))
}

fn out_of_time(limits: &Limits) -> String {
    format!("took longer than {} ([limits] timeout)", humantime::format_duration(limits.timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_functions_are_told_from_the_runtimes() {
        for runtime in [
            "core::panicking::panic_fmt",
            "<alloc::vec::Vec<T> as core::ops::Index>::index",
            "__rustc::rust_begin_unwind",
            "__assert_fail",
            "rust_panic",
            "abort",
            "runtime.fatalpanic",
            "std::__1::__libcpp_verbose_abort(char const*, ...)",
            "debug.FullPanic((function 'panicked')).outOfBounds",
            "glue.panicked",
            "os2mo:router/filter@1.0.0#route",
        ] {
            assert!(is_runtime(runtime), "{runtime}");
        }
        for own in [
            "my_plugin::route",
            "<my_plugin::Plugin as Guest>::route",
            "rust_reminder::route",
            "raise_alarm",
            "abort_late",
            "main.route",
            "plugin.route",
        ] {
            assert!(!is_runtime(own), "{own}");
        }
    }
}
