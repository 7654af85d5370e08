use std::io;
use std::os::fd::OwnedFd;

use tempfile::TempDir;

use super::*;
use crate::plugins::engine::{Allocation, engine};

fn open(dir: &Path) -> Cache {
    Cache::open(dir, &engine(Allocation::System).unwrap()).unwrap()
}

#[test]
fn code_that_cannot_be_stored_is_given_back() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir.path().join("code"));
    let mut file = cache.file().unwrap();
    file.write_all(b"code").unwrap();
    let (_, path) = file.into_parts();
    // What cannot be synchronized stands for a disk that fails.
    let (_, pipe) = io::pipe().unwrap();
    let file = NamedTempFile::from_parts(OwnedFd::from(pipe).into(), path);
    let kept = cache.keep(Digest::of(b"plugin"), file).unwrap();
    assert_eq!(kept.as_deref(), Some(b"code".as_slice()));

    let file = cache.file().unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    let error = cache.keep(Digest::of(b"plugin"), file).unwrap_err();
    assert!(error.is::<NotWritten>(), "it is to be compiled without the cache: {error:#}");
}

#[test]
fn what_a_killed_router_left_is_removed_after_a_day() {
    let dir = TempDir::new().unwrap();
    let hour = Duration::from_hours(1);
    let (day, month) = (25 * hour, 31 * 24 * hour);
    for (name, age) in [
        (".tmpOld", day),
        (".tmpNew", hour),
        ("used.cwasm", day),
        ("unused.cwasm", month),
        ("of-others", month),
    ] {
        let file = fs::File::create(dir.path().join(name)).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
    }
    open(dir.path());
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".tmpNew", "of-others", "used.cwasm"]);
}
