//! Text from outside, written so that it can be printed: the one way to log, terminal and
//! page.
//!
//! A plugin, a publisher or a file's name may contain what a terminal obeys: escape
//! sequences, carriage returns, characters that turn the direction of a line. Such
//! characters are written as their numbers. Escaping twice changes nothing.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use tracing_subscriber::fmt::MakeWriter;

/// Whether a terminal or a viewer would obey the character rather than show it.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// Whether there is nothing in the text that a terminal or a viewer would obey.
pub fn is_plain(text: &str) -> bool {
    !text.contains(is_obeyed)
}

/// The text on one line.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, is_obeyed, |out, character| out.extend(character.escape_default()))
}

/// The text with its line breaks and tabs, for what is several lines on purpose.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    let is_obeyed = |character| character != '\n' && character != '\t' && is_obeyed(character);
    escape(text, is_obeyed, |out, character| out.extend(character.escape_default()))
}

/// The value as JSON on one line. Programs read the same value from it.
///
/// # Errors
/// The value has no form in JSON.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, JsonFormatter(CompactFormatter)))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The value as JSON on one line, as [`json`].
pub fn json_line(value: &serde_json::Value) -> String {
    // A value of JSON has a form in JSON.
    json(value).unwrap_or_default()
}

/// JSON with everything escaped that is obeyed. In JSON, it can only be in strings.
fn escaped_json(text: &str) -> Cow<'_, str> {
    // A string is written and read a character at a time, and those are all in one unit of
    // UTF-16. Writing to a string does not fail.
    escape(text, is_obeyed, |out, character| {
        let _ = write!(out, "\\u{:04x}", u32::from(character));
    })
}

/// Replaces the characters that are obeyed.
fn escape(
    text: &str,
    is_obeyed: impl Fn(char) -> bool,
    replace: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_obeyed) else { return text.into() };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for character in text[first..].chars() {
        match is_obeyed(character) {
            true => replace(&mut out, character),
            false => out.push(character),
        }
    }
    out.into()
}

/// Writes strings of JSON escaped.
struct JsonFormatter(CompactFormatter);

impl Formatter for JsonFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        writer.write_all(escaped_json(fragment).as_bytes())
    }

    fn write_raw_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // What is raw may have line breaks between its values.
        self.0.write_raw_fragment(writer, &escaped_json(&fragment.replace(['\r', '\n'], " ")))
    }
}

/// What a line of the log is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text.
    Text,
    /// Text with colours of the log's own. Its values have none: `tracing-subscriber`
    /// escapes the one character that begins them.
    Coloured,
    /// JSON.
    Json,
}

/// The log's lines on standard error.
#[derive(Clone, Copy, Debug)]
pub struct LogLines(pub Form);

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = LogLine<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        LogLine { form: self.0, out: io::stderr() }
    }
}

/// One line of the log, which is written as a whole.
#[derive(Debug)]
pub struct LogLine<W> {
    form: Form,
    out: W,
}

impl<W: Write> Write for LogLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = match self.form {
            Form::Text => escaped(text),
            Form::Coloured => Cow::Owned(escaped_but_colours(text)),
            Form::Json => escaped_json(text),
        };
        self.out.write_all(format!("{text}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The text on one line, with its colours: ESC, `[`, digits and semicolons, `m`.
fn escaped_but_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('\u{1b}');
    out.push_str(&escaped(parts.next().unwrap_or_default()));
    for part in parts {
        let digits = part
            .strip_prefix('[')
            .and_then(|rest| rest.split_once('m'))
            .filter(|(digits, _)| digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'));
        out.push_str(if digits.is_some() { "\u{1b}" } else { "\\u{1b}" });
        out.push_str(&escaped(part));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "blåbær\r\n\t\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{2066}\u{2028}";
    const ESCAPED: &str = "blåbær\\r\\n\\t\\u{1b}[2J\\u{9b}\\u{7f}\\u{202e}\\u{2066}\\u{2028}";

    fn logged(form: Form, line: &str) -> String {
        let mut line_of_log = LogLine { form, out: Vec::new() };
        line_of_log.write_all(line.as_bytes()).unwrap();
        String::from_utf8(line_of_log.out).unwrap()
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(escaped(BAD), ESCAPED);
        assert_eq!(escaped(ESCAPED), ESCAPED);
        assert_eq!(escaped_lines("a\n\tb\r"), "a\n\tb\\r");
        assert!(matches!(escaped("blåbær 👩\u{200d}🔬"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_the_same_value() {
        let raw = serde_json::value::RawValue::from_string("{\"a\":\n \"\u{202e}\"}".into());
        let value = serde_json::json!({ BAD: [BAD, 1, null] });
        let text = json(&value).unwrap();
        assert!(!text.chars().any(is_obeyed), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert_eq!(json(&raw.unwrap()).unwrap(), "{\"a\":  \"\\u202e\"}");
    }

    #[test]
    fn a_line_of_the_log_is_one_line_without_what_is_obeyed() {
        assert_eq!(logged(Form::Text, &format!("{BAD}\n")), format!("{ESCAPED}\n"));
        let coloured = "\u{1b}[2mtime\u{1b}[0m \u{1b}[1;31mERROR\u{1b}[0m";
        let line = format!("{coloured} {BAD}\u{1b}]0;title\n");
        assert_eq!(
            logged(Form::Coloured, &line),
            format!("{coloured} {ESCAPED}\\u{{1b}}]0;title\n")
        );
        let value = logged(Form::Json, "{\"message\":\"\u{202e}\u{9b}\"}\n");
        assert_eq!(value, "{\"message\":\"\\u202e\\u009b\"}\n");
    }
}
