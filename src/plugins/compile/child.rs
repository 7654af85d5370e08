//! The process that compiles: a file's content on standard input, code on standard output.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Description, Task, confine, taken};
use crate::plugins::engine::{Allocation, engine};

/// The first line of what the process writes. Code follows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// What the file is; or why it is refused.
    pub(super) result: Result<Description, String>,
    /// What the system does not support of what confines the process.
    pub(super) unconfined: Option<String>,
}

/// Confines this process to `memory` bytes of address space, to `time` of the processors and
/// to its standard streams, and then does the task. It must have no other thread.
///
/// # Errors
/// The process cannot be confined, or its streams fail. That a file is refused is no error.
pub fn compile_on_standard_streams(task: Task, memory: u64, time: Duration) -> Result<()> {
    let untold = taken::tell_on_failure().err().map(|error| format!("{error:#}"));
    let unconfined = confine::confine(memory, time)?.or(untold);
    let mut content = Vec::new();
    match io::stdin().lock().read_to_end(&mut content) {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            taken::tell();
            // As the allocator says it: what grows is doubled.
            bail!("reading the file: memory allocation of {} bytes failed", 2 * content.capacity());
        }
        read => read.context("reading the file")?,
    };
    let compiled = engine(Allocation::System)
        .context("WebAssembly does not run on this machine")
        .and_then(|engine| super::compile(&engine, task, &content));
    let (result, code) = match compiled {
        Ok((description, code)) => (Ok(description), code),
        Err(error) => {
            taken::tell();
            (Err(format!("{error:#}")), Vec::new())
        }
    };
    let mut line = serde_json::to_vec(&Reply { result, unconfined })?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line).and_then(|()| out.write_all(&code)).and_then(|()| out.flush())?;
    Ok(())
}
