//! What commands print on standard output: text for people, or JSON for programs.
//!
//! When the reader closes the pipe, printing fails with [`io::ErrorKind::BrokenPipe`].
//! Commands pass that on like any other error, and `main` ends quietly.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::{Table, presets};
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON value per line, for programs.
    Json,
}

impl Format {
    /// Prints one result: `value` as JSON, or `text`, which says the same to people.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(self, value: &impl Serialize, text: impl Display) -> Result<()> {
        match self {
            Self::Json => print(serde_json::to_string(value)?)?,
            Self::Text => print(text)?,
        }
        Ok(())
    }
}

/// The exit status of a command that checks something.
pub fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line, or several.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Prints what is a whole file already.
///
/// # Errors
/// Standard output cannot be written.
pub fn write(content: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(content)?;
    out.flush()
}

/// An empty table without borders.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// Text from outside on one line: what would move a terminal's cursor, colour it or turn the
/// direction of the text is written as its number.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(character.escape_unicode())
            }
            _ if character.is_control() => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(
            escaped("blåbær\n\u{1b}[2J\u{9b}\u{202e}"),
            "blåbær\\n\\u{1b}[2J\\u{9b}\\u{202e}"
        );
    }
}
