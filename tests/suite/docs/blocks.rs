//! Every fenced block is run or compared, or says why not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use mo_router::settings::Settings;

use super::page::{self, Block, Page};
use super::run::{self, Terms};
use super::{ROOT, updates};
use crate::support::plugins::hostile;
use crate::support::router::ROUTER;

/// What is done with a block.
#[derive(Debug)]
enum Deed {
    Run(Terms),
    /// It is a file, or part of one.
    Compare {
        path: String,
        whole: bool,
    },
    /// Its language says what it must be.
    Check,
    Picture,
    NotRun(String),
}

/// What is to be done with a block, of which `default` is the page's own word.
fn deed(block: &Block, default: Option<&str>) -> Result<Deed, String> {
    let note = block.note.as_deref().filter(|note| !note.starts_with("page:"));
    let reason = |note: &str| note.strip_prefix("not run:").map(|why| why.trim().to_owned());
    if let Some(note) = note {
        let path = |path: &str| path.trim().to_owned();
        if let Some(why) = reason(note) {
            return Ok(Deed::NotRun(why));
        } else if let Some(file) = note.strip_prefix("file:") {
            return Ok(Deed::Compare { path: path(file), whole: true });
        } else if let Some(file) = note.strip_prefix("part of:") {
            return Ok(Deed::Compare { path: path(file), whole: false });
        } else if let Some(terms) = note.strip_prefix("run") {
            return Terms::read(terms).map(Deed::Run);
        }
        return Err(format!("nobody knows what to do by {note:?}"));
    }
    match (block.language.as_str(), default) {
        ("text", _) => Ok(Deed::Picture),
        (_, Some(why)) => Ok(Deed::NotRun(why.to_owned())),
        ("sh" | "console", None) => Ok(Deed::Run(Terms::default())),
        ("toml" | "json", None) => Ok(Deed::Check),
        (language, None) => Err(format!(
            "a block of {language:?} needs a comment above it that says what to do, or why nothing"
        )),
    }
}

/// The page's own word for its blocks of a language.
fn default_of(page: &Page, language: &str) -> Option<String> {
    page.text.lines().find_map(|line| {
        let note = line.trim().strip_prefix("<!-- page:")?.strip_suffix("-->")?;
        let (languages, why) = note.split_once("not run:")?;
        languages.split(',').any(|one| one.trim() == language).then(|| why.trim().to_owned())
    })
}

#[tokio::test]
async fn every_block_is_run_or_says_why_not() {
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<String, [usize; 5]> = BTreeMap::new();
    let mut left = Vec::new();
    for page in page::documentation() {
        let count = counts.entry(page.path.clone()).or_default();
        let mut sessions: Vec<Vec<(Block, Terms)>> = Vec::new();
        for block in page.blocks() {
            let default = default_of(&page, &block.language);
            let deed = match deed(&block, default.as_deref()) {
                Ok(deed) => deed,
                Err(error) => {
                    wrong.push(format!("{}: {error}", block.place()));
                    continue;
                }
            };
            match deed {
                Deed::Run(terms) => {
                    if terms.fresh || sessions.is_empty() {
                        sessions.push(Vec::new());
                    }
                    sessions.last_mut().expect("there is one").push((block, terms));
                }
                Deed::Compare { path, whole } => {
                    count[1] += 1;
                    wrong.extend(compare(&block, &path, whole));
                }
                Deed::Check => {
                    count[1] += 1;
                    wrong.extend(check(&block));
                }
                Deed::Picture => count[2] += 1,
                Deed::NotRun(why) => {
                    count[3] += 1;
                    left.push(format!("{}: {why}", block.place()));
                }
            }
        }
        for session in sessions {
            let missing = run::without_tools(&session).join(", ");
            if missing.is_empty() {
                count[0] += session.len();
                wrong.extend(run::session(&session).await);
            } else {
                count[4] += session.len();
                let places = session.iter().map(|(block, _)| block.place());
                left.extend(places.map(|place| format!("{place}: no tools for {missing} here")));
            }
        }
    }
    println!(
        "{:40} {:>5} {:>8} {:>8} {:>8} {:>8}",
        "page", "run", "compared", "pictures", "not run", "no tools"
    );
    for (page, [run, compared, pictures, not_run, no_tools]) in
        counts.iter().filter(|(_, count)| count.iter().sum::<usize>() > 0)
    {
        println!("{page:40} {run:5} {compared:8} {pictures:8} {not_run:8} {no_tools:8}");
    }
    println!("\nnot run, because:\n{}", left.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a block that is to be a file, or part of one.
fn compare(block: &Block, path: &str, whole: bool) -> Option<String> {
    let Ok(file) = std::fs::read_to_string(Path::new(ROOT).join(path)) else {
        return Some(format!("{}: there is no {path}", block.place()));
    };
    if whole && file != block.text && updates() {
        replace(block, &file);
        return None;
    }
    let agrees = if whole { file == block.text } else { file.contains(&block.text) };
    (!agrees).then(|| format!("{}: it is not {path} (UPDATE_DOCS=1)", block.place()))
}

fn replace(block: &Block, with: &str) {
    let path = Path::new(ROOT).join(&block.page);
    let page = std::fs::read_to_string(&path).unwrap();
    let fence = format!("```{}\n", block.language);
    std::fs::write(path, page.replace(&(fence.clone() + &block.text), &(fence + with))).unwrap();
}

/// What is wrong with settings, cases or JSON.
fn check(block: &Block) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("well-behaved.cases.toml");
    std::fs::write(&file, &block.text).unwrap();
    let wrong = match block.language.as_str() {
        "json" => {
            let error = |line| serde_json::from_str::<serde_json::Value>(line).err();
            block.text.lines().find_map(error).map(|error| error.to_string())
        }
        _ if block.text.contains("[[case]]") => cases(folder.path()),
        _ => Settings::load(Some(&file), Vec::new()).err().map(|error| format!("{error:#}")),
    };
    wrong.map(|wrong| format!("{}: {wrong}", block.place()))
}

/// What is wrong with a file of cases: whether they pass depends on the plugin.
fn cases(folder: &Path) -> Option<String> {
    let plugin = folder.join("well-behaved.wasm");
    std::fs::write(&plugin, hostile("well-behaved")).unwrap();
    let tested = Command::new(ROUTER).args(["plugin", "test"]).arg(&plugin).output().unwrap();
    let said = [tested.stdout, tested.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (!said.contains("cases passed")).then_some(said)
}
