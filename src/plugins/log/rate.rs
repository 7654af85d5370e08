//! How much a plugin may log.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// How often it is told how many messages were suppressed, at most.
const TELLING: Duration = Duration::from_mins(1);

/// Messages that a plugin may log at once, and then each second.
const LINES_AT_ONCE: f64 = 200.0;
pub(super) const LINES_PER_SECOND: f64 = 20.0;

/// The same in bytes.
const BYTES_AT_ONCE: f64 = 256.0 * 1024.0;
pub(super) const BYTES_PER_SECOND: f64 = 16.0 * 1024.0;

/// What a plugin may still log.
pub(super) struct Rate {
    at: Instant,
    lines_left: f64,
    bytes_left: f64,
    lines: LogLines,
    /// How many were suppressed that nobody was told of.
    untold: u64,
    told: Option<Instant>,
    /// It was told in the call that lasts.
    is_telling: bool,
}

/// What becomes of a message.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) is_written: bool,
    /// So many were suppressed since this was told last.
    pub(super) tell: Option<u64>,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: now,
            lines_left: LINES_AT_ONCE,
            bytes_left: BYTES_AT_ONCE,
            lines: LogLines::default(),
            untold: 0,
            told: None,
            is_telling: false,
        }
    }

    /// How many lines there were so far.
    pub(super) fn lines(&self) -> LogLines {
        self.lines
    }

    /// Judges a message of so many bytes, which may have been cut.
    pub(super) fn judge(&mut self, now: Instant, bytes: usize, is_cut: bool) -> Verdict {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.lines_left = (self.lines_left + seconds * LINES_PER_SECOND).min(LINES_AT_ONCE);
        self.bytes_left = (self.bytes_left + seconds * BYTES_PER_SECOND).min(BYTES_AT_ONCE);
        let is_written = self.lines_left >= 1.0 && self.bytes_left >= bytes as f64;
        if is_written {
            self.lines_left -= 1.0;
            self.bytes_left -= bytes as f64;
            self.lines.written += 1;
            self.lines.cut += u64::from(is_cut);
        } else {
            self.lines.suppressed += 1;
            self.untold += 1;
        }
        let tell = self.tell(now, false);
        self.is_telling |= tell.is_some();
        Verdict { is_written, tell }
    }

    /// A call is over. Gives how many messages were suppressed that nobody was told of, if
    /// that began with this call: a plugin that logs much at once may then be silent for long.
    /// Then says whether everything is told.
    pub(super) fn call_over(&mut self, now: Instant) -> (Option<u64>, bool) {
        let begun = std::mem::take(&mut self.is_telling);
        (self.tell(now, begun), self.untold == 0)
    }

    fn tell(&mut self, now: Instant, at_once: bool) -> Option<u64> {
        if self.untold == 0 {
            return None;
        }
        let is_time = self.told.is_none_or(|told| now - told >= TELLING);
        (at_once || is_time).then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.untold)
        })
    }
}

/// How many lines a plugin has logged. Counted at the levels that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogLines {
    /// Those in the log.
    pub written: u64,
    /// Those that are not, because there were too many.
    pub suppressed: u64,
    /// Those in the log that are cut, because they were too long.
    pub cut: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one who logs `bytes` each millisecond gets written within `seconds`, and how often
    /// it is told that there was more.
    fn flood(bytes: usize, seconds: u64) -> (LogLines, usize) {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let mut told = 0;
        for millisecond in 0..seconds * 1000 {
            let now = start + Duration::from_millis(millisecond);
            told += usize::from(rate.judge(now, bytes, false).tell.is_some());
        }
        (rate.lines, told)
    }

    #[test]
    fn a_flood_is_counted_and_told_once_a_minute() {
        let (LogLines { written, suppressed, .. }, told) = flood(100, 180);
        assert!((3700..=3800).contains(&written), "{written}");
        assert_eq!(written + suppressed, 180_000);
        assert_eq!(told, 3);
    }

    #[test]
    fn long_messages_are_fewer() {
        let (LogLines { written, .. }, _) = flood(4096, 180);
        assert!((760..=790).contains(&written), "{written}");
    }

    #[test]
    fn what_was_suppressed_is_told_with_what_comes_later() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let verdicts: Vec<_> = (0..203).map(|_| rate.judge(start, 1, false)).collect();
        assert_eq!(verdicts[199], Verdict { is_written: true, tell: None });
        assert_eq!(verdicts[200], Verdict { is_written: false, tell: Some(1) });
        assert_eq!(verdicts[202], Verdict { is_written: false, tell: None });
        let later = rate.judge(start + TELLING, 1, false);
        assert_eq!(later, Verdict { is_written: true, tell: Some(2) });
    }

    #[test]
    fn what_was_suppressed_in_a_call_is_told_when_it_is_over() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let mut call = |lines: usize, after| {
            let now = start + after;
            let told: Vec<u64> =
                (0..lines).filter_map(|_| rate.judge(now, 1, false).tell).collect();
            (told, rate.call_over(now).0)
        };
        assert_eq!(call(200, Duration::ZERO), (vec![], None));
        assert_eq!(call(800, Duration::ZERO), (vec![1], Some(799)));
        // One that goes on is told once a minute.
        assert_eq!(call(800, Duration::ZERO), (vec![], None));
        assert_eq!(call(0, TELLING), (vec![], Some(800)));
    }

    #[test]
    fn lines_that_are_cut_are_counted() {
        let mut rate = Rate::new(Instant::now());
        rate.judge(rate.at, 1, true);
        rate.judge(rate.at, 1, false);
        assert_eq!(rate.lines(), LogLines { written: 2, suppressed: 0, cut: 1 });
    }
}
