//! Links lead somewhere, and every page is in the table of contents.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::ROOT;
use super::page;

/// The targets of the links in a text, with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        // What stands between backticks is no link.
        let plain: String = line.split('`').step_by(2).collect();
        for rest in plain.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            found.push((at + 1, target.split_whitespace().next().unwrap_or_default().to_owned()));
        }
        // Pictures are also in HTML, which knows a light and a dark one.
        for attribute in ["src=\"", "srcset=\"", "href=\""] {
            let rest = plain.split(attribute).skip(1);
            let values = rest.filter_map(|rest| rest.split('"').next());
            found.extend(values.map(|value| (at + 1, value.to_owned())));
        }
    }
    found
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[test]
fn links_lead_somewhere() {
    let pages = page::all();
    let anchors: BTreeMap<&str, Vec<String>> =
        pages.iter().map(|page| (page.path.as_str(), page.anchors())).collect();
    let mut wrong = Vec::new();
    for page in &pages {
        for (line, target) in targets(&page.prose()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
            let path = match file {
                "" => PathBuf::from(&page.path),
                file => plain(&folder.join(file)),
            };
            let place = format!("{}:{line}: {target}", page.path);
            if !Path::new(ROOT).join(&path).exists() {
                wrong.push(format!("{place}: there is no {}", path.display()));
            } else if !anchor.is_empty() {
                let known = anchors.get(&*path.to_string_lossy());
                if !known.is_some_and(|known| known.iter().any(|one| one == anchor)) {
                    wrong.push(format!("{place}: no heading of {} is called that", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let pages = page::documentation();
    let summary =
        pages.iter().find(|page| page.path == "docs/SUMMARY.md").expect("docs/SUMMARY.md");
    let mut listed: Vec<String> =
        targets(&summary.text).into_iter().map(|(_, target)| format!("docs/{target}")).collect();
    listed.sort();
    let mut pages: Vec<&str> = pages.iter().map(|page| page.path.as_str()).collect();
    pages.retain(|page| page.starts_with("docs/") && *page != "docs/SUMMARY.md");
    pages.sort_unstable();
    assert_eq!(listed, pages);
}
