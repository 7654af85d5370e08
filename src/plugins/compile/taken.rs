//! How much memory the process that compiles has taken: it tells when it fails, and its parent can
//! tell what the file asked for from what the machine lacks.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use rustix::fs::{SeekFrom, seek};

/// What stands before it, in `/proc/self/status` and in what the process says.
const PEAK: &str = "VmPeak:";

/// The process's own status: once it is confined, it can no longer open it.
static STATUS: OnceLock<File> = OnceLock::new();

/// From now on this process says how much memory it has taken if it panics or finds no memory. To be
/// called before it is confined.
///
/// # Errors
/// The system does not say it.
pub(super) fn tell_on_failure() -> Result<()> {
    let path = "/proc/self/status";
    let status = File::open(path).with_context(|| format!("opening {path}"))?;
    // It is called once.
    let _ = STATUS.set(status);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell();
        hook(panic);
    }));
    let on_abort: extern "C" fn(libc::c_int) = on_abort;
    #[expect(unsafe_code, reason = "no library handles this signal")]
    // SAFETY: what it calls makes system calls and nothing else, which a handler may.
    unsafe {
        libc::signal(libc::SIGABRT, on_abort as libc::sighandler_t);
    }
    // Where standard error is a file, it may not grow: what is said is lost, and no more.
    #[expect(unsafe_code, reason = "no library ignores this signal")]
    // SAFETY: nothing is called.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    Ok(())
}

/// Whoever finds no memory says so and aborts, which ends the process once this returns.
extern "C" fn on_abort(_: libc::c_int) {
    tell();
}

/// Says on standard error how much address space this process has taken at most. Takes no memory.
pub(super) fn tell() {
    let (mut text, stderr) = ([0; 2048], std::io::stderr());
    let Some(status) = STATUS.get() else { return };
    let read = seek(status, SeekFrom::Start(0)).and_then(|_| rustix::io::read(status, &mut text));
    let text = read.ok().and_then(|length| text.get(..length)).unwrap_or_default();
    let from = text.windows(PEAK.len()).position(|part| part == PEAK.as_bytes());
    let line = from.and_then(|from| text.get(from..)).unwrap_or_default();
    let line = line.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    // Whoever would read it may be gone.
    let _ = rustix::io::write(stderr.as_fd(), line);
}

/// How many bytes the process has taken, by what it said.
pub(super) fn taken(words: &str) -> Option<u64> {
    // Other threads may have been saying something.
    let (_, after) = words.split_once(PEAK)?;
    let kibibytes: u64 = after.lines().next()?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What else it said, by lines that are not empty.
pub(super) fn other_words(words: &str) -> impl Iterator<Item = &str> {
    words.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(PEAK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_has_taken_stands_beside_its_words() {
        let words = "VmPeak:\t  312508 kB\n\nthread 'main' panicked\nVmPeak:\t 1 kB\n";
        assert_eq!(taken(words), Some(312508 * 1024));
        assert_eq!(other_words(words).next(), Some("thread 'main' panicked"));
        let of_two = "memory allocation of memory allocation of 7VmPeak:\t 1 kB\n bytes failed\n";
        assert_eq!(taken(of_two), Some(1024));
        assert_eq!((taken("VmPeak: much"), other_words("VmPeak:\t 1 kB\n").next()), (None, None));
    }
}
