//! What guests log: `wasi:logging`, and lines on standard output and error. All of it
//! goes to the router's log under the plugin's name, limited in length and rate, and the
//! newest lines are kept for people to ask for.

mod last_words;
mod level;
mod rate;
mod recent;
mod voice;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Level, debug, error, info, trace, warn};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use self::last_words::LastWords;
pub(super) use self::level::Threshold;
pub use self::rate::LogLines;
use self::rate::{BYTES_PER_SECOND, LINES_PER_SECOND, Rate, Verdict};
use self::recent::Recent;
pub use self::recent::{LogLine, RecentLines};
use self::voice::About;
pub use self::voice::LineEvent;
pub(super) use self::voice::Voice;
use crate::event::Datetime;

/// The longest message, in bytes; longer ones are cut.
const LONGEST: usize = 4096;

/// The longest context, in bytes: it is a word.
const LONGEST_CONTEXT: usize = 256;

/// The log of one plugin, shared by its instances and versions.
pub(super) struct Log {
    plugin: String,
    rate: Mutex<Rate>,
    /// Lines were suppressed that nobody may have been told of. Most calls log too little, and
    /// need not ask `rate`.
    is_suppressing: AtomicBool,
    recent: Recent,
}

impl Log {
    pub(super) fn new(plugin: &str) -> Arc<Self> {
        Arc::new(Self {
            plugin: plugin.into(),
            rate: Mutex::new(Rate::new(Instant::now())),
            is_suppressing: AtomicBool::new(false),
            recent: Recent::default(),
        })
    }

    /// How many lines there were so far.
    pub(super) fn lines(&self) -> LogLines {
        lock(&self.rate).lines()
    }

    /// The newest lines after the one with this number; if there is none yet, waits for it so
    /// long.
    pub(super) async fn recent(&self, after: u64, wait: Duration) -> RecentLines {
        self.recent.after(after, wait).await
    }

    /// Forgets the lines that are kept.
    pub(super) fn forget_lines(&self) {
        self.recent.clear();
    }

    /// Logs a message, unless the plugin has logged too many of late. `cut` bytes of it are
    /// missing already.
    fn message(&self, about: &About, level: Level, context: &str, message: &str, cut: usize) {
        let context = shortened(context, LONGEST_CONTEXT);
        let short = shortened(message, LONGEST);
        let cut = cut + message.len() - short.len();
        let message = match cut {
            0 => Cow::Borrowed(short),
            _ => Cow::Owned(format!("{short}… ({cut} more bytes are cut)")),
        };
        let size = message.len() + context.len();
        let Verdict { is_written, tell } = lock(&self.rate).judge(Instant::now(), size, cut > 0);
        if is_written {
            self.recent.push(LogLine::new(level, context, &message, about));
            self.write(about, level, context, &message);
        } else {
            self.is_suppressing.store(true, Ordering::Relaxed);
        }
        self.tell(tell);
    }

    /// A call is over: says how many lines of it were suppressed, if that began with it.
    fn call_over(&self) {
        if !self.is_suppressing.load(Ordering::Relaxed) {
            return;
        }
        let (tell, is_over) = lock(&self.rate).call_over(Instant::now());
        if is_over {
            self.is_suppressing.store(false, Ordering::Relaxed);
        }
        self.tell(tell);
    }

    fn tell(&self, suppressed: Option<u64>) {
        let Some(suppressed) = suppressed else { return };
        let plugin = self.plugin.as_str();
        let why = format!(
            "the plugin logs more than {LINES_PER_SECOND} messages or {BYTES_PER_SECOND} bytes a \
             second; the rest is suppressed"
        );
        warn!(plugin, suppressed, "{why}");
        let text = format!("{why}: {suppressed}");
        self.recent.push(LogLine::new(Level::WARN, "mo-router", &text, &About::default()));
    }

