//! The process that compiles: a file's content on standard input, code on standard output.

use std::io::{self, Read, Write};

use anyhow::{Context, Error, Result, bail};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::confine::{Share, confine};
use super::{Description, Task, taken};
use crate::plugins::engine::{Allocation, Codegen, engine};

/// The first line of what the process writes. Code follows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// What the file is; or why it is refused.
    pub(super) result: Result<Description, String>,
    /// Whether that is for memory or threads that the system did not give.
    pub(super) is_short: bool,
    /// What the system does not support of what confines the process.
    pub(super) unconfined: Option<String>,
}

/// Confines this process to its share and to its standard streams, and then does the task. It must
/// have no other thread.
///
/// # Errors
/// The process cannot be confined, or its streams fail. That a file is refused is no error.
pub fn compile_on_standard_streams(task: Task, codegen: Codegen, share: Share) -> Result<()> {
    ignore_reloads();
    let untold = taken::tell_on_failure().err().map(|error| format!("{error:#}"));
    let unconfined = confine(share)?.or(untold);
    let mut content = Vec::new();
    match io::stdin().lock().read_to_end(&mut content) {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            taken::tell();
            // As the allocator says it: what grows is doubled.
            bail!("reading the file: memory allocation of {} bytes failed", 2 * content.capacity());
        }
        read => read.context("reading the file")?,
    };
    let compiled = engine(Allocation::System, codegen)
        .context("WebAssembly does not run on this machine")
        .and_then(|engine| super::compile(&engine, task, &content));
    let is_short = compiled.as_ref().is_err_and(is_shortage);
    let (result, code) = match compiled {
        Ok((description, code)) => (Ok(description), code),
        Err(error) => {
            taken::tell();
            (Err(format!("{error:#}")), Vec::new())
        }
    };
    let mut line = serde_json::to_vec(&Reply { result, is_short, unconfined })?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line).and_then(|()| out.write_all(&code)).and_then(|()| out.flush())?;
    Ok(())
}

/// SIGHUP has the router read its settings again. Whoever sends it to all processes of the service does
/// not mean this one.
fn ignore_reloads() {
    #[expect(unsafe_code, reason = "no library ignores a signal")]
    // SAFETY: nothing is called.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Whether the system gave no more memory or threads, whose stacks are memory too: by the kind of the
/// error, since its words may be the file's.
fn is_shortage(error: &Error) -> bool {
    error.chain().any(|cause| {
        let system = cause.downcast_ref().map(io::Error::kind);
        let called = cause.downcast_ref::<Errno>();
        matches!(system, Some(io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock))
            || matches!(called, Some(&(Errno::NOMEM | Errno::AGAIN)))
            || cause.is::<wasmtime::OutOfMemory>()
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn what_the_system_lacks_is_told_by_the_kind_of_the_error() {
        let system = |code| anyhow!(io::Error::from_raw_os_error(code));
        for error in [system(libc::ENOMEM), system(libc::EAGAIN), anyhow!(Errno::NOMEM)] {
            let wrapped =
                wasmtime::Error::from_anyhow(error.context("mapping")).context("compiling");
            let error = Error::from(wrapped).context("the file does not compile");
            assert!(is_shortage(&error), "{error:?}");
        }
        let of_wasmtime = wasmtime::Error::from(wasmtime::OutOfMemory::new(7)).context("compiling");
        assert!(is_shortage(&Error::from(of_wasmtime)));
        // A file's names.
        for words in ["out of memory", "memory allocation of 7 bytes failed", "(os error 12)"] {
            assert!(!is_shortage(&anyhow!("it imports {words}")), "{words}");
        }
        assert!(!is_shortage(&system(libc::EACCES)));
    }
}
