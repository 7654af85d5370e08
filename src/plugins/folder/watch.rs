//! Announcements of changes, from the folder and from all that leads to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::warn;

/// How many symbolic links may lead from one to the next, as in the kernel.
const MOST_LINKS: usize = 40;

/// Why the watching thread wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something may have changed.
    Changed,
    /// The watch is over.
    Stop,
}

/// Watches the folders that matter: the plugins' own, those in which a symbolic
/// link on the way to it lies, and those of files that links in it point to. A
/// link that is swapped (as Kubernetes does to update a volume) is an event in
/// the folder that the link lies in.
pub(super) struct Watcher {
    dir: PathBuf,
    system: Option<RecommendedWatcher>,
    /// What is watched, by path and inode: a folder that was replaced is another.
    watched: BTreeMap<PathBuf, u64>,
}

impl Watcher {
    /// A watcher that wakes by `wake`. If the system has none, looking at
    /// intervals has to do.
    pub(super) fn new(dir: &Path, wake: Sender<Wake>) -> Self {
        let announce = move |event: notify::Result<notify::Event>| {
            // Reading files is an event too, and ours would wake us for ever.
            if event.is_ok_and(|event| is_read(&event.kind)) {
                return;
            }
            // Nobody listens when the folder is being dropped.
            let _ = wake.send(Wake::Changed);
        };
        let system = notify::recommended_watcher(announce)
            .inspect_err(|error| warn!("no announcements of changes in {}: {error}", dir.display()))
            .ok();
        Self { dir: dir.to_owned(), system, watched: BTreeMap::new() }
    }

    /// Watches what matters now, and no longer what does not.
    pub(super) fn follow_links(&mut self) {
        let Some(system) = &mut self.system else { return };
        let wanted = watch_points(&self.dir);
        for (path, inode) in &self.watched {
            if wanted.get(path) != Some(inode) {
                // It may be gone, and its watch with it.
                let _ = system.unwatch(path);
            }
        }
        self.watched.retain(|path, inode| wanted.get(path) == Some(inode));
        for (path, inode) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match system.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, inode);
                }
                Err(error) => warn!("no announcements of changes in {}: {error}", path.display()),
            }
        }
    }
}

fn is_read(kind: &EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

/// The folders to watch, with their inodes.
fn watch_points(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut points = Vec::new();
    follow_link(dir, &mut points);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            follow_link(&entry.path(), &mut points);
        }
    }
    // Its own changes, and its being replaced.
    points.extend(fs::canonicalize(dir).ok());
    points.extend(parent(dir));
    let inode = |path: PathBuf| Some((fs::metadata(&path).ok()?.ino(), path));
    points.into_iter().filter_map(inode).map(|(inode, path)| (path, inode)).collect()
}

/// Adds the folders of all symbolic links that `path` goes through, and of what
/// it ends at.
fn follow_link(path: &Path, points: &mut Vec<PathBuf>) {
    let mut pending = vec![std::path::absolute(path).unwrap_or_else(|_| path.to_owned())];
    for _ in 0..MOST_LINKS {
        let Some(path) = pending.pop() else { return };
        let ancestors: Vec<&Path> = path.ancestors().collect();
        let link = ancestors.iter().rev().find(|ancestor| ancestor.is_symlink());
        let (Some(link), Some(target)) = (link, link.and_then(|link| fs::read_link(link).ok()))
        else {
            points.extend(parent(&path));
            continue;
        };
        let Some(folder) = parent(link) else { continue };
        let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
        pending.push(folder.join(target).join(rest));
        points.push(folder);
    }
}

fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    // Of a relative path of one part, it is the empty path.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    fs::canonicalize(parent).ok()
}
