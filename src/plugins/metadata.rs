//! What a plugin's file says of itself: the custom sections that `wasm-tools metadata` reads and
//! writes. It is for people; nothing is decided by it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use wasmparser::{KnownCustom, Payload};

use super::sections::sections;

/// The longest text that is taken from a file, in bytes.
const LONGEST: usize = 200;

/// The most languages or tools that are taken from a file.
const MOST: usize = 20;

/// How many digits of a commit are shown.
const SHORT_COMMIT: usize = 12;

/// What a plugin's file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Its name, which need not be the plugin's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its author's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The commit that it was built from, with `-dirty` if there were changes on top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Where its source is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The languages that it is written in, with their versions as far as known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub languages: BTreeMap<String, String>,
    /// The tools that it was built with, and their versions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

impl Metadata {
    /// Reads what the outermost component or module says; languages and tools also from the
    /// modules in it, where compilers write them. What cannot be read is left out.
    pub(super) fn of(content: &[u8]) -> Self {
        let mut metadata = Self::default();
        let mut depth = 0_usize;
        for payload in sections(content) {
            match payload {
                Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
                Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
                Ok(Payload::CustomSection(section)) => match section.name() {
                    "version" if depth == 0 => metadata.version = text(section.data()),
                    "revision" if depth == 0 => metadata.revision = text(section.data()),
                    "source" if depth == 0 => metadata.source = text(section.data()),
                    _ => metadata.take_known(section.as_known(), depth),
                },
                Ok(_) => {}
                Err(_) => break,
            }
        }
        metadata
    }

    fn take_known(&mut self, section: KnownCustom<'_>, depth: usize) {
        match section {
            KnownCustom::Producers(fields) => {
                for field in fields.into_iter().flatten() {
                    let all = match field.name {
                        "language" => &mut self.languages,
                        "processed-by" | "sdk" => &mut self.tools,
                        _ => continue,
                    };
                    for value in field.values.into_iter().flatten() {
                        if all.len() < MOST && value.name.len() + value.version.len() <= LONGEST {
                            all.insert(value.name.to_owned(), value.version.to_owned());
                        }
                    }
                }
            }
            KnownCustom::ComponentName(names) if depth == 0 => {
                for name in names.into_iter().flatten() {
                    if let wasmparser::ComponentName::Component { name, .. } = name {
                        self.name = text(name.as_bytes());
                    }
                }
            }
            KnownCustom::Name(names) if depth == 0 => {
                for name in names.into_iter().flatten() {
                    if let wasmparser::Name::Module { name, .. } = name {
                        self.name = text(name.as_bytes());
                    }
                }
            }
            _ => {}
        }
    }

    /// What tells its author which build it is: version and commit.
    pub fn build(&self) -> Option<String> {
        let revision = self.revision.as_deref().map(short);
        let parts = self.version.clone().into_iter().chain(revision);
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

/// Everything, on one line.
impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools = self.languages.iter().chain(&self.tools);
        let tools = tools.map(|(name, version)| format!("{name} {version}").trim_end().to_owned());
        let tools: Vec<String> = tools.collect();
        let parts = [self.name.clone(), self.build(), self.source.clone()].into_iter().flatten();
        let parts: Vec<String> =
            parts.chain((!tools.is_empty()).then(|| tools.join(", "))).collect();
        f.write_str(&parts.join("; "))
    }
}

fn text(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok().map(str::trim)?;
    (!text.is_empty() && text.len() <= LONGEST).then(|| text.to_owned())
}

/// A commit with fewer digits, and what follows them.
fn short(revision: &str) -> String {
    let digits = revision.bytes().take_while(u8::is_ascii_hexdigit).count();
    let (commit, rest) = revision.split_at(digits);
    format!("{}{rest}", &commit[..commit.len().min(SHORT_COMMIT)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with these custom sections. All lengths are below 128.
    fn module(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        for (name, data) in sections {
            module.push(0);
            module.push(u8::try_from(1 + name.len() + data.len()).unwrap());
            module.push(u8::try_from(name.len()).unwrap());
            module.extend(name.as_bytes());
            module.extend(*data);
        }
        module
    }

    #[test]
    fn what_a_file_says_of_itself() {
        let metadata = Metadata::of(&module(&[
            ("version", b"1.2.0"),
            ("revision", b"0123456789abcdef0123456789abcdef01234567-dirty"),
            ("source", b"https://example.org/p"),
            ("producers", b"\x01\x08language\x01\x04Rust\x042024"),
        ]));
        assert_eq!(metadata.build().as_deref(), Some("1.2.0 0123456789ab-dirty"));
        let shown = "1.2.0 0123456789ab-dirty; https://example.org/p; Rust 2024";
        assert_eq!(metadata.to_string(), shown);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(Metadata::of(b""), Metadata::default());
        assert_eq!(Metadata::of(&module(&[("version", b"\xff")])), Metadata::default());
        assert_eq!(Metadata::of(&module(&[("version", &[b'1'; 100])])).build().unwrap().len(), 100);
        assert_eq!(Metadata::of(&module(&[("producers", b"\x05")])), Metadata::default());
    }
}
