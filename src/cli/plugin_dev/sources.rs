//! The sources of a project: which files it has, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::beside_file;
use crate::cli::plugin_test::cases::BUILD;

/// Folders that languages' tools write to, wherever they are.
const NO_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];

/// What marks a folder as a cache, cargo's for one, or as an environment of Python's.
const MARKS: [&str; 2] = ["CACHEDIR.TAG", "pyvenv.cfg"];

/// How many files a project may have, with what lies beside it.
const MOST_FILES: usize = 10_000;

/// Of larger files it is looked at when they were changed, not at their content.
const LARGE: u64 = 8 << 20;

/// How many times longer than a look the pause after it is, at least: looking takes no more than a
/// tenth of a processor, however many files there are.
const REST: u32 = 9;

/// The sources as they are at one time. Those with the same content are equal, whenever they
/// were written.
#[derive(Debug)]
pub(super) struct Sources {
    files: BTreeMap<PathBuf, Source>,
}

#[derive(Clone, Debug)]
struct Source {
    modified: Option<SystemTime>,
    size: u64,
    content: u64,
}

impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        let contents = |sources: &'_ Self| -> Vec<(PathBuf, u64)> {
            sources.files.iter().map(|(path, source)| (path.clone(), source.content)).collect()
        };
        contents(self) == contents(other)
    }
}

impl Sources {
    /// Reads the sources in a folder, and files and folders beside it.
    ///
    /// # Errors
    /// The folder cannot be read, or there are more than [`MOST_FILES`] in it and beside it.
    pub(super) fn read(dir: &Path, beside: &[PathBuf]) -> Result<Self> {
        Self { files: BTreeMap::new() }.again(dir, beside)
    }

    /// The same sources as they are now. Only what was written since is read.
    fn again(&self, dir: &Path, beside: &[PathBuf]) -> Result<Self> {
        let mut now = Self { files: BTreeMap::new() };
        // Where files and folders really are, so that none counts twice: the project may link to what
        // lies beside, and lie in it itself. What builds write is not looked at on any way.
        let mut seen: BTreeSet<PathBuf> = fs::canonicalize(dir.join(BUILD)).into_iter().collect();
        now.add_folder(self, dir, dir, &mut seen)?;
        for path in beside {
            if path.is_dir() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if has_sources(dir, path, &name) {
                    now.add_folder(self, dir, path, &mut seen)?;
                }
            } else if fs::canonicalize(path).is_ok_and(|file| seen.insert(file)) {
                now.add(self, path.clone());
                now.check(dir, path)?;
            }
        }
        Ok(now)
    }

    /// Adds what is in the folder `root`, which is the project `dir` or lies beside it.
    fn add_folder(
        &mut self,
        known: &Self,
        dir: &Path,
        root: &Path,
        seen: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let mut dirs = vec![root.to_owned()];
        while let Some(folder) = dirs.pop() {
            let real = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
            if !seen.insert(real.clone()) {
                continue;
            }
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                // One that was removed meanwhile is no source.
                Err(_) if folder != dir => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {}", folder.display()));
                }
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with('.') || name.ends_with('~') {
                    continue;
                }
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() || kind.is_symlink() && path.is_dir() => {
                        if has_sources(root, &path, &name) {
                            dirs.push(path);
                        }
                    }
                    kind => {
                        let file = match kind.is_ok_and(|kind| kind.is_symlink()) {
                            true => fs::canonicalize(&path),
                            false => Ok(real.join(entry.file_name())),
                        };
                        let is_new = file.is_ok_and(|file| seen.insert(file));
                        // In the project a file counts by each of its names.
                        if is_new || root == dir {
                            self.add(known, path);
                        }
                    }
                }
            }
            self.check(dir, root)?;
        }
        Ok(())
    }

    /// Whether there are too many files, now that those of `root` are added.
    fn check(&self, dir: &Path, root: &Path) -> Result<()> {
        let name = root.display();
        if self.files.len() <= MOST_FILES {
            return Ok(());
        }
        if root == dir {
            bail!("{name} has more than {MOST_FILES} files: give the folder of one plugin");
        }
        bail!(
            "with {name}, which {} names, there are more than {MOST_FILES} files to watch: have BESIDE \
             in the Makefile, or what the plugin is built from, name a smaller folder",
            dir.join(beside_file()).display()
        );
    }

    /// Waits until something has changed, and nothing more does. Looks again after `look`, or
    /// after [`REST`] times what looking takes, if that is longer.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub(super) async fn changed(
        &self,
        dir: &Path,
        beside: &[PathBuf],
        look: Duration,
    ) -> Result<()> {
        let (mut last, mut pause) = (self.again(dir, beside)?, look);
        loop {
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            let now = last.again(dir, beside)?;
            pause = look.max(begun.elapsed() * REST);
            if now != *self && now == last {
                return Ok(());
            }
            last = now;
        }
    }

    fn add(&mut self, known: &Self, path: PathBuf) {
        // What is gone, or no file, is no source.
        let Some(metadata) = fs::metadata(&path).ok().filter(fs::Metadata::is_file) else { return };
        let (modified, size) = (metadata.modified().ok(), metadata.len());
        let is_same = |source: &&Source| source.modified == modified && source.size == size;
        let content = match known.files.get(&path).filter(is_same) {
            Some(source) => source.content,
            None if size > LARGE => xxh3_64(format!("{modified:?} {size}").as_bytes()),
            None => fs::read(&path).map(|content| xxh3_64(&content)).unwrap_or_default(),
        };
        self.files.insert(path, Source { modified, size, content });
    }
}

/// Whether a folder in the project, or in what lies beside it, can have sources.
fn has_sources(project: &Path, folder: &Path, name: &str) -> bool {
    // Another folder of this name may have some.
    let is_built = name == BUILD && folder.parent() == Some(project);
    !is_built && !NO_SOURCES.contains(&name) && !MARKS.iter().any(|mark| folder.join(mark).exists())
}

#[cfg(test)]
mod tests;
