//! Notifications of changes in the folder, and in the folders that lead to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::file::Identity;

/// How many symbolic links are followed in a chain, as in the kernel.
const MOST_LINKS: usize = 40;

/// Why the watching thread wakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something may have changed.
    Changed,
    /// The plugin with this name is to be forgotten.
    Forget(String),
    /// A plugin's file is to be reported again.
    ReportAgain(String),
    /// The watch is over.
    Stop,
}

/// Watches all folders whose changes matter: the plugins' folder, those with a symbolic
/// link on the path to it, and those that links in it point to. When a link is replaced
/// (which is how Kubernetes updates a volume), the event comes from the folder that the
/// link is in.
pub(super) struct Watcher {
    dir: PathBuf,
    system: Result<RecommendedWatcher, String>,
    /// The watched paths.
    watched: BTreeMap<PathBuf, Point>,
    /// Why paths that should be watched are not.
    failed: BTreeMap<PathBuf, String>,
    /// What matters in each watched path, for the thread that is told of events.
    matters: Arc<Mutex<BTreeMap<PathBuf, Matters>>>,
}

/// A folder to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    /// Which tells when the folder was replaced.
    folder: Identity,
    matters: Matters,
}

/// What matters in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Matters {
    /// Everything.
    All,
    /// Only what has one of these names.
    Names(BTreeSet<OsString>),
}

impl Watcher {
    /// A watcher that sends to `wake`. Without support by the system, the regular scans
    /// have to do.
    pub(super) fn new(dir: &Path, wake: Sender<Wake>) -> Self {
        let matters = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = Arc::clone(&matters);
        let on_event = move |event: notify::Result<notify::Event>| {
            // What is not understood may be a change.
            if event.is_ok_and(|event| !is_change(&event, &lock(&shared))) {
                return;
            }
            // Nobody listens when the folder is being dropped.
            let _ = wake.send(Wake::Changed);
        };
        let system = notify::recommended_watcher(on_event).map_err(|error| error.to_string());
        let (watched, failed) = (BTreeMap::new(), BTreeMap::new());
        Self { dir: dir.to_owned(), system, watched, failed, matters }
    }

    /// Why changes are not announced, if they are not.
    pub(super) fn problem(&self) -> Option<String> {
        let dir = self.dir.display();
        let later = "they are seen within seconds all the same; inotify's limits are \
                     fs.inotify.max_user_watches and max_user_instances";
        match &self.system {
            Err(error) => Some(format!("changes in {dir} are not announced: {error}; {later}")),
            Ok(_) => {
                let (path, error) = self.failed.first_key_value()?;
                let path = path.display();
                Some(format!("changes in {path} are not announced: {error}; {later}"))
            }
        }
    }

    /// Brings the watched folders up to date with the symbolic links.
    pub(super) fn follow_links(&mut self) {
        let Ok(system) = &mut self.system else { return };
        let wanted = watch_points(&self.dir);
        let is_same = |path: &PathBuf, point: &Point| {
            wanted.get(path).is_some_and(|wanted| wanted.folder == point.folder)
        };
        for (path, point) in &self.watched {
            if !is_same(path, point) {
                // If the folder is gone, so is its watch.
                let _ = system.unwatch(path);
            }
        }
        self.watched.retain(|path, point| is_same(path, point));
        *lock(&self.matters) =
            wanted.iter().map(|(path, point)| (path.clone(), point.matters.clone())).collect();
        self.failed.clear();
        for (path, point) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match system.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(path, point)),
                Err(error) => drop(self.failed.insert(path, error.to_string())),
            }
        }
    }
}

/// Whether an event can be about a plugin. Our own reading is none, and what others write
/// beside the folder is none either.
fn is_change(event: &notify::Event, matters: &BTreeMap<PathBuf, Matters>) -> bool {
    if is_read(&event.kind) {
        return false;
    }
    let concerns = |path: &PathBuf| match path.parent().and_then(|folder| matters.get(folder)) {
        Some(Matters::Names(names)) => {
            path.file_name().is_some_and(|name| names.contains(name)) || matters.contains_key(path)
        }
        Some(Matters::All) | None => true,
    };
    event.paths.is_empty() || event.paths.iter().any(concerns)
}

