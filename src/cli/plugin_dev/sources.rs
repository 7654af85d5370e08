//! The sources of a project: which files it has, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh3::xxh3_64;

use super::BESIDE;

/// The folder of a project that builds write to. Another one of this name may have sources.
const BUILT: &str = "build";

/// Folders that languages' tools write to, wherever they are.
const NO_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];

/// What marks a folder as a cache, cargo's for one, or as an environment of Python's.
const MARKS: [&str; 2] = ["CACHEDIR.TAG", "pyvenv.cfg"];

/// How many files a project may have, with what lies beside it.
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
    /// The folder cannot be read, or there are more than [`MOST_FILES`] in it and beside it.
    pub(super) fn read(dir: &Path, beside: &[PathBuf]) -> Result<Self> {
        Self { files: BTreeMap::new() }.again(dir, beside)
    }

    /// The same sources as they are now. Only what was written since is read.
    fn again(&self, dir: &Path, beside: &[PathBuf]) -> Result<Self> {
        let mut now = Self { files: BTreeMap::new() };
        // Where files and folders really are, so that none counts twice: the project may link to what
        // lies beside, and lie in it itself. What builds write is not looked at on any way.
        let mut seen: BTreeSet<PathBuf> = fs::canonicalize(dir.join(BUILT)).into_iter().collect();
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
            dir.join(BESIDE).display()
        );
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

    /// Folders of a temporary one: the project `own`, and `shared` beside it.
    fn own_and_shared() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let parent = tempfile::tempdir().expect("a folder");
        let [own, shared] = ["own", "shared"].map(|name| parent.path().join(name));
        for folder in [&own, &shared] {
            fs::create_dir(folder).expect("made");
        }
        (parent, own, shared)
    }

    #[cfg(unix)]
    #[test]
    fn what_the_project_links_to_counts_once_though_it_is_named_beside() {
        use std::os::unix::fs::symlink;
        let (parent, own, shared) = own_and_shared();
        let single = parent.path().join("single.txt");
        for file in [shared.join("a.py"), shared.join("b.py"), single.clone()] {
            fs::write(file, "1").expect("written");
        }
        symlink("../shared", own.join("shared")).expect("linked");
        symlink("../single.txt", own.join("linked.txt")).expect("linked");
        let beside = [shared.clone(), single.clone(), parent.path().to_owned()];
        let read = || Sources::read(&own, &beside).expect("it can be read");
        let first = read();
        assert_eq!(first.files.len(), 3, "{first:?}");
        for file in [shared.join("a.py"), single] {
            fs::write(&file, "2").expect("written");
            assert_ne!(read(), first, "{}", file.display());
            fs::write(&file, "1").expect("written");
        }
        // Nor do caches that are elsewhere become sources by a link.
        symlink("../cache", own.join("target")).expect("linked");
        let cache = parent.path().join("cache");
        fs::create_dir(&cache).expect("made");
        fs::write(cache.join(MARKS[0]), "").expect("written");
        let now = Sources::read(&own, &[shared, cache]).expect("it can be read");
        assert_eq!(now.files.len(), 3, "{now:?}");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_build_writes_is_no_source_of_a_project_in_what_lies_beside() {
        let (parent, own, shared) = own_and_shared();
        std::os::unix::fs::symlink("../own", shared.join("back")).expect("linked");
        std::os::unix::fs::symlink("own/build", parent.path().join("out")).expect("linked");
        fs::create_dir(own.join("build")).expect("made");
        for beside in [parent.path().to_owned(), own.join(".."), own.join("./../shared")] {
            let read = || Sources::read(&own, std::slice::from_ref(&beside)).expect("read");
            let first = read();
            fs::write(own.join("build").join("a.wasm"), "x").expect("written");
            assert_eq!(read(), first, "{}", beside.display());
            fs::write(own.join("plugin.c"), beside.display().to_string()).expect("written");
            assert_ne!(read(), first, "{}", beside.display());
            fs::remove_file(own.join("build").join("a.wasm")).expect("removed");
        }
    }

    #[test]
    fn whose_files_are_too_many_is_said() {
        let (_parent, own, shared) = own_and_shared();
        for file in 0..=MOST_FILES {
            fs::File::create(shared.join(file.to_string())).expect("written");
        }
        let error = Sources::read(&own, std::slice::from_ref(&shared)).expect_err("too many");
        let error = error.to_string();
        let names =
            format!("with {}, which {} names", shared.display(), own.join(BESIDE).display());
        assert!(error.starts_with(&names) && error.contains("10000 files"), "{error}");
        let error = Sources::read(&shared, &[]).expect_err("too many").to_string();
        assert!(error.contains("shared has more than 10000 files: give the folder"), "{error}");
    }
}
