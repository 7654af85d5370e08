//! What a block's commands print, as a recording that `asciinema play` shows
//! (<https://docs.asciinema.org/manual/asciicast/v2/>). `UPDATE_DOCS=1` makes it again; without,
//! its commands must be the page's.
//!
//! What is printed is what was printed; the pace is made up, so that two recordings differ in what
//! differs.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::ROOT;

/// Seconds from one typed character to the next.
const TYPING: f64 = 0.04;
/// Seconds until a command answers, and until the next is typed.
const PAUSE: f64 = 0.8;

/// A command, and what it printed.
pub struct Take {
    pub command: String,
    pub printed: String,
}

fn file(name: &str) -> PathBuf {
    Path::new(ROOT).join("docs/casts").join(format!("{name}.cast"))
}

/// As a terminal has it.
fn lines(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// Records them.
pub fn record(name: &str, takes: &[Take]) {
    let mut time = 0.0;
    let mut events = vec![json!({"version": 2, "width": 120, "height": 30, "title": name})];
    let mut show = |text: &str, after: f64| {
        time += after;
        events.push(json!([f64::round(time * 100.0) / 100.0, "o", text]));
    };
    for Take { command, printed } in takes {
        show("$ ", PAUSE);
        for character in command.chars() {
            show(&lines(&character.to_string()), TYPING);
        }
        show("\r\n", TYPING);
        if !printed.is_empty() {
            show(&lines(printed), PAUSE);
        }
    }
    show("$ ", PAUSE);
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    std::fs::create_dir_all(file(name).parent().expect("it is in a folder")).unwrap();
    std::fs::write(file(name), text).unwrap();
}

/// What is wrong with the recording that there is.
pub fn compare(name: &str, takes: &[Take]) -> Option<String> {
    let again = format!("docs/casts/{name}.cast: it is not what the page says (UPDATE_DOCS=1)");
    let Ok(text) = std::fs::read_to_string(file(name)) else { return Some(again) };
    let shown: String = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<(f64, String, String)>(line).expect("an event").2)
        .collect();
    let mut rest = shown.as_str();
    for Take { command, .. } in takes {
        let typed = format!("$ {}\r\n", lines(command));
        let Some(at) = rest.find(&typed) else { return Some(again) };
        rest = &rest[at + typed.len()..];
    }
    None
}
