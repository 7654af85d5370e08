//! What guests log: `wasi:logging`, and lines on standard output and error. All of it
//! goes to the router's log under the plugin's name, limited in length and rate.

mod rate;
mod recent;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Level, debug, error, info, trace, warn};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

pub use self::rate::LogLines;
use self::rate::{BYTES_PER_SECOND, LINES_PER_SECOND, Rate, Verdict};
pub use self::recent::LogLine;
use self::recent::Recent;
use crate::event::Datetime;

/// The longest message, in bytes; longer ones are cut.
const LONGEST: usize = 4096;

/// How many lines of standard error a failure's reason quotes.
const QUOTED_LINES: usize = 6;

/// The longest context, in bytes: it is a word.
const LONGEST_CONTEXT: usize = 256;

/// The log of one plugin, shared by its instances and versions.
pub(super) struct Log {
    plugin: String,
    rate: Mutex<Rate>,
    recent: Mutex<Recent>,
}

impl Log {
    pub(super) fn new(plugin: &str) -> Arc<Self> {
        let rate = Mutex::new(Rate::new(Instant::now()));
        Arc::new(Self { plugin: plugin.into(), rate, recent: Mutex::default() })
    }

    /// How many lines there were so far.
    pub(super) fn lines(&self) -> LogLines {
        lock(&self.rate).lines()
    }

    /// The last lines, the newest last.
    pub(super) fn recent(&self) -> Vec<LogLine> {
        lock(&self.recent).read()
    }

    /// Logs a message, unless the plugin has logged too many of late.
    pub(super) fn message(&self, level: Level, context: &str, message: &str) {
        if level > LevelFilter::current() {
            return;
        }
        let (message, context) = (shortened(message, LONGEST), shortened(context, LONGEST_CONTEXT));
        let Verdict { is_written, tell } =
            lock(&self.rate).judge(Instant::now(), message.len() + context.len());
        let plugin = self.plugin.as_str();
        if let Some(suppressed) = tell {
            warn!(
                plugin,
                suppressed,
                "the plugin logs more than {LINES_PER_SECOND} messages or {BYTES_PER_SECOND} bytes a \
                 second; the rest is suppressed"
            );
        }
        if !is_written {
            return;
        }
        lock(&self.recent).keep(LogLine {
            at: Datetime::now(),
            level: name(level),
            context: context.to_owned(),
            message: message.to_owned(),
        });
        match level {
            Level::TRACE => trace!(plugin, context, "{message}"),
            Level::DEBUG => debug!(plugin, context, "{message}"),
            Level::INFO => info!(plugin, context, "{message}"),
            Level::WARN => warn!(plugin, context, "{message}"),
            Level::ERROR => error!(plugin, context, "{message}"),
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// Which of a guest's output streams.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Standard output and error of one guest.
#[derive(Clone)]
pub(super) struct Console {
    log: Arc<Log>,
    written: Arc<Mutex<Written>>,
}

/// What a guest has written.
#[derive(Default)]
struct Written {
    /// The unfinished line of each stream.
    partial: [String; 2],
    /// The first lines on standard error during the current call. Language runtimes
    /// write there why they trap, and then where.
    errors: Vec<String>,
}

impl Console {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { log, written: Arc::default() }
    }

    /// One of the two streams.
    pub(super) fn stream(&self, stream: Stream) -> Lines {
        Lines { console: self.clone(), stream }
    }

    /// Forgets what was written to standard error, when a new call begins.
    pub(super) fn clear_errors(&self) {
        lock(&self.written).errors.clear();
    }

    /// What the current call wrote to standard error, on one line.
    pub(super) fn take_errors(&self) -> Option<String> {
        let mut written = lock(&self.written);
        let unfinished = std::mem::take(&mut written.partial[Stream::Stderr as usize]);
        let lines = written.errors.drain(..).chain([unfinished]);
        let lines: Vec<String> = lines.filter(|line| !line.trim().is_empty()).collect();
        (!lines.is_empty()).then(|| shortened(&lines.join(" / "), LONGEST).trim().to_owned())
    }

    /// Takes bytes from a stream and logs the lines that they complete.
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let mut rest = text.as_ref();
        while let Some((end, after)) = rest.split_once('\n') {
            let mut line = std::mem::take(&mut lock(&self.written).partial[stream as usize]);
            append(&mut line, end);
            self.line(stream, line);
            rest = after;
        }
        append(&mut lock(&self.written).partial[stream as usize], rest);
    }

    fn line(&self, stream: Stream, line: String) {
        if line.trim().is_empty() {
            return;
        }
        match stream {
            Stream::Stdout => self.log.message(Level::INFO, "stdout", line.trim_end()),
            Stream::Stderr => {
                self.log.message(Level::WARN, "stderr", line.trim_end());
                let errors = &mut lock(&self.written).errors;
                if errors.len() < QUOTED_LINES {
                    errors.push(line);
                }
            }
        }
    }
}

/// A panic while logging leaves nothing half-done that would matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Appends to a line, up to the longest length.
fn append(line: &mut String, more: &str) {
    let room = LONGEST.saturating_sub(line.len());
    line.push_str(&more[..more.floor_char_boundary(room)]);
}

fn shortened(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

/// An output stream of a guest.
#[derive(Clone)]
pub(super) struct Lines {
    console: Console,
    stream: Stream,
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 uses this one, and it is not linked.
        Box::new(tokio::io::empty())
    }
}

#[async_trait]
impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.console.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}
