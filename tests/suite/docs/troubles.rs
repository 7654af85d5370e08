//! docs/troubleshooting.md has the messages of the program: what it names is said, and what the
//! program warns of is named, as are errors that people meet.

use std::path::Path;

use super::ROOT;

/// Texts of more than one part: each part is said, and the whole nowhere.
const COMPOSED: [&str; 2] =
    ["there is no setting …; did you mean …?", "… is out of range; it must be from …"];

/// Files whose errors people meet, at the command line, in an answer over HTTP or in a reason of
/// `/readyz`: their sentences are named, too.
const SPEAKING: [&str; 4] = [
    "src/amqp/topology/errors.rs",
    "src/daemon/http/guard.rs",
    "src/delay/postgres/access.rs",
    "src/mo/failure.rs",
];

/// The program's source without its tests and comments, file by file; texts that go on in the
/// next line are put together.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
            continue;
        }
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
        if is_test || path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        found.push(source(&path));
    }
}

/// A file in the same form.
fn source(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = super::imports::without_tests(&text);
    let mut source = String::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
        match line.strip_suffix('\\') {
            Some(goes_on) => source.push_str(goes_on),
            None => {
                source.push_str(line);
                source.push('\n');
            }
        }
    }
    source
}

/// The texts in a piece of source, without their quotation marks.
fn literals(source: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(begin) = rest.find('"') {
        // A quotation mark by itself is a character.
        if rest[..begin].ends_with('\'') && rest[begin + 1..].starts_with('\'') {
            rest = &rest[begin + 2..];
            continue;
        }
        let (mut text, mut characters) = (String::new(), rest[begin + 1..].char_indices());
        let end = loop {
            match characters.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => text.extend(characters.next().map(|(_, character)| character)),
                Some((_, character)) => text.push(character),
                None => return found,
            }
        };
        found.push(text);
        rest = &rest[begin + 1 + end + 1..];
    }
    found
}

/// What is said at `warn` and `error`: the texts of each of them.
fn warnings(source: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["warn!(", "error!("] {
        for (at, _) in source.match_indices(start) {
            let call = &source[at + start.len()..];
            let end = call.find(");\n").or_else(|| call.find("),\n")).unwrap_or(call.len());
            found.push(literals(&call[..end]));
        }
    }
    found
}

/// The texts of a file that say something: five words or more of their own, and no constants.
fn sentences(source: &str) -> Vec<String> {
    let constants = source.split("const ").skip(1).filter_map(|rest| rest.split(";\n").next());
    let of_constants: Vec<String> = constants.flat_map(literals).collect();
    let is_word = |word: &&str| {
        let is_quoted = word.contains('{');
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        !is_quoted && !word.is_empty() && word.chars().all(char::is_alphabetic)
    };
    let says = |text: &String| {
        text.split_whitespace().filter(is_word).count() >= 5 && !of_constants.contains(text)
    };
    literals(source).into_iter().filter(says).collect()
}

/// Whether a text has words of its own, beside those of what it quotes.
fn has_words(text: &str) -> bool {
    text.split(['{', '}']).step_by(2).any(|part| part.contains(char::is_alphabetic))
}

/// What stands in a message beside what differs.
fn pieces(message: &str) -> Vec<&str> {
    message.split('…').map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

/// Whether the pieces stand in the text, in this order.
fn has_all(text: &str, pieces: &[&str]) -> bool {
    let mut rest = text;
    pieces.iter().all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// The messages of the page: what stands between backticks in the first column of its tables.
fn messages(page: &str) -> Vec<&str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').step_by(2)).filter(|text| !text.is_empty()).collect()
}

#[test]
fn messages_are_what_the_program_says() {
    let mut all = Vec::new();
    sources(&Path::new(ROOT).join("src"), &mut all);
    let said: Vec<String> = all.iter().flat_map(|source| literals(source)).collect();
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let messages = messages(&page);
    assert!(messages.len() > 80, "{messages:?}");
    let unknown: Vec<&&str> = messages
        .iter()
        .filter(|message| !COMPOSED.contains(message))
        .filter(|message| !said.iter().any(|text| has_all(text, &pieces(message))))
        .collect();
    assert!(unknown.is_empty(), "the program says none of {unknown:#?}");

    let named = |text: &String| messages.iter().any(|message| has_all(text, &pieces(message)));
    let unnamed: Vec<Vec<String>> = all
        .iter()
        .flat_map(|source| warnings(source))
        .filter(|texts| texts.iter().any(|text| has_words(text)) && !texts.iter().any(named))
        .collect();
    assert!(unnamed.is_empty(), "docs/troubleshooting.md says nothing of {unnamed:#?}");

    let sentences: Vec<String> =
        SPEAKING.iter().flat_map(|path| sentences(&source(&Path::new(ROOT).join(path)))).collect();
    assert!(sentences.len() > 20, "the errors are read wrongly: {sentences:#?}");
    let unnamed: Vec<&String> = sentences.iter().filter(|text| !named(text)).collect();
    assert!(unnamed.is_empty(), "docs/troubleshooting.md says nothing of {unnamed:#?}");
}

#[test]
fn texts_are_found_in_source() {
    let source =
        "warn!(plugin, \"a {} \\\"b\\\"\");\nlet c = '\"';\nerror!(\"lost: {error:#}\");\n";
    assert_eq!(literals(source), ["a {} \"b\"", "lost: {error:#}"]);
    assert_eq!(warnings(source), [["a {} \"b\""], ["lost: {error:#}"]]);
    let source = "const A: &str = \"five words or even more\";\nbail!(\"nobody has ever said {it} before\");\nf(\"a b\")";
    assert_eq!(sentences(source), ["nobody has ever said {it} before"]);
    assert!(has_words("lost: {error:#}") && !has_words("{error:#}, "));
    assert!(has_all("a b c", &["a", "c"]) && !has_all("a b c", &["c", "a"]));
}
