//! Compiling in a process of its own, as its parent sees it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use bytesize::ByteSize;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tracing::warn;

use super::child::Reply;
use super::taken::{other_words, taken};
use super::{Code, Compiled, MachineFault, Task};
use crate::escape::escaped;
use crate::plugins::cache::NotWritten;
use crate::plugins::engine::Codegen;
use crate::settings::Limits;

/// How much longer than the processors' time it may take: at the lowest priority, a busy
/// machine leaves it little of them.
const WALL_TIME: u32 = 5;

/// The largest code, in bytes. It is about three times as large as what it was made from.
const LARGEST_CODE: u64 = 2 << 30;

/// The longest line before it, in bytes: what the file imports and exports, or a reason.
const LONGEST_LINE: u64 = 4 << 20;

/// How much is read of what the process says on standard error, in bytes.
const LONGEST_LAST_WORDS: u64 = 4096;

/// How many lines of that people are told.
const TOLD_LINES: usize = 3;

/// A compiler in a process of its own, a new one for each file.
pub(in crate::plugins) struct Apart {
    /// This program, of this version, which has a command for it.
    pub(in crate::plugins) program: PathBuf,
    /// How it compiles.
    pub(in crate::plugins) codegen: Codegen,
}

impl Apart {
    /// Does the task.
    ///
    /// # Errors
    /// Says why the file is refused, or which limit it exceeds; or the process cannot be started.
    pub(super) async fn compile(
        &self,
        task: Task,
        content: Bytes,
        limits: &Limits,
        into: Option<NamedTempFile>,
    ) -> Result<Compiled> {
        let cannot_start = || MachineFault("cannot start the compiler".into());
        let mut child = self.start(task, limits).with_context(cannot_start)?;
        let wall_time = limits.compile_timeout.saturating_mul(WALL_TIME);
        match tokio::time::timeout(wall_time, converse(&mut child, content, limits, into)).await {
            Ok(compiled) => compiled,
            // Dropping it ends it.
            Err(_) => Err(too_slow(wall_time)),
        }
    }

    fn start(&self, task: Task, limits: &Limits) -> io::Result<Child> {
        let seconds = limits.compile_timeout.as_secs_f64().ceil() as u64;
        let mut command = Command::new(&self.program);
        command
            .arg("compile-plugin")
            .arg(format!("--memory={}", limits.compile_memory))
            .arg(format!("--seconds={seconds}"))
            .env_clear()
            // The allocator takes a gigabyte of address space at once otherwise.
            .env("MIMALLOC_ARENA_RESERVE", "32MiB")
            .current_dir("/")
            // The process itself cannot look up how much of the processors the container has.
            .env("RAYON_NUM_THREADS", threads().to_string())
            // A signal from the terminal is for the router, which ends it if it has to.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if task == Task::Describe {
            command.arg("--describe");
        }
        if self.codegen == Codegen::Baseline {
            command.arg("--baseline");
        }
        command.spawn()
    }
}

/// How many threads compile: as many as this process has processors, or a container's share of them.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Hands in the content and takes the reply.
async fn converse(
    child: &mut Child,
    content: Bytes,
    limits: &Limits,
    into: Option<NamedTempFile>,
) -> Result<Compiled> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let stdout = stdout.context("the compiler has no output")?;
    let send = async {
        // A process that ends without reading says why when it ends.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(&content).await;
        }
        Ok(())
    };
    let last_words = async {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(LONGEST_LAST_WORDS).read_to_end(&mut words).await?;
        }
        Ok(String::from_utf8_lossy(&words).into_owned())
    };
    let ((), (line, code), last_words) = tokio::try_join!(send, receive(stdout, into), last_words)?;
    let status = child.wait().await.context("waiting for the compiler")?;
    if !status.success() {
        return Err(failed(status, &last_words, limits));
    }
    let Reply { result, is_short, unconfined } =
        serde_json::from_slice(&line).context("the compiler's reply")?;
    if let Some(what) = unconfined {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| warn!("plugins are compiled with less protection: {what}"));
    }
    match result {
        Ok(description) => Ok(Compiled { description, code }),
        Err(_) if is_short => Err(short(taken(&last_words), limits)),
        Err(reason) => Err(anyhow!(reason)),
    }
}

/// Takes the first line of the reply, and the code after it. On a thread where it may block: the
/// system copies from the process to the file by itself.
async fn receive(stdout: ChildStdout, into: Option<NamedTempFile>) -> Result<(Vec<u8>, Code)> {
    let stdout = File::from(stdout.into_owned_fd().context("reading from the compiler")?);
    let receive = move || {
        let (mut reply, mut line) = (BufReader::new(stdout), Vec::new());
        (&mut reply).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        let mut code = match into {
            Some(file) => Code::File(file),
            None => Code::Memory(Vec::new()),
        };
        let size = match &mut code {
            Code::Memory(bytes) => reply.take(LARGEST_CODE + 1).read_to_end(bytes)? as u64,
            // A pipe can be read: what fails is the file.
            Code::File(file) => copy_to(file, reply).context(NotWritten)?,
        };
        if size > LARGEST_CODE {
            bail!("the code is larger than {}", ByteSize(LARGEST_CODE));
        }
        anyhow::Ok((line, code))
    };
    let received = tokio::task::spawn_blocking(receive).await.context("compiling failed")?;
    received.context("taking what the compiler gives back")
}

/// Copies what is left to a file, and says how much that is: of what is too large, a byte too many.
fn copy_to(file: &mut NamedTempFile, reply: BufReader<File>) -> io::Result<u64> {
    let begun = reply.buffer().to_owned();
    file.write_all(&begun)?;
    let rest = LARGEST_CODE.saturating_sub(begun.len() as u64) + 1;
    Ok(begun.len() as u64 + io::copy(&mut reply.into_inner().take(rest), file)?)
}

/// The processors' time is limited in the process itself: it got too little of it.
fn too_slow(wall_time: Duration) -> anyhow::Error {
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
fn failed(status: ExitStatus, last_words: &str, limits: &Limits) -> anyhow::Error {
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
fn short(taken: Option<u64>, limits: &Limits) -> anyhow::Error {
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

    #[tokio::test]
    async fn a_file_that_takes_no_code_is_no_fault_of_the_plugin() {
        let mut child = Command::new("sh")
            .args(["-c", "printf '{}\\ncode'"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (_, path) = NamedTempFile::new().unwrap().into_parts();
        // It is open for reading only.
        let file = NamedTempFile::from_parts(File::open(&path).unwrap(), path);
        let received = receive(child.stdout.take().unwrap(), Some(file)).await;
        let Err(error) = received else { panic!("it is written") };
        assert!(error.is::<NotWritten>(), "{error:#}");
    }

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

    #[tokio::test]
    async fn what_the_machine_does_not_let_be_compiled_is_no_fault_of_the_file() {
        let nowhere = Apart { program: "/nowhere".into(), codegen: Codegen::Optimised };
        let limits = Limits::default();
        let not_started = nowhere.compile(Task::Compile, Bytes::new(), &limits, None).await;
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
            (not_started.err().unwrap(), "cannot start the compiler"),
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
