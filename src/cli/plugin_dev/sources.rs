//! The sources of a project: which files it has, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh3::xxh3_64;

/// The folder of a project that builds write to. Another one of this name may have sources.
const BUILT: &str = "build";

/// Folders that languages' tools write to, wherever they are.
const NO_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];

/// What marks a folder as a cache, cargo's for one, or as an environment of Python's.
const MARKS: [&str; 2] = ["CACHEDIR.TAG", "pyvenv.cfg"];

/// How many files a project may have.
const MOST_FILES: usize = 10_000;

/// Of larger files it is looked at when they were changed, not at their content.
const LARGE: u64 = 8 << 20;

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
    /// The folder cannot be read, or there are too many files.
    pub(super) fn read(dir: &Path, beside: &[PathBuf]) -> Result<Self> {
        Self { files: BTreeMap::new() }.again(dir, beside)
    }

    /// The same sources as they are now. Only what was written since is read.
    fn again(&self, dir: &Path, beside: &[PathBuf]) -> Result<Self> {
        let mut now = Self { files: BTreeMap::new() };
        now.add_folder(self, dir, dir)?;
        for path in beside {
            match path.is_dir() {
                true => now.add_folder(self, dir, path)?,
                false => now.add(self, path.clone()),
            }
        }
        Ok(now)
    }

    /// Adds what is in the folder `root`, which is the project `dir` or lies beside it.
    fn add_folder(&mut self, known: &Self, dir: &Path, root: &Path) -> Result<()> {
        let mut dirs = vec![root.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(folder) = dirs.pop() {
            // Folders are linked to, perhaps in a circle.
            if fs::canonicalize(&folder).is_ok_and(|folder| !seen.insert(folder)) {
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
                    _ => self.add(known, path),
                }
            }
            if self.files.len() > MOST_FILES {
                bail!(
                    "{} has more than {MOST_FILES} files: give the folder of one plugin",
                    root.display()
                );
            }
        }
        Ok(())
    }

    /// Waits until something has changed, and nothing more does.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub(super) async fn changed(
        &self,
        dir: &Path,
        beside: &[PathBuf],
        look: Duration,
    ) -> Result<()> {
        let mut last = self.again(dir, beside)?;
        loop {
            tokio::time::sleep(look).await;
            let now = last.again(dir, beside)?;
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
    let is_built = name == BUILT && folder.parent() == Some(project);
    !is_built && !NO_SOURCES.contains(&name) && !MARKS.iter().any(|mark| folder.join(mark).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_writes_is_no_source_and_writing_the_same_again_no_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().expect("it is in the folder")).expect("made");
            fs::write(file, text).expect("written");
        };
        let read = || Sources::read(dir.path(), &[]).expect("it can be read");
        write("src/main.c", "1");
        let first = read();
        for (name, text) in [
            ("build/a.wasm", "x"),
            ("target/plugins/CACHEDIR.TAG", "x"),
            ("target/plugins/release/a.wasm", "x"),
            (".git/index", "x"),
            ("src/main.c~", "x"),
            ("src/main.c", "1"),
        ] {
            write(name, text);
            assert_eq!(read(), first, "{name}");
        }
        write("src/main.c", "2");
        assert_ne!(read(), first);
        write("src/main.c", "1");
        write("src/util/util.c", "3");
        let second = read();
        assert_ne!(second, first);
        fs::remove_file(dir.path().join("src/main.c")).expect("removed");
        assert_ne!(read(), second);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_linked_to_and_folders_of_any_name_are_sources() {
        let parent = tempfile::tempdir().expect("a folder");
        let [dir, shared] = ["own", "shared"].map(|name| parent.path().join(name));
        for folder in ["target", "src/build"] {
            fs::create_dir_all(dir.join(folder)).expect("made");
        }
        fs::create_dir(&shared).expect("made");
        for (target, link) in [("../shared", "shared"), (".", "circle")] {
            std::os::unix::fs::symlink(target, dir.join(link)).expect("linked");
        }
        let read = || Sources::read(&dir, &[]).expect("it can be read");
        let mut last = read();
        let all = [dir.join("target/a.py"), dir.join("src/build/a.py"), shared.join("a.py")];
        for file in all {
            fs::write(&file, "1").expect("written");
            let now = read();
            assert_ne!(now, last, "{}", file.display());
            last = now;
        }
    }
}
