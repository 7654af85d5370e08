//! What guests log: `wasi:logging`, and lines on standard output and error. All of it
//! goes to the router's log under the plugin's name, limited in length and rate.

mod last_words;
mod rate;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Level, debug, enabled, error, info, trace, warn};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use self::last_words::LastWords;
pub use self::rate::LogLines;
use self::rate::{BYTES_PER_SECOND, LINES_PER_SECOND, Rate, Verdict};
use crate::settings::LogLevel;

/// The longest message, in bytes; longer ones are cut.
const LONGEST: usize = 4096;

/// The longest context, in bytes: it is a word.
const LONGEST_CONTEXT: usize = 256;

/// The log of one plugin, shared by its instances and versions.
pub(super) struct Log {
    plugin: String,
    rate: Mutex<Rate>,
    /// From which level on lines are logged; if none is set, the router's decides.
    level: Mutex<Option<Level>>,
}

/// The target of lines of a plugin that has a level of its own: all of its levels pass the
/// router's filter (`logging::filter`).
macro_rules! line {
    ($own:expr, $level:ident, $plugin:ident, $context:ident, $message:ident) => {
        match $own {
            true => $level!(target: "mo_router::plugin_lines", $plugin, $context, "{}", $message),
            false => $level!($plugin, $context, "{}", $message),
        }
    };
}

impl Log {
    pub(super) fn new(plugin: &str) -> Arc<Self> {
        Arc::new(Self {
            plugin: plugin.into(),
            rate: Mutex::new(Rate::new(Instant::now())),
            level: Mutex::default(),
        })
    }

    /// From now on, logs what is at least as important as this; without a level, what the
    /// router logs of its own.
    pub(super) fn set_level(&self, level: Option<Level>) {
        *lock(&self.level) = level;
    }

    fn is_logged(level: Level, from: Option<Level>) -> bool {
        match from {
            Some(from) => level <= from,
            None => match level {
                Level::TRACE => enabled!(Level::TRACE),
                Level::DEBUG => enabled!(Level::DEBUG),
                Level::INFO => enabled!(Level::INFO),
                Level::WARN => enabled!(Level::WARN),
                Level::ERROR => enabled!(Level::ERROR),
            },
        }
    }

    /// How many lines there were so far.
    pub(super) fn lines(&self) -> LogLines {
        lock(&self.rate).lines()
    }

    /// Logs a message, unless the plugin has logged too many of late.
    pub(super) fn message(&self, level: Level, context: &str, message: &str) {
        let own = *lock(&self.level);
        if !Self::is_logged(level, own) {
            return;
        }
        let own = own.is_some();
        let (message, context) = (cut(message, LONGEST), shortened(context, LONGEST_CONTEXT));
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
        match level {
            Level::TRACE => line!(own, trace, plugin, context, message),
            Level::DEBUG => line!(own, debug, plugin, context, message),
            Level::INFO => line!(own, info, plugin, context, message),
            Level::WARN => line!(own, warn, plugin, context, message),
            Level::ERROR => line!(own, error, plugin, context, message),
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
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
    /// How many bytes of it were cut off.
    cut: [usize; 2],
    /// What was on standard error during the current call. Language runtimes write there why
    /// they trap, and where.
    errors: LastWords,
    /// What was logged as an error during the current call: without standard error, a plugin
    /// writes there why it traps.
    logged: LastWords,
}

impl Console {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { log, written: Arc::default() }
    }

    /// One of the two streams.
    pub(super) fn stream(&self, stream: Stream) -> Lines {
        Lines { console: self.clone(), stream }
    }

    /// Forgets what was said of errors, when a new call begins.
    pub(super) fn clear_errors(&self) {
        let mut written = lock(&self.written);
        written.errors.clear();
        written.logged.clear();
    }

    /// Takes a message of `wasi:logging`, and logs it.
    pub(super) fn message(&self, level: Level, context: &str, message: &str) {
        if level == Level::ERROR {
            message.lines().for_each(|line| lock(&self.written).logged.add(line));
        }
        self.log.message(level, context, message);
    }

    /// What the current call logged as errors, and what it wrote to standard error, each on one
    /// line.
    pub(super) fn take_errors(&self) -> [Option<String>; 2] {
        let mut written = lock(&self.written);
        let unfinished = std::mem::take(&mut written.partial[Stream::Stderr as usize]);
        written.errors.add(&unfinished);
        [written.logged.take(), written.errors.take()]
    }

    /// Takes bytes from a stream and logs the lines that they complete.
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let mut rest = text.as_ref();
        while let Some((end, after)) = rest.split_once('\n') {
            let (mut line, mut cut) = {
                let written = &mut *lock(&self.written);
                let (partial, cut) =
                    (&mut written.partial[stream as usize], &mut written.cut[stream as usize]);
                (std::mem::take(partial), std::mem::take(cut))
            };
            cut += append(&mut line, end);
            if cut > 0 {
                line += &bytes_more(cut);
            }
            self.line(stream, &line);
            rest = after;
        }
        let written = &mut *lock(&self.written);
        written.cut[stream as usize] += append(&mut written.partial[stream as usize], rest);
    }

    fn line(&self, stream: Stream, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        match stream {
            Stream::Stdout => self.log.message(Level::INFO, "stdout", line.trim_end()),
            Stream::Stderr => {
                self.log.message(Level::WARN, "stderr", line.trim_end());
                lock(&self.written).errors.add(line);
            }
        }
    }
}

/// A panic while logging leaves nothing half-done that would matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Appends to a line, up to the longest length. Returns how many bytes were too many.
fn append(line: &mut String, more: &str) -> usize {
    let room = more.floor_char_boundary(LONGEST.saturating_sub(line.len()));
    line.push_str(&more[..room]);
    more.len() - room
}

/// The text, with a remark if it is longer than `longest`.
fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    let start = shortened(text, longest);
    match text.len() - start.len() {
        // A line that was cut already is a little longer, because of its remark.
        more if more > bytes_more(usize::MAX).len() => {
            (start.to_owned() + &bytes_more(more)).into()
        }
        _ => text.into(),
    }
}

fn bytes_more(bytes: usize) -> String {
    format!("… ({bytes} bytes more)")
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
