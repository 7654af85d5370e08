//! What imports what, read from the source: as the picture of CONTRIBUTING.md says, and nowhere in a
//! circle. And files that have grown long have their reason in docs/architecture.md.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::ROOT;

/// The most lines of a file, without its tests, that needs no reason for them.
const LONGEST: usize = 300;

/// Modules that all others may import; of those the picture says it once, in this line.
const EVERYWHERE: &str = "everywhere: ";

type Edges = BTreeMap<String, BTreeSet<String>>;

/// A file of src, without its tests.
struct Source {
    path: PathBuf,
    /// Its module: `["router", "core"]` for src/router/core/mod.rs; empty for src/lib.rs.
    module: Vec<String>,
    text: String,
}

/// The files of src that are no tests, nor templates for others' projects.
fn sources() -> Vec<Source> {
    let root = Path::new(ROOT).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let is_file = path.extension().is_some_and(|ending| ending == "rs");
            match path.is_dir() {
                true if !["templates", "tests"].contains(&&*name) => folders.push(path),
                false if is_file && !["tests", "sample"].contains(&&*name) => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let text = without_tests(&text).to_owned();
                    let inside = path.strip_prefix(&root).unwrap().with_extension("");
                    let mut module: Vec<String> =
                        inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                    if name == "mod" || inside == Path::new("lib") {
                        module.pop();
                    }
                    let path = path.strip_prefix(ROOT).unwrap().to_owned();
                    found.push(Source { path, module, text });
                }
                _ => {}
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 200, "src is read wrongly: {}", found.len());
    found
}

/// What is in a list between braces: `a, b::{c, d}` is `a` and `b::{c, d}`.
fn items(list: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&list[start..]);
    found
}

/// The paths of what stands behind `use`.
fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    match tree.split_once('{').and_then(|(start, rest)| Some((start, rest.strip_suffix('}')?))) {
        Some((start, list)) => {
            let before = format!("{before}{start}");
            items(list).into_iter().for_each(|item| expand(&before, item, found));
        }
        None => found.push(format!("{before}{}", tree.split(" as ").next().unwrap())),
    }
}

/// The paths that a file names: those of `use`, and all that begin with `crate`, `self` or `super`.
fn paths(text: &str) -> Vec<String> {
    let without_comments = |line: &str| line.split("//").next().unwrap().to_owned();
    let text = text.lines().map(without_comments).collect::<Vec<_>>().join(" ");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_word = |at: usize| !text[..at].ends_with(is_part);
    let mut found = Vec::new();
    for (at, word) in text.match_indices("use ").filter(|(at, _)| is_word(*at)) {
        let tree = &text[at + word.len()..];
        if let Some(end) = tree.find(';') {
            expand("", &tree[..end], &mut found);
        }
    }
    for start in ["crate::", "self::", "super::"] {
        for (at, _) in text.match_indices(start).filter(|(at, _)| is_word(*at)) {
            let path = &text[at..];
            let end = path.find(|c: char| !is_part(c) && c != ':').unwrap_or(path.len());
            found.push(path[..end].trim_end_matches(':').to_owned());
        }
    }
    found
}

/// The module, or what is in it, that a path names in a file.
fn resolved(path: &str, from: &[String], modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let segments: Vec<&str> = path.split("::").map(str::trim).collect();
    let mut base = from.to_vec();
    let rest = match segments[0] {
        "crate" | "mo_router" => {
            base.clear();
            &segments[1..]
        }
        "self" => &segments[1..],
        "super" => {
            let above = segments.iter().take_while(|segment| **segment == "super").count();
            base.truncate(base.len().saturating_sub(above));
            &segments[above..]
        }
        child => {
            let mut module = base.clone();
            module.push(child.to_owned());
            modules.contains(&module).then_some(&segments[..])?
        }
    };
    base.extend(rest.iter().map(|segment| (*segment).to_owned()));
    // The longest beginning of it that is a module; the rest is something in there.
    while !modules.contains(&base) {
        base.pop()?;
    }
    Some(base)
}

/// For each module, which of the modules in it import which others in it. What is in a module may
/// import what stands in it itself.
fn imports(sources: &[Source]) -> BTreeMap<Vec<String>, Edges> {
    let modules: BTreeSet<Vec<String>> =
        sources.iter().map(|source| source.module.clone()).collect();
    let mut levels: BTreeMap<Vec<String>, Edges> = BTreeMap::new();
    for source in sources {
        for path in paths(&source.text) {
            let Some(other) = resolved(&path, &source.module, &modules) else { continue };
            let shared = source.module.iter().zip(&other).take_while(|(a, b)| a == b).count();
            if let (Some(one), Some(other)) = (source.module.get(shared), other.get(shared)) {
                let level = levels.entry(source.module[..shared].to_vec()).or_default();
                level.entry(one.clone()).or_default().insert(other.clone());
            }
        }
    }
    levels
}

/// The shortest way from a module back to itself, if there is one.
fn circle(edges: &Edges, start: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            let mut further = way.clone();
            further.push(next.clone());
            if next == start {
                return Some(further);
            }
            if seen.insert(next.clone()) {
                ways.push_back(further);
            }
        }
    }
    None
}