fn is_read(kind: &EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder leaves anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folders to watch.
fn watch_points(dir: &Path) -> BTreeMap<PathBuf, Point> {
    let mut points = Points::default();
    points.follow_link(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            points.follow_link(&entry.path());
        }
    }
    // The folder itself, and its parent for when it is replaced.
    if let Ok(dir) = fs::canonicalize(dir) {
        points.0.insert(dir, Matters::All);
    }
    points.name(dir);
    let point = |(path, matters): (PathBuf, Matters)| {
        let folder = fs::metadata(&path).ok()?;
        Some((path, Point { folder: Identity::of(&folder), matters }))
    };
    points.0.into_iter().filter_map(point).collect()
}

/// What matters in which folders.
#[derive(Default)]
struct Points(BTreeMap<PathBuf, Matters>);

impl Points {
    /// The last name of this path matters in its folder.
    fn name(&mut self, path: &Path) {
        let path = absolute(path);
        let Some(folder) = parent(&path) else { return };
        match (path.file_name(), self.0.get_mut(&folder)) {
            (_, Some(Matters::All)) => {}
            (Some(name), Some(Matters::Names(names))) => drop(names.insert(name.to_owned())),
            (Some(name), None) => {
                drop(self.0.insert(folder, Matters::Names([name.to_owned()].into())));
            }
            // It ends in `..`.
            (None, _) => drop(self.0.insert(folder, Matters::All)),
        }
    }

    /// All symbolic links in `path` matter, and what it finally points to.
    fn follow_link(&mut self, path: &Path) {
        let mut pending = vec![absolute(path)];
        for _ in 0..MOST_LINKS {
            let Some(path) = pending.pop() else { return };
            let ancestors: Vec<&Path> = path.ancestors().collect();
            let link = ancestors.iter().rev().find(|ancestor| ancestor.is_symlink());
            let (Some(link), Some(target)) = (link, link.and_then(|link| fs::read_link(link).ok()))
            else {
                self.name(&path);
                continue;
            };
            let Some(folder) = parent(link) else { continue };
            let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
            pending.push(folder.join(target).join(rest));
            self.name(link);
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn parent(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path.parent()?).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::mpsc;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn what_others_write_beside_the_folder_wakes_nobody() {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("plugins")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "as in the folder")]
        let (wake, woken) = mpsc::channel();
        let mut watcher = Watcher::new(&at("plugins"), wake);
        watcher.follow_links();
        assert_eq!(watcher.problem(), None);
        for number in 0..100 {
            fs::write(at("out.log"), format!("line {number}\n")).unwrap();
        }
        // Events come in order: the first is that of the folder's replacement.
        fs::rename(at("plugins"), at("away")).unwrap();
        assert_eq!(woken.recv_timeout(PATIENCE), Ok(Wake::Changed));
        let more = std::iter::from_fn(|| woken.recv_timeout(Duration::from_millis(200)).ok());
        assert!(more.count() < 10);
    }

    #[test]
    fn a_folder_that_was_made_again_is_watched_again() {
        let dir = TempDir::new().unwrap();
        let plugins = dir.path().join("plugins");
        let make = || {
            fs::create_dir(&plugins).unwrap();
            fs::metadata(&plugins).unwrap().ino()
        };
        let first = make();
        #[expect(clippy::disallowed_methods, reason = "as in the folder")]
        let (wake, woken) = mpsc::channel();
        let mut watcher = Watcher::new(&plugins, wake);
        watcher.follow_links();
        // Many file systems use an inode again at once, where they can.
        for _ in 0..10 {
            fs::remove_dir(&plugins).unwrap();
            if make() == first {
                break;
            }
        }
        while woken.recv_timeout(Duration::from_millis(200)).is_ok() {}
        watcher.follow_links();
        fs::write(plugins.join("x.wasm"), b"").unwrap();
        assert_eq!(woken.recv_timeout(PATIENCE), Ok(Wake::Changed));
    }

    #[test]
    fn a_link_on_the_way_matters_and_its_neighbours_do_not() {
        let dir = TempDir::new().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(root.join("v1/plugins")).unwrap();
        std::os::unix::fs::symlink("v1", root.join("current")).unwrap();
        let points = watch_points(&root.join("current/plugins"));
        let names = |path: &str| match &points[&root.join(path)].matters {
            Matters::All => vec!["*".into()],
            Matters::Names(names) => names.iter().map(|name| name.display().to_string()).collect(),
        };
        assert_eq!(names(""), ["current"]);
        assert_eq!(names("v1"), ["plugins"]);
        assert_eq!(names("v1/plugins"), ["*"]);
    }
}
