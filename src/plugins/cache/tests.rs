use std::io;
use std::os::fd::OwnedFd;

use tempfile::TempDir;

use super::*;
use crate::plugins::engine::{Allocation, Codegen, engine};

fn open(dir: &Path) -> Cache {
    Cache::open(dir, &engine(Allocation::System, Codegen::Optimised).unwrap()).unwrap()
}

#[test]
fn code_that_cannot_be_stored_is_given_back() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir.path().join("code"));
    let mut file = cache.file().unwrap();
    file.write_all(b"code").unwrap();
    let content = Digest::of(b"plugin");
    // Something that a file cannot be renamed to.
    fs::create_dir(cache.path(content)).unwrap();
    let kept = cache.keep(content, file).unwrap();
    assert_eq!(kept.as_deref(), Some(b"code".as_slice()));

    let file = cache.file().unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    let error = cache.keep(content, file).unwrap_err();
    assert!(error.is::<NotWritten>(), "it is to be compiled without the cache: {error:#}");
}

#[test]
fn code_that_a_disk_did_not_take_is_not_read_back() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir.path().join("code"));
    let mut file = cache.file().unwrap();
    file.write_all(b"code").unwrap();
    let (_, path) = file.into_parts();
    // What cannot be synchronized stands for a disk that fails.
    let (_, pipe) = io::pipe().unwrap();
    let file = NamedTempFile::from_parts(OwnedFd::from(pipe).into(), path);
    let content = Digest::of(b"plugin");
    let error = cache.keep(content, file).unwrap_err();
    assert!(error.is::<NotWritten>(), "it is to be compiled without the cache: {error:#}");
    assert!(!cache.path(content).exists());
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
    open(dir.path()).prune();
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".tmpNew", "of-others", "used.cwasm"]);
}

#[test]
fn what_has_not_been_used_for_longest_makes_room() {
    let dir = TempDir::new().unwrap();
    let hour = Duration::from_hours(1);
    let put = |name: &str, age: Duration| {
        let file = fs::File::create(dir.path().join(name)).unwrap();
        file.set_len(100).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
    };
    let left = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.len() < 20);
        names.sort();
        names
    };
    for (room, kept) in [
        (Room { bytes: u64::MAX, files: 3 }, ["a.cwasm", "b.cwasm", "of-others"].as_slice()),
        (Room { bytes: 250, files: 10 }, ["a.cwasm", "of-others"].as_slice()),
        (Room { bytes: 1, files: 10 }, ["of-others"].as_slice()),
    ] {
        for (name, age) in [("a.cwasm", 1), ("b.cwasm", 2), ("c.cwasm", 3), ("of-others", 9)] {
            put(name, age * hour);
        }
        let cache = Cache { room, ..open(dir.path()) };
        let content = Digest::of(b"plugin");
        cache.put(content, &[0; 100]);
        assert!(cache.path(content).exists(), "it was just put");
        assert_eq!(left(), kept);
        let mut file = cache.file().unwrap();
        file.write_all(&[0; 100]).unwrap();
        assert_eq!(cache.keep(content, file).unwrap(), None);
        assert!(cache.path(content).exists() && left() == kept);
        fs::remove_file(cache.path(content)).unwrap();
    }
}
