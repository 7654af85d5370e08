//! Messages of docs/troubleshooting.md are those of the program.

use std::path::Path;

use super::ROOT;

/// The program's source, with texts that go on in the next line put together.
fn source(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                match line.trim_start().strip_suffix('\\') {
                    Some(goes_on) => text.push_str(goes_on),
                    None => {
                        text.push_str(line.trim_start());
                        text.push('\n');
                    }
                }
            }
        }
    }
}

/// What stands between the parts of a message that differ.
fn pieces(message: &str) -> impl Iterator<Item = &str> {
    message.split('…').map(str::trim).filter(|piece| piece.len() > 4)
}

#[test]
fn messages_are_what_the_program_says() {
    let mut program = String::new();
    source(&Path::new(ROOT).join("src"), &mut program);
    let program = program.replace("\\\"", "\"");
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let messages: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(messages.len() > 30, "{messages:?}");
    let unknown: Vec<&str> = messages
        .into_iter()
        .filter(|message| pieces(message).any(|piece| !program.contains(piece)))
        .collect();
    assert!(unknown.is_empty(), "the program says none of {unknown:#?}");
}
