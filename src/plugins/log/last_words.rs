//! What a guest said of a failure, shortened so that what matters is left.

use std::collections::VecDeque;

/// How many lines are kept of the start and of the end. Go writes first why it ends and then
/// where; Python writes that last.
const FIRST: usize = 4;
const LAST: usize = 6;

/// The longest line, in bytes; of the last ones more is kept.
const LINE: usize = 150;
const LAST_LINE: usize = 380;

/// How much of the beginning and of the end of a long text is looked at, in bytes: more than what
/// is kept of it.
const PART: usize = 8 << 10;

/// How many of the last lines may be longer.
const LONGER: usize = 2;

/// The first and the last lines of what a guest wrote during a call. All together they are
/// shorter than the longest reason of a dead letter.
#[derive(Default)]
pub(super) struct LastWords {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: usize,
    traceback: Traceback,
}

/// How far a traceback of Python's has come. It says last what one wants to know first.
#[derive(Default)]
enum Traceback {
    #[default]
    None,
    /// Its frames are indented.
    Frames,
    /// The exception.
    Ended(String),
}

impl LastWords {
    /// Adds a line; an empty one says nothing.
    pub(super) fn add(&mut self, line: &str) {
        let is_indented = line.starts_with(char::is_whitespace);
        let line = line.trim();
        if line.is_empty() || is_noise(line) || is_gos_heading(line) {
            return;
        }
        if line == "Traceback (most recent call last):" {
            // The one before was the cause of this one.
            let before = std::mem::replace(&mut self.traceback, Traceback::Frames);
            if let Traceback::Ended(cause) = before {
                self.keep(&cause);
            }
            return;
        }
        if matches!(self.traceback, Traceback::Frames) && !is_indented {
            self.traceback = Traceback::Ended(shortened(line, LAST_LINE));
            return;
        }
        self.keep(line);
    }

    /// Adds the lines of a text; of a long one, those at its beginning and at its end.
    pub(super) fn add_all(&mut self, text: &str) {
        if text.len() <= 2 * PART {
            text.lines().for_each(|line| self.add(line));
            return;
        }
        let (first, rest) = text.split_at(text.floor_char_boundary(PART));
        let (middle, last) = rest.split_at(rest.ceil_char_boundary(rest.len() - PART));
        first.lines().for_each(|line| self.add(line));
        self.left_out += middle.bytes().filter(|byte| *byte == b'\n').count();
        last.lines().for_each(|line| self.add(line));
    }

