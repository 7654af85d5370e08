//! Compiling in a process of its own, as its parent sees it.

use std::fs::File;
use std::future::pending;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Once;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use bytesize::ByteSize;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tracing::{info, warn};

use super::child::Reply;
use super::priority::{self, Starved};
use super::reason::{WALL_TIME, failed, short, too_slow};
use super::taken::taken;
use super::{Code, Compiled, MachineFault, Task};
use crate::plugins::cache::NotWritten;
use crate::plugins::engine::Codegen;
use crate::plugins::file::PluginFile;
use crate::settings::Limits;

/// The largest code, in bytes. It is about three times as large as what it was made from.
const LARGEST_CODE: u64 = 2 << 30;

/// The longest line before it, in bytes: what the file imports and exports, or a reason.
const LONGEST_LINE: u64 = 4 << 20;

/// How much is read of what the process says on standard error, in bytes.
const LONGEST_LAST_WORDS: u64 = 4096;

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
        file: &PluginFile,
        limits: &Limits,
        into: Option<NamedTempFile>,
    ) -> Result<Compiled> {
        let wall_time = limits.compile_timeout.saturating_mul(WALL_TIME);
        let compile = self.compile_at_some_priority(task, file, limits, into);
        tokio::time::timeout(wall_time, compile).await.unwrap_or_else(|_| Err(too_slow(wall_time)))
    }

    /// Does it at the lowest priority, or, where the machine leaves it nothing of the processors then,
    /// anew at a higher one: a process cannot raise its own.
    async fn compile_at_some_priority(
        &self,
        task: Task,
        file: &PluginFile,
        limits: &Limits,
        mut into: Option<NamedTempFile>,
    ) -> Result<Compiled> {
        let mut child = self.start(task, limits, priority::LOWEST)?;
        let starved = priority::starved(child.id().context("the compiler is not there")?);
        match converse(&mut child, &file.bytes, limits, &mut into, starved).await {
            Err(error) if error.is::<Starved>() => {
                info!(plugin = file.name, "{error}: beginning anew at a higher one");
            }
            compiled => return compiled,
        }
        // Two compilers of one file would be one too many.
        child.kill().await.context("ending the compiler")?;
        let mut child = self.start(task, limits, priority::LOW)?;
        converse(&mut child, &file.bytes, limits, &mut into, pending()).await
    }

    fn start(&self, task: Task, limits: &Limits, nice: i32) -> Result<Child> {
        let seconds = limits.compile_timeout.as_secs_f64().ceil() as u64;
        let mut command = Command::new(&self.program);
        command
            .arg("compile-plugin")
            .arg(format!("--memory={}", limits.compile_memory))
            .arg(format!("--seconds={seconds}"))
            .arg(format!("--nice={nice}"))
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
        command.spawn().with_context(|| MachineFault("cannot start the compiler".into()))
    }
}

/// How many threads compile: as many as this process has processors, or a container's share of them.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Hands in the content and takes the reply, unless the child is starved before it has one. Then,
/// the file is still there.
async fn converse(
    child: &mut Child,
    content: &[u8],
    limits: &Limits,
    into: &mut Option<NamedTempFile>,
    starved: impl Future<Output = Starved>,
) -> Result<Compiled> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let stdout = stdout.context("the compiler has no output")?;
    let send = async {
        // A process that ends without reading says why when it ends.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(content).await;
        }
        anyhow::Ok(())
    };
    let last_words = async {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(LONGEST_LAST_WORDS).read_to_end(&mut words).await?;
        }
        anyhow::Ok(String::from_utf8_lossy(&words).into_owned())
    };
    let replied = async {
        let (line, reply) = tokio::select! {
            begun = begin(stdout) => begun?,
            starved = starved => return Err(starved.into()),
        };
        anyhow::Ok((line, take_code(reply, into.take()).await?))
    };
    let ((), (line, code), last_words) = tokio::try_join!(send, replied, last_words)?;
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

/// Takes the first line of the reply. On a thread where it may block.
async fn begin(stdout: ChildStdout) -> Result<(Vec<u8>, BufReader<File>)> {
    let stdout = File::from(stdout.into_owned_fd().context("reading from the compiler")?);
    blocking(move || {
        let (mut reply, mut line) = (BufReader::new(stdout), Vec::new());
        (&mut reply).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        Ok((line, reply))
    })
    .await
}

/// Takes the code after it. Into a file, the system copies it from the process by itself.
async fn take_code(reply: BufReader<File>, into: Option<NamedTempFile>) -> Result<Code> {
    blocking(move || {
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
        Ok(code)
    })
    .await
}

/// Does what takes longer than a task may.
async fn blocking<T: Send + 'static>(
    take: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let taken = tokio::task::spawn_blocking(take).await.context("compiling failed")?;
    taken.context("taking what the compiler gives back")
}

/// Copies what is left to a file, and says how much that is: of what is too large, a byte too many.
fn copy_to(file: &mut NamedTempFile, reply: BufReader<File>) -> io::Result<u64> {
    let begun = reply.buffer().to_owned();
    file.write_all(&begun)?;
    let rest = LARGEST_CODE.saturating_sub(begun.len() as u64) + 1;
    Ok(begun.len() as u64 + io::copy(&mut reply.into_inner().take(rest), file)?)
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
        let (_, reply) = begin(child.stdout.take().unwrap()).await.unwrap();
        let Err(error) = take_code(reply, Some(file)).await else { panic!("it is written") };
        assert!(error.is::<NotWritten>(), "{error:#}");
    }

    #[tokio::test]
    async fn what_does_not_start_is_no_fault_of_the_file() {
        let nowhere = Apart { program: "/nowhere".into(), codegen: Codegen::Optimised };
        let limits = Limits::default();
        let file = PluginFile::new("a".into(), "a.wasm".into(), bytes::Bytes::new());
        let not_started = nowhere.compile(Task::Compile, &file, &limits, None).await;
        let error = not_started.err().unwrap();
        assert!(error.is::<MachineFault>(), "{error:#}");
        assert!(format!("{error:#}").contains("cannot start the compiler"), "{error:#}");
    }
}
