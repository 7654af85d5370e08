//! Why a process that compiles gave no code: the file's fault, for good, or the machine's, for now.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::anyhow;
use bytesize::ByteSize;

use super::MachineFault;
use super::taken::{other_words, taken};
use crate::escape::escaped;
use crate::settings::Limits;

/// How much longer than the processors' time it may take: a busy machine leaves it little of them.
pub(super) const WALL_TIME: u32 = 5;

/// How many lines of its last words people are told.
const TOLD_LINES: usize = 3;

/// The processors' time is limited in the process itself: it got too little of it.
pub(super) fn too_slow(wall_time: Duration) -> anyhow::Error {
    let reason = format!(
        "compiling it takes longer than {} ({WALL_TIME} times [limits] compile_timeout)",
        humantime::format_duration(wall_time)
    );
    MachineFault(reason).into()
}

/// The signals by which a process ends for what it does itself. Others come from elsewhere, such as
/// SIGHUP, which `systemctl kill` sends to all processes of a service.
const OF_ITS_OWN: [libc::c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// Why the process did not end well.
pub(super) fn failed(status: ExitStatus, last_words: &str, limits: &Limits) -> anyhow::Error {
    let time = humantime::format_duration(Duration::from_secs(
        limits.compile_timeout.as_secs_f64().ceil() as u64,
    ));
    match status.signal() {
        Some(libc::SIGXCPU) => anyhow!(
            "compiling it takes more than {time} of processor time ([limits] compile_timeout)"
        ),
        _ if is_shortage(last_words) => {
            let wanted = wanted(last_words);
            short(taken(last_words).map(|taken| taken.saturating_add(wanted)), limits)
        }
        // The limit's second step, if the first was not noticed; or the system.
        Some(libc::SIGKILL) => MachineFault(format!(
            "compiling it was ended by the system: it took {time} of processor time ([limits] \
             compile_timeout), or the machine is short of memory"
        ))
        .into(),
        Some(signal) if !OF_ITS_OWN.contains(&signal) => {
            MachineFault(format!("compiling it was ended from outside ({status})")).into()
        }
        _ => {
            // Of a panic, the first line says where it was, the next one why.
            let words =
                match other_words(last_words).take(TOLD_LINES).collect::<Vec<_>>().join(" / ") {
                    none if none.is_empty() => "no message".to_owned(),
                    words => words,
                };
            anyhow!("the compiler failed ({status}): {}", escaped(&words))
        }
    }
}

/// What stands before the size of what the allocator could not have.
const ALLOCATION: &str = "memory allocation of ";

/// Whether a process that failed says on standard error that there is no more memory, or no more
/// threads, whose stacks are memory too: as the allocator, the system and the compiler say it. Not for
/// why a file is refused, which may quote the file.
fn is_shortage(last_words: &str) -> bool {
    [
        ALLOCATION,
        "os error 12",
        "code: 12,",
        "Cannot allocate memory",
        "os error 11",
        "code: 11,",
        "Resource temporarily unavailable",
        "out of memory",
    ]
    .iter()
    .any(|sign| last_words.contains(sign))
}

/// How many bytes the allocator could not have.
fn wanted(words: &str) -> u64 {
    let after = words.split_once(ALLOCATION).map(|(_, after)| after);
    after.and_then(|after| after.split(' ').next()?.parse().ok()).unwrap_or_default()
}

/// Of a process that found no more memory or threads, and would have taken so many bytes of memory by
/// then: it is the limit if that is not far, since the allocator takes large pieces.
pub(super) fn short(taken: Option<u64>, limits: &Limits) -> anyhow::Error {
    let limit = ByteSize(limits.compile_memory);
    let machine = match taken {
        Some(taken) if taken >= limits.compile_memory / 4 * 3 => {
            return anyhow!(
                "compiling it takes more than {limit} of memory ([limits] compile_memory)"
            );
        }
        Some(taken) => format!(
            "compiling it found no more memory or threads, at {} of {limit} ([limits] compile_memory): \
             the machine or the container is short of them",
            ByteSize(taken)
        ),
        None => format!(
            "compiling it found no more memory or threads: the machine or the container is short of \
             them, or it takes more than {limit} ([limits] compile_memory)"
        ),
    };
    MachineFault(machine).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_of_the_compiler_says_is_told() {
        let words = "\nthread 'main' panicked at src/isa/x64/lower.rs:1:2:\nno such \u{1b}type\nnote: run \
                     with `RUST_BACKTRACE=1`\n  0: std\n";
        let said =
            |words| failed(ExitStatus::from_raw(134 << 8), words, &Limits::default()).to_string();
        assert!(
            said(words).contains("lower.rs:1:2: / no such \\u{1b}type / note"),
            "{}",
            said(words)
        );
        assert!(!said(words).contains("std") && said(" \n").ends_with(": no message"));
    }

    #[test]
    fn what_the_machine_does_not_let_be_compiled_is_no_fault_of_the_file() {
        let limits = Limits::default();
        let ended_by = |signal| failed(ExitStatus::from_raw(signal), "", &limits);
        // As rayon says it, and as the allocator does.
        let panic = "thread 'main' panicked at rayon-core/src/registry.rs:170:10:\nThe global thread pool \
                     has not been initialized.: ThreadPoolBuildError { kind: IOError(Os { code: 11, kind: \
                     WouldBlock, message: \"Resource temporarily unavailable\" }) }\n";
        let no_threads = failed(ExitStatus::from_raw(101 << 8), panic, &limits);
        let at = |peak: &str, wanted: &str| {
            let words = format!("memory allocation of {wanted} bytes failed\n{peak}");
            failed(ExitStatus::from_raw(libc::SIGABRT), &words, &limits)
        };
        for (error, expected) in [
            (no_threads, "no more memory or threads: the machine"),
            (at("", "1000"), "no more memory or threads: the machine"),
            (
                at("VmPeak:\t  204800 kB\n", "1000"),
                "at 200.0 MiB of 2.0 GiB ([limits] compile_memory)",
            ),
            (ended_by(libc::SIGKILL), "short of memory"),
            (ended_by(libc::SIGHUP), "ended from outside (signal: 1 (SIGHUP))"),
            (ended_by(libc::SIGTERM), "ended from outside"),
            (too_slow(Duration::from_secs(1)), "takes longer than 1s"),
        ] {
            let error = error.context("plugin test");
            assert!(error.is::<MachineFault>(), "{error:#}");
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
        let too_much =
            [at("VmPeak:\t 2000000 kB\n", "1000"), at("VmPeak: 204800 kB\n", "1900000000")];
        for error in
            [libc::SIGXCPU, libc::SIGSEGV, libc::SIGABRT].map(ended_by).into_iter().chain(too_much)
        {
            assert!(!error.is::<MachineFault>(), "{error:#}");
        }
    }
}