    fn keep(&mut self, line: &str) {
        if self.first.len() < FIRST {
            self.first.push(shortened(line, LAST_LINE));
            return;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(shortened(line, LAST_LINE));
    }

    /// Forgets all lines.
    pub(super) fn clear(&mut self) {
        self.first.clear();
        self.last.clear();
        self.left_out = 0;
        self.traceback = Traceback::None;
    }

    /// Takes the lines, as one; none if there are none.
    pub(super) fn take(&mut self) -> Option<String> {
        let mut lines = std::mem::take(&mut self.first);
        if self.left_out > 0 {
            lines.push(format!("… {} lines …", std::mem::take(&mut self.left_out)));
        }
        lines.extend(std::mem::take(&mut self.last));
        let long = lines.len().saturating_sub(LONGER);
        for line in &mut lines[..long] {
            *line = shortened(line, LINE);
        }
        if let Traceback::Ended(exception) = std::mem::take(&mut self.traceback) {
            lines.insert(0, exception);
        }
        (!lines.is_empty()).then(|| lines.join(" / "))
    }
}

/// What language runtimes say of themselves, on how they end after an exception of the plugin's.
fn is_noise(line: &str) -> bool {
    const NOISE: [&str; 5] = [
        "note: run with `RUST_BACKTRACE",
        "Python function threw an unexpected exception",
        "Redirecting call to abort() to mozalloc_abort",
        "Stack:",
        "export_filter_",
    ];
    NOISE.iter().any(|noise| line.starts_with(noise))
        || line.starts_with("thread '") && line.contains("panicked at runtime/src/lib.rs")
        || line.contains("(received `the exception above`)")
}

/// What Go writes between a panic's message and its frames, of which it says nothing: the author's line
/// would no longer be among the first.
fn is_gos_heading(line: &str) -> bool {
    line.starts_with("[signal ") && line.contains(" addr=") && line.contains(" pc=")
        || line.starts_with("goroutine ") && line.contains(" [running") && line.ends_with("]:")
}

fn shortened(text: &str, longest: usize) -> String {
    match text.len() > longest {
        true => format!("{}…", &text[..text.floor_char_boundary(longest)]),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_lines_are_kept() {
        let mut words = LastWords::default();
        for number in 1..=30 {
            words.add(&format!("  line {number} \n"));
        }
        words.add("");
        words.add("KeyError: 'x'");
        assert_eq!(
            words.take().as_deref(),
            Some(
                "line 1 / line 2 / line 3 / line 4 / … 21 lines … / line 26 / line 27 / line 28 / \
                 line 29 / line 30 / KeyError: 'x'"
            )
        );
        assert_eq!(words.take(), None);
    }

    #[test]
    fn an_exception_of_pythons_stands_before_its_frames() {
        let mut words = LastWords::default();
        let lines = [
            "Traceback (most recent call last):",
            "  File \"/0/plugin.py\", line 7, in read",
            "    return body[name]",
            "KeyError: 'x'",
            "",
            "During handling of the above exception, another exception occurred:",
            "",
            "Traceback (most recent call last):",
            "  File \"/0/plugin.py\", line 12, in route",
            "ValueError: there is no x",
            "and no y",
        ];
        lines.iter().for_each(|line| words.add(line));
        assert_eq!(
            words.take().as_deref(),
            Some(
                "ValueError: there is no x / File \"/0/plugin.py\", line 7, in read / \
                 return body[name] / During handling of the above exception, another exception \
                 occurred: / KeyError: 'x' / File \"/0/plugin.py\", line 12, in route / and no y"
            )
        );
    }

    #[test]
    fn a_line_of_the_authors_in_go_is_kept_whatever_calls_it() {
        let mut words = LastWords::default();
        words.add_all(
            "panic: runtime error: invalid memory address or nil pointer dereference\n\
             [signal 0xb code=0x0 addr=0x0 pc=0x0]\n\n\
             goroutine 1 [running]:\n\
             mo-plugin/own/filter.helper(...)\n\
             \t/filter/filter.go:29\n",
        );
        for number in 1..=5 {
            words.add(&format!("mo-plugin/own/export.caller{number}(0x1)"));
            words.add(&format!("\t/export/export.go:{number} +0x4"));
        }
        let kept = words.take().unwrap();
        let first = "panic: runtime error: invalid memory address or nil pointer dereference / \
                     mo-plugin/own/filter.helper(...) / /filter/filter.go:29 / ";
        assert!(kept.starts_with(first), "{kept}");
    }

    #[test]
    fn of_a_long_text_the_beginning_and_the_end_are_looked_at() {
        let mut words = LastWords::default();
        // What stands in the middle is not even read: it would come first.
        let lines = "a\n".repeat(1 << 20);
        let middle = "Traceback (most recent call last):\nLost: x\n";
        let text = format!("first\n{lines}{middle}{lines}æ\nlast\n");
        words.add_all(&text);
        let kept = words.take().unwrap();
        assert!(kept.starts_with("first / a") && kept.ends_with("a / æ / last"), "{kept}");
        let lines = text.lines().count() - FIRST - LAST;
        assert!(kept.contains(&format!("… {lines} lines …")), "{kept}");
    }

    #[test]
    fn long_lines_leave_room_for_the_last() {
        let mut words = LastWords::default();
        for _ in 0..1000 {
            words.add(&"æ".repeat(4096));
        }
        words.add("the end");
        let kept = words.take().unwrap();
        assert!(kept.ends_with(" / the end") && kept.len() < 2000, "{}", kept.len());
    }
}
