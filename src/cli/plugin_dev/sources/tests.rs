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
        format!("with {}, which {} names", shared.display(), own.join(beside_file()).display());
    assert!(error.starts_with(&names) && error.contains("10000 files"), "{error}");
    let error = Sources::read(&shared, &[]).expect_err("too many").to_string();
    assert!(error.contains("shared has more than 10000 files: give the folder"), "{error}");
}
