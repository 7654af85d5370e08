//! Pages in Markdown, taken apart as far as the tests need it.

use std::path::{Path, PathBuf};

use super::ROOT;

/// A page.
pub struct Page {
    /// Its path from the repository's root.
    pub path: String,
    /// The whole of it.
    pub text: String,
}

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The path of its page.
    pub page: String,
    /// The line of its opening fence, from 1.
    pub line: usize,
    /// What stands behind the opening fence.
    pub language: String,
    /// The lines between the fences.
    pub text: String,
    /// The comment above it.
    pub note: Option<String>,
}

/// Every page of the documentation.
pub fn documentation() -> Vec<Page> {
    let mut pages = vec![page("README.md"), page("CONTRIBUTING.md")];
    pages.extend(below("docs"));
    pages
}

/// Those and all others that people read.
pub fn all() -> Vec<Page> {
    let mut pages = documentation();
    pages.extend(["SECURITY.md", "CHANGELOG.md"].map(page));
    pages.extend(["examples", "plugins", "src/scaffold"].into_iter().flat_map(below));
    pages
}

fn page(path: &str) -> Page {
    let text = std::fs::read_to_string(Path::new(ROOT).join(path));
    Page { path: path.to_owned(), text: text.unwrap_or_else(|error| panic!("{path}: {error}")) }
}

/// The pages in a folder and in those in it, in the order of their names.
fn below(folder: &str) -> Vec<Page> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            let is_built = ["build", "target", "node_modules"].contains(&&*name);
            if path.is_dir() && !is_built {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    let relative = |path: &PathBuf| path.strip_prefix(ROOT).unwrap().display().to_string();
    found.iter().map(|path| page(&relative(path))).collect()
}

impl Page {
    /// Its fenced blocks.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines().enumerate();
        let mut note = None;
        while let Some((at, line)) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else {
                if !line.trim().is_empty() {
                    note = comment(line);
                }
                continue;
            };
            let indent = line.len() - line.trim_start().len();
            let body = lines.by_ref().take_while(|(_, line)| line.trim_start() != "```");
            let text = body.map(|(_, line)| format!("{}\n", line.get(indent..).unwrap_or("")));
            blocks.push(Block {
                page: self.path.clone(),
                line: at + 1,
                language: language.trim().to_owned(),
                text: text.collect(),
                note: note.take(),
            });
        }
        blocks
    }

    /// Its text without fenced blocks, which are empty lines instead.
    pub fn prose(&self) -> String {
        let mut fenced = false;
        let lines = self.text.lines().map(|line| {
            let is_fence = line.trim_start().starts_with("```");
            fenced ^= is_fence;
            if fenced || is_fence { "\n".to_owned() } else { format!("{line}\n") }
        });
        lines.collect()
    }

    /// The texts between backticks, with their lines.
    pub fn spans(&self) -> Vec<(usize, String)> {
        let prose = self.prose();
        // A span may go on in the next line, but not in the next paragraph.
        let mut spans = Vec::new();
        let mut line = 1;
        for paragraph in prose.split_inclusive("\n\n") {
            let mut at = line;
            for (number, piece) in paragraph.split('`').enumerate() {
                if number % 2 == 1 {
                    spans.push((at, piece.split_whitespace().collect::<Vec<_>>().join(" ")));
                }
                at += piece.matches('\n').count();
            }
            line += paragraph.matches('\n').count();
        }
        spans
    }

    /// What its headings are called in links.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for line in self.prose().lines() {
            let Some(heading) = line.strip_prefix('#') else { continue };
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let again = anchors.iter().filter(|other| **other == anchor).count();
            anchors.push(if again == 0 { anchor } else { format!("{anchor}-{again}") });
        }
        anchors
    }
}

/// The text of a comment that fills a line.
fn comment(line: &str) -> Option<String> {
    Some(line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim().to_owned())
}

impl Block {
    /// Where it is, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}
