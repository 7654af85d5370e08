//! The last lines that a plugin has logged, for people who look at it.

use std::collections::VecDeque;

use serde::Serialize;

use crate::event::Datetime;

/// How many lines are kept of one plugin, and how many bytes of them.
const LINES: usize = 200;
const BYTES: usize = 64 << 10;

/// A line that a plugin has logged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogLine {
    /// When.
    pub at: Datetime,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// What the plugin says it is about: a word.
    pub context: String,
    /// What it says.
    pub message: String,
}

impl LogLine {
    fn bytes(&self) -> usize {
        self.context.len() + self.message.len()
    }
}

/// The last lines, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Recent {
    /// Keeps a line, and drops the oldest for it.
    pub(super) fn keep(&mut self, line: LogLine) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }

    pub(super) fn read(&self) -> Vec<LogLine> {
        self.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: String) -> LogLine {
        LogLine { at: Datetime::now(), level: "info", context: String::new(), message }
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let mut recent = Recent::default();
        (0..2 * LINES).for_each(|number| recent.keep(line(number.to_string())));
        assert_eq!(recent.read().len(), LINES);
        assert_eq!(recent.read()[0].message, LINES.to_string());
        (0..100).for_each(|_| recent.keep(line("x".repeat(4096))));
        assert_eq!(recent.read().len(), BYTES / 4096);
    }
}
