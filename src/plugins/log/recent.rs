//! The newest lines of a plugin, for people who ask the running router.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tracing::Level;

use super::voice::{About, LineEvent};
use super::{Datetime, lock};

/// How many lines of one plugin are kept.
const LINES: usize = 1000;
/// How many bytes they may have together.
const BYTES: usize = 256 << 10;

/// A line that a plugin has logged.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// Counts the plugin's lines, from 1, since the router has started.
    pub number: u64,
    /// When it was logged.
    pub time: Datetime,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: &'static str,
    /// What the plugin gave as the context: `stdout` and `stderr` for lines on these.
    pub context: String,
    /// The line.
    pub message: String,
    /// The event that it belongs to; none of what was logged at the start.
    pub event: Option<LineEvent>,
}

/// Some of a plugin's newest lines.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RecentLines {
    /// In order.
    pub lines: Vec<LogLine>,
    /// How many lines between the one that was asked for and these are no longer kept.
    pub missed: u64,
}

/// The lines that are kept.
#[derive(Default)]
pub(super) struct Recent {
    kept: Mutex<Kept>,
    /// The number of the last line.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    bytes: usize,
    last: u64,
}

impl LogLine {
    pub(super) fn new(level: Level, context: &str, message: &str, about: &About) -> Self {
        Self {
            number: 0,
            time: Datetime::now(),
            level: level.as_str(),
            context: context.to_owned(),
            message: message.to_owned(),
            event: about.event.clone(),
        }
    }

    /// About what it takes, in bytes.
    fn size(&self) -> usize {
        let event = self.event.as_ref().map_or(0, |event| {
            event.routing_key.len() + event.message_id.as_ref().map_or(0, String::len)
        });
        size_of::<Self>() + self.context.len() + self.message.len() + event
    }
}

impl Recent {
    pub(super) fn push(&self, line: LogLine) {
        let last = lock(&self.kept).push(line);
        self.last.send_replace(last);
    }

    pub(super) fn clear(&self) {
        let mut kept = lock(&self.kept);
        *kept = Kept { last: kept.last, ..Kept::default() };
    }

    /// The lines after the one with this number; waits so long for one.
    pub(super) async fn after(&self, number: u64, wait: Duration) -> RecentLines {
        let mut last = self.last.subscribe();
        // Without a line in time, there is none.
        let _ = tokio::time::timeout(wait, last.wait_for(|last| *last > number)).await;
        lock(&self.kept).after(number)
    }
}

impl Kept {
    /// Keeps a line; gives its number.
    fn push(&mut self, line: LogLine) -> u64 {
        self.last += 1;
        self.bytes += line.size();
        self.lines.push_back(LogLine { number: self.last, ..line });
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.size();
        }
        self.last
    }

    fn after(&self, number: u64) -> RecentLines {
        let lines: Vec<LogLine> =
            self.lines.iter().filter(|line| line.number > number).cloned().collect();
        let first = lines.first().map_or(self.last + 1, |line| line.number);
        RecentLines { lines, missed: first.saturating_sub(number + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> LogLine {
        LogLine::new(Level::INFO, "", message, &About::default())
    }

    #[test]
    fn the_oldest_lines_go_and_are_counted() {
        let mut kept = Kept::default();
        for number in 1..=3000 {
            assert_eq!(kept.push(line("short")), number);
        }
        assert_eq!(kept.lines.len(), LINES);
        let RecentLines { lines, missed } = kept.after(10);
        assert_eq!((lines.len(), lines[0].number, missed), (LINES, 2001, 1990));
        assert_eq!((kept.after(2999).lines.len(), kept.after(2999).missed), (1, 0));
        assert_eq!((kept.after(3000).lines.len(), kept.after(3000).missed), (0, 0));
        for _ in 0..LINES {
            kept.push(line(&"x".repeat(4096)));
        }
        let bytes: usize = kept.lines.iter().map(LogLine::size).sum();
        assert!(bytes == kept.bytes && bytes <= BYTES, "{bytes}");
        assert!(kept.lines.len() > 50);
    }

    #[tokio::test]
    async fn who_asks_for_the_next_line_gets_it_when_it_is_there() {
        let recent = Recent::default();
        recent.push(line("first"));
        let (next, ()) = tokio::join!(recent.after(1, Duration::from_secs(300)), async {
            tokio::task::yield_now().await;
            recent.push(line("second"));
        });
        assert_eq!(next.lines[0].message, "second");
        recent.clear();
        let none = recent.after(2, Duration::ZERO).await;
        assert_eq!((none.lines.len(), none.missed), (0, 0));
        assert_eq!(recent.after(0, Duration::ZERO).await.missed, 2);
    }
}