/// A circle for each module that is in one, but each circle once.
fn circles(levels: &BTreeMap<Vec<String>, Edges>) -> Vec<String> {
    let mut found = Vec::new();
    for (module, edges) in levels {
        let mut named = BTreeSet::new();
        for start in edges.keys() {
            if named.contains(start) {
                continue;
            }
            if let Some(way) = circle(edges, start) {
                found.push(format!("in src/{}: {}", module.join("/"), way.join(" -> ")));
                named.extend(way);
            }
        }
    }
    found
}

/// A file's text up to its tests.
pub fn without_tests(text: &str) -> &str {
    let starts = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(super) mod tests {"];
    let ends = starts.iter().filter_map(|start| text.find(start));
    &text[..ends.min().unwrap_or(text.len())]
}

#[test]
fn nothing_is_imported_in_a_circle() {
    let circles = circles(&imports(&sources()));
    assert!(
        circles.is_empty(),
        "what these have in common belongs into a file that both import:\n{}",
        circles.join("\n")
    );
}

#[test]
fn the_picture_says_what_imports_what() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("CONTRIBUTING.md")).unwrap();
    let section = page.split("\n## What may import what\n").nth(1).expect("the section");
    let picture = section.split("```text\n").nth(1).expect("the picture");
    let picture = picture.split("```").next().unwrap_or_default();
    let (mut everywhere, mut drawn, mut order) = (BTreeSet::new(), Edges::new(), Vec::new());
    let names = |list: &str| -> BTreeSet<String> {
        list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    for line in picture.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(list) = line.strip_prefix(EVERYWHERE) {
            everywhere = names(list);
            continue;
        }
        let (module, list) = line.split_once("─►").unwrap_or((line, ""));
        order.push(module.trim().to_owned());
        drawn.insert(module.trim().to_owned(), names(list));
    }
    let mut levels = imports(&sources());
    let mut real = levels.remove(&Vec::<String>::new()).unwrap_or_default();
    for module in real.values().flatten().cloned().collect::<Vec<_>>() {
        real.entry(module).or_default();
    }
    for (module, imported) in &mut real {
        // What all may import is told once; what it imports itself is told.
        if !everywhere.contains(module) {
            imported.retain(|other| !everywhere.contains(other));
        }
    }
    // It runs from the one that nobody imports to those that import nothing.
    let is_below = |module: &str, other: &str| {
        let place = |name: &str| order.iter().position(|one| one == name);
        place(module) < place(other)
    };
    let upward: Vec<String> = drawn
        .iter()
        .flat_map(|(module, imported)| imported.iter().map(move |other| (module, other)))
        .filter(|(module, other)| !is_below(module, other))
        .map(|(module, other)| format!("{module} -> {other}"))
        .collect();
    assert!(upward.is_empty(), "CONTRIBUTING.md draws what is imported above: {upward:?}");
    let lines = |edges: &Edges| -> Vec<String> {
        let line = |(module, imported): (&String, &BTreeSet<String>)| {
            let list: Vec<&str> = imported.iter().map(String::as_str).collect();
            format!("{module} ─► {}", list.join(", "))
        };
        edges.iter().map(line).collect()
    };
    assert_eq!(lines(&drawn), lines(&real), "CONTRIBUTING.md (left) draws not what src imports");
}

#[test]
fn long_files_have_their_reason() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/architecture.md")).unwrap();
    let section = page.split("\n## Long files\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let named: BTreeMap<String, &str> = rows
        .map(|(path, reason)| (format!("src/{path}"), reason.trim_end_matches('|').trim()))
        .collect();
    assert!(named.values().all(|reason| reason.len() > 20), "reasons are missing: {named:#?}");
    let long: BTreeSet<String> = sources()
        .into_iter()
        .filter(|source| source.text.lines().count() > LONGEST)
        .map(|source| source.path.display().to_string())
        .collect();
    let is_new = |path: &&String| !named.contains_key(*path);
    let without: Vec<&String> = long.iter().filter(is_new).collect();
    assert!(
        without.is_empty(),
        "these have more than {LONGEST} lines: split them, or say in docs/architecture.md, \"Long \
         files\", why not: {without:?}"
    );
    let short: Vec<&String> = named.keys().filter(|path| !long.contains(*path)).collect();
    assert!(short.is_empty(), "docs/architecture.md calls these long, and they are not: {short:?}");
}

#[test]
fn circles_are_found_in_source() {
    let source = |module: &[&str], text: &str| Source {
        path: PathBuf::new(),
        module: module.iter().map(|part| (*part).to_owned()).collect(),
        text: text.to_owned(),
    };
    let mut sources = vec![
        source(&[], "pub mod a; pub mod b;"),
        source(&["a"], "mod one;\nmod two;\npub use one::One;"),
        source(&["a", "one"], "use super::two::{self, Two};\nuse crate::b as c; // crate::a::two"),
        source(&["a", "two"], "use super::Three;\nfn two() { crate::b::new() }"),
        source(&["a", "one", "child"], "use super::One;"),
        source(&["b"], "pub fn new() {}"),
    ];
    let levels = imports(&sources);
    assert_eq!(levels[&Vec::<String>::new()]["a"], BTreeSet::from(["b".to_owned()]));
    assert!(circles(&levels).is_empty(), "{levels:?}");
    sources[3].text = "use crate::{a::one::{child::{Deep as Name}}, b};".to_owned();
    assert_eq!(circles(&imports(&sources)), ["in src/a: one -> two -> one"]);
    sources[5].text = "fn new() -> super::a::One {}".to_owned();
    assert_eq!(circles(&imports(&sources)).len(), 2);
}
