//! Contributors find what there is: CONTRIBUTING.md says what each file of the integration tests is
//! for, and paths in it and in docs/architecture.md lead somewhere.

use std::path::Path;

use super::ROOT;
use super::page::{self, Page};

const CONTRIBUTING: &str = "CONTRIBUTING.md";
const ARCHITECTURE: &str = "docs/architecture.md";

fn pages() -> impl Iterator<Item = Page> {
    let wanted = |page: &Page| [CONTRIBUTING, ARCHITECTURE].contains(&page.path.as_str());
    page::documentation().into_iter().filter(wanted)
}

#[test]
fn every_file_of_the_suite_is_named() {
    let page = pages().find(|page| page.path == CONTRIBUTING).expect("the page");
    let spans = page.spans();
    let is_named = |module: &str| {
        let names = [
            format!("{module}.rs"),
            format!("tests/suite/{module}.rs"),
            format!("tests/suite/{module}/"),
            format!("tests/suite/{module}/mod.rs"),
        ];
        spans.iter().any(|(_, span)| names.contains(span))
    };
    let lines = include_str!("../main.rs").lines();
    let modules = lines.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let modules: Vec<&str> = modules.filter(|module| *module != "support").collect();
    assert!(modules.contains(&"docs"), "tests/suite/main.rs is read wrongly: {modules:?}");
    let unnamed: Vec<&str> = modules.into_iter().filter(|module| !is_named(module)).collect();
    assert!(
        unnamed.is_empty(),
        "{CONTRIBUTING} does not say in \"Where to look\" what these of tests/suite/ test: {unnamed:?}"
    );
}

/// Of the paths that are those of files or folders: `NAME`, `*` and the like stand for others.
#[test]
fn paths_lead_somewhere() {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./".contains(c);
    let is_path = |span: &str| {
        span.contains('/')
            && span.chars().all(is_part)
            && (span.ends_with(".rs") || span.ends_with('/'))
    };
    let mut wrong = Vec::new();
    for page in pages() {
        let paths = page.spans().into_iter().filter(|(_, span)| is_path(span));
        // Those of the architecture are below src/.
        let root = Path::new(ROOT);
        let is_there =
            |path: &str| root.join(path).exists() || root.join("src").join(path).exists();
        wrong.extend(
            paths
                .filter(|(_, path)| !is_there(path))
                .map(|(line, path)| format!("{}:{line}: there is no {path}", page.path)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
