//! Notifications of changes in the folder, and in the folders that lead to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::warn;

/// How many symbolic links are followed in a chain, as in the kernel.
const MOST_LINKS: usize = 40;

/// Why the watching thread wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something may have changed.
    Changed,
    /// The watch is over.
    Stop,
}

/// Watches all folders whose changes matter: the plugins' folder, those with a symbolic
/// link on the path to it, and those that links in it point to. When a link is replaced
/// (which is how Kubernetes updates a volume), the event comes from the folder that the
/// link is in.
pub(super) struct Watcher {
    dir: PathBuf,
    system: Option<RecommendedWatcher>,
    /// The watched paths with their inodes, which tell when a folder was replaced.
    watched: BTreeMap<PathBuf, u64>,
}

impl Watcher {
    /// A watcher that sends to `wake`. Without support by the system, the regular scans
    /// have to do.
    pub(super) fn new(dir: &Path, wake: Sender<Wake>) -> Self {
        let on_event = move |event: notify::Result<notify::Event>| {
            // Our own reading causes events too, and would wake us for ever.
            if event.is_ok_and(|event| is_read(&event.kind)) {
                return;
            }
            // Nobody listens when the folder is being dropped.
            let _ = wake.send(Wake::Changed);
        };
        let system = notify::recommended_watcher(on_event)
            .inspect_err(|error| {
                warn!("cannot watch {} for changes, which are seen later: {error}", dir.display());
            })
            .ok();
        Self { dir: dir.to_owned(), system, watched: BTreeMap::new() }
    }

    /// Brings the watched folders up to date with the symbolic links.
    pub(super) fn follow_links(&mut self) {
        let Some(system) = &mut self.system else { return };
        let wanted = watch_points(&self.dir);
        for (path, inode) in &self.watched {
            if wanted.get(path) != Some(inode) {
                // If the folder is gone, so is its watch.
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
                Err(error) => {
                    warn!(
                        "cannot watch {} for changes, which are seen later: {error}",
                        path.display()
                    );
                }
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
    // The folder itself, and its parent for when it is replaced.
    points.extend(fs::canonicalize(dir).ok());
    points.extend(parent(dir));
    let inode = |path: PathBuf| Some((fs::metadata(&path).ok()?.ino(), path));
    points.into_iter().filter_map(inode).map(|(inode, path)| (path, inode)).collect()
}

/// Adds the folders of all symbolic links in `path`, and of what it finally points to.
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
    // The parent of a relative path with one component is the empty path.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    fs::canonicalize(parent).ok()
}
