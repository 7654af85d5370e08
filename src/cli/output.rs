//! What commands print on standard output: text for people, or JSON for programs.
//!
//! When the reader closes the pipe, printing fails with [`io::ErrorKind::BrokenPipe`].
//! Commands pass that on like any other error, and `main` ends quietly.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;

use crate::escape::{self, escaped, escaped_lines};

/// How a file is opened that holds events or messages, which are about persons: nobody else may read one
/// that is made.
pub fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

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
            Self::Json => write_line(&escape::json(value)?)?,
            Self::Text => print(text)?,
        }
        Ok(())
    }
}

/// The exit status of a command that checks something.
pub fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line, or several. What a terminal would obey is escaped; text from outside that
/// is to stay on one line has to be [`escaped`] before.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(line: impl Display) -> io::Result<()> {
    write_line(&escaped_lines(&line.to_string()))
}

fn write_line(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Prints what may be meant, and may surprise.
///
/// # Errors
/// Standard output cannot be written.
pub fn warn(text: &str, format: Format) -> Result<()> {
    format.print(&json!({ "warning": text }), format_args!("warn   {text}"))
}

/// Prints a remark on standard error, on one line.
pub fn remark(text: impl Display) {
    // Without a standard error, nobody wants to know.
    let _ = writeln!(io::stderr().lock(), "{}", escaped(&text.to_string()));
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