    fn write(&self, about: &About, level: Level, context: &str, message: &str) {
        let plugin = self.plugin.as_str();
        let event = about.event.as_ref();
        let (uuid, routing_key) =
            (event.map(|event| event.uuid), event.map(|event| event.routing_key.as_str()));
        let (uuid, message_id) = (
            uuid.map(tracing::field::display),
            event.and_then(|event| event.message_id.as_deref()),
        );
        match level {
            Level::TRACE => trace!(plugin, context, uuid, routing_key, message_id, "{message}"),
            Level::DEBUG => debug!(plugin, context, uuid, routing_key, message_id, "{message}"),
            Level::INFO => info!(plugin, context, uuid, routing_key, message_id, "{message}"),
            Level::WARN => warn!(plugin, context, uuid, routing_key, message_id, "{message}"),
            Level::ERROR => error!(plugin, context, uuid, routing_key, message_id, "{message}"),
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
    voice: Voice,
    written: Arc<Mutex<Written>>,
}

/// What a guest has written.
#[derive(Default)]
struct Written {
    /// The unfinished line of each stream.
    partial: [String; 2],
    /// What was written of the next character of each stream.
    begun: [Vec<u8>; 2],
    /// How many bytes of it were cut, because it is too long.
    cut: [usize; 2],
    /// What was on standard error during the current call. Language runtimes write there why
    /// they trap, and where.
    errors: LastWords,
    /// What was logged as an error during the current call: without standard error, a plugin
    /// writes there why it traps.
    logged: LastWords,
}

impl Console {
    pub(super) fn new(voice: Voice) -> Self {
        Self { voice, written: Arc::default() }
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
            lock(&self.written).logged.add_all(message);
        }
        self.voice.line(level, context, message, 0);
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
        let bytes = lock(&self.written).whole_characters(stream, bytes);
        let text = String::from_utf8_lossy(&bytes);
        let mut rest = text.as_ref();
        while let Some((end, after)) = rest.split_once('\n') {
            lock(&self.written).append(stream, end);
            let (line, cut) = lock(&self.written).take(stream);
            self.line(stream, &line, cut);
            rest = after;
        }
        lock(&self.written).append(stream, rest);
    }

    fn line(&self, stream: Stream, line: &str, cut: usize) {
        if line.trim().is_empty() {
            return;
        }
        match stream {
            Stream::Stdout => self.voice.line(Level::INFO, "stdout", line.trim_end(), cut),
            Stream::Stderr => {
                self.voice.line(Level::WARN, "stderr", line.trim_end(), cut);
                lock(&self.written).errors.add(line);
            }
        }
    }
}

impl Written {
    /// What can be read: these bytes after those of a character that was begun before, and without
    /// those of one that is not complete. A long text is written in parts, cut wherever they end.
    fn whole_characters<'b>(&mut self, stream: Stream, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let begun = &mut self.begun[stream as usize];
        let mut bytes = match begun.is_empty() {
            true => Cow::Borrowed(bytes),
            false => Cow::Owned([&std::mem::take(begun), bytes].concat()),
        };
        let whole = bytes.len() - begun_character(&bytes);
        begun.extend_from_slice(&bytes[whole..]);
        match &mut bytes {
            Cow::Borrowed(bytes) => *bytes = &bytes[..whole],
            Cow::Owned(bytes) => bytes.truncate(whole),
        }
        bytes
    }

    /// Appends to a stream's line, up to the longest length.
    fn append(&mut self, stream: Stream, more: &str) {
        let line = &mut self.partial[stream as usize];
        let room = more.floor_char_boundary(LONGEST.saturating_sub(line.len()));
        line.push_str(&more[..room]);
        self.cut[stream as usize] += more.len() - room;
    }

    /// The line of a stream, which is complete, and how much of it is missing.
    fn take(&mut self, stream: Stream) -> (String, usize) {
        let (line, cut) = (&mut self.partial[stream as usize], &mut self.cut[stream as usize]);
        (std::mem::take(line), std::mem::take(cut))
    }
}

/// A panic while logging leaves nothing half-done that would matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many bytes at the end are a character's of which others are missing.
fn begun_character(bytes: &[u8]) -> usize {
    const LONGEST: usize = 4;
    let is_begun = |count: &usize| {
        let last = &bytes[bytes.len() - count..];
        str::from_utf8(last)
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..LONGEST.min(bytes.len() + 1)).find(is_begun).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogLevel;

    #[test]
    fn a_line_is_the_same_in_whatever_parts_it_is_written() {
        let text = "ø, € and 😀\n".as_bytes();
        let written: Vec<(&[u8], &str)> = vec![
            (text, "ø, € and 😀"),
            // What is no text is not waited for.
            (b"a\xc3b\xf0\x9f\n", "a\u{fffd}b\u{fffd}"),
            (b"\xb8\x80\xff\n", "\u{fffd}\u{fffd}\u{fffd}"),
        ];
        for (bytes, expected) in written {
            for length in 1..=bytes.len() {
                let log = Log::new("test");
                let console = Console::new(Voice::new(&log, &Arc::default()));
                bytes.chunks(length).for_each(|part| console.write(Stream::Stderr, part));
                assert_eq!(console.take_errors()[1].as_deref(), Some(expected), "by {length}");
            }
        }
    }

    #[tokio::test]
    async fn every_line_of_the_author_is_logged_and_the_reason_goes_without_noise() {
        let log = Log::new("test");
        let threshold = Arc::new(Threshold::of(Some(LogLevel::Warn)));
        let console = Console::new(Voice::new(&log, &threshold));
        console.write(Stream::Stderr, b"Stack: of plates\nexport_filter_rows: 3\nno unit\n");
        let lines = log.recent(0, Duration::ZERO).await.lines;
        let lines: Vec<&str> = lines.iter().map(|line| &*line.message).collect();
        assert_eq!(lines, ["Stack: of plates", "export_filter_rows: 3", "no unit"]);
        assert_eq!(console.take_errors()[1].as_deref(), Some("no unit"));
    }
}
