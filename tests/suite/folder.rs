//! The folder tells every change of a plugin's file, once, and nothing else.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use mo_router::plugins::{Change, Folder, FoundFile, Scanning};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::plugins::hostile;
use crate::support::within_reason;

/// A plugin's bytes, told from others' by `mark` and padded to `size`.
fn plugin(mark: u8, size: usize) -> Vec<u8> {
    let mut bytes = hostile("well-behaved");
    // A custom section of no name.
    let content = [vec![0], vec![mark; size + 1]].concat();
    bytes.push(0);
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

/// When a file that stands still is told though it is not whole. On a busy machine a
/// test can take as long to write the rest.
const GIVEN_UP: Duration = Duration::from_secs(2);

fn watch(dir: &Path) -> Folder {
    Folder::watch(dir.to_owned()).expect("it can be watched")
}

async fn next(folder: &mut Folder) -> Change {
    within_reason("a change", folder.changed()).await.expect("the watch goes on")
}

async fn next_is_present(folder: &mut Folder, name: &str, content: &[u8]) {
    match next(folder).await {
        Change::Present(file) => {
            assert_eq!(file.name, name);
            assert!(has(&file, content), "{name} has other content, of {} bytes", file.size);
            let read = file.read().await.expect("it has not changed since");
            assert!(read.content() == content);
        }
        other => panic!("{other:?}"),
    }
}

fn has(file: &FoundFile, content: &[u8]) -> bool {
    file.is_same(&FoundFile::of(file.name.clone(), file.path.clone(), content))
}

async fn next_is_gone(folder: &mut Folder, name: &str) {
    match next(folder).await {
        Change::Gone { name: gone } => assert_eq!(gone, name),
        other => panic!("{other:?}"),
    }
}

async fn next_is_refused(folder: &mut Folder, name: &str, expected: &str) {
    match next(folder).await {
        Change::Unusable { name: refused, reason, .. } => {
            assert_eq!(refused, name);
            assert!(reason.contains(expected), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

/// For changes whose order does not matter.
fn in_words(change: Change) -> String {
    match change {
        Change::Present(file) => format!("{} is there", file.name),
        Change::Unusable { name, reason, .. } => format!("{name} is refused: {reason}"),
        Change::Gone { name } => format!("{name} is gone"),
    }
}

/// Puts a file there whole, as people do who know how.
fn put(dir: &Path, name: &str, content: &[u8]) {
    let hidden = dir.join(format!(".{name}.new"));
    fs::write(&hidden, content).expect("written");
    fs::rename(hidden, dir.join(name)).expect("renamed");
}

/// The next change is that of a file that comes after all that was done before:
/// nothing else was told.
async fn nothing_else(folder: &mut Folder, dir: &Path, name: &str) {
    put(dir, &format!("{name}.wasm"), &plugin(0, 0));
    next_is_present(folder, name, &plugin(0, 0)).await;
}

#[tokio::test]
async fn files_come_change_and_go() {
    let dir = TempDir::new().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    put(dir.path(), "first.wasm", &plugin(1, 0));
    put(dir.path(), "notes.txt", b"no plugin");
    let mut folder = watch(dir.path());
    next_is_present(&mut folder, "first", &plugin(1, 0)).await;

    put(dir.path(), "second.wat", b"(component)");
    next_is_present(&mut folder, "second", b"(component)").await;
    put(dir.path(), "first.wasm", &plugin(2, 0));
    next_is_present(&mut folder, "first", &plugin(2, 0)).await;
    fs::write(at("first.wasm"), plugin(3, 0)).expect("written in place");
    next_is_present(&mut folder, "first", &plugin(3, 0)).await;

    // The same content again is no change.
    put(dir.path(), "first.wasm", &plugin(3, 0));
    fs::write(at("first.wasm"), plugin(3, 0)).expect("written in place");
    nothing_else(&mut folder, dir.path(), "other").await;

    fs::remove_file(at("first.wasm")).expect("removed");
    next_is_gone(&mut folder, "first").await;
    fs::rename(at("second.wat"), at("third.wat")).expect("renamed");
    let told = [in_words(next(&mut folder).await), in_words(next(&mut folder).await)];
    assert!(
        told.contains(&"second is gone".into()) && told.contains(&"third is there".into()),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_changes_after_the_folder_was_read_is_told() {
    let dir = TempDir::new().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    for name in ["changes.wasm", "goes.wasm", "stays.wasm"] {
        put(dir.path(), name, &plugin(1, 0));
    }
    let (present, mut folder) =
        Folder::open(dir.path().to_owned(), Scanning::default()).expect("it can be read");
    // Whether or not it has been looked at again by now.
    put(dir.path(), "changes.wasm", &plugin(2, 0));
    fs::remove_file(at("goes.wasm")).expect("removed");
    let present: Vec<String> = present.into_iter().map(in_words).collect();
    assert_eq!(present, ["changes is there", "goes is there", "stays is there"]);
    let mut told = [in_words(next(&mut folder).await), in_words(next(&mut folder).await)];
    told.sort();
    assert_eq!(told, ["changes is there", "goes is gone"]);
    nothing_else(&mut folder, dir.path(), "other").await;
}

#[tokio::test]
async fn a_file_is_told_when_it_is_whole() {
    let dir = TempDir::new().expect("a folder");
    let mut folder = watch(dir.path());
    let content = plugin(1, 100_000);
    let mut file = fs::File::create(dir.path().join("slow.wasm")).expect("made");
    // How long the file has stood still at most: long enough is a reason to tell half of it.
    let (mut written, mut longest) = (Instant::now(), Duration::ZERO);
    let sentinels = ["a", "b", "c", "d"];
    for (part, sentinel) in content.chunks(content.len() / sentinels.len() + 1).zip(sentinels) {
        // The folder is looked at before each part.
        put(dir.path(), &format!("{sentinel}.wasm"), &plugin(0, 0));
        while let change = in_words(next(&mut folder).await)
            && change != format!("{sentinel} is there")
        {
            assert!(written.elapsed() >= GIVEN_UP, "{change}");
        }
        longest = longest.max(written.elapsed());
        file.write_all(part).expect("written");
        written = Instant::now();
    }
    while let Change::Present(file) = next(&mut folder).await
        && !has(&file, &content)
    {
        let (told, stood_still) = (file.size, longest.max(written.elapsed()));
        assert!(stood_still >= GIVEN_UP, "{told} bytes were told after {stood_still:?}");
    }
}

#[tokio::test]
async fn what_never_becomes_whole_is_told_as_it_is() {
    let dir = TempDir::new().expect("a folder");
    let half = &plugin(1, 1000)[..500];
    put(dir.path(), "half.wasm", half);
    put(dir.path(), "empty.wasm", b"");
    let mut folder = watch(dir.path());
    next_is_present(&mut folder, "empty", b"").await;
    next_is_present(&mut folder, "half", half).await;
}

#[tokio::test]
async fn a_copy_of_20_mb_is_one_change() {
    let dir = TempDir::new().expect("a folder");
    let elsewhere = TempDir::new().expect("another");
    let mut folder = watch(dir.path());
    for mark in [1, 2] {
        let content = plugin(mark, 20_000_000);
        let source = elsewhere.path().join("large.wasm");
        fs::write(&source, &content).expect("written");
        let mut copy = tokio::process::Command::new("cp");
        let begun = Instant::now();
        let copied = copy.arg(&source).arg(dir.path()).status().await.expect("cp runs");
        assert!(copied.success());
        let took = begun.elapsed();
        loop {
            match next(&mut folder).await {
                Change::Present(file) if has(&file, &content) => break,
                // The copy may have stood still.
                Change::Present(_) if took >= GIVEN_UP => {}
                other => panic!("{} after {took:?}", in_words(other)),
            }
        }
    }
    nothing_else(&mut folder, dir.path(), "other").await;
}

#[tokio::test]
async fn a_burst_is_told_file_by_file() {
    let dir = TempDir::new().expect("a folder");
    let mut folder = watch(dir.path());
    for mark in [1, 2] {
        for number in 0..100 {
            put(dir.path(), &format!("p{number}.wasm"), &plugin(mark, number));
        }
        let mut told = Vec::new();
        for _ in 0..100 {
            match next(&mut folder).await {
                Change::Present(file) => told.push(file.name),
                other => panic!("{other:?}"),
            }
        }
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 100);
    }
    nothing_else(&mut folder, dir.path(), "other").await;
}

#[tokio::test]
async fn a_folder_that_is_a_link_may_be_swapped() {
    let dir = TempDir::new().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    for (version, mark) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(at(version)).expect("made");
        put(&at(version), "a.wasm", &plugin(mark, 0));
    }
    put(&at("v1"), "b.wasm", &plugin(7, 0));
    symlink("v1", at("plugins")).expect("linked");
    let mut folder = watch(&at("plugins"));
    next_is_present(&mut folder, "a", &plugin(1, 0)).await;
    next_is_present(&mut folder, "b", &plugin(7, 0)).await;

    symlink("v2", at("plugins.new")).expect("linked");
    fs::rename(at("plugins.new"), at("plugins")).expect("swapped");
    let told = [in_words(next(&mut folder).await), in_words(next(&mut folder).await)];
    assert!(told.contains(&"a is there".into()) && told.contains(&"b is gone".into()), "{told:?}");
    nothing_else(&mut folder, &at("v2"), "other").await;
}

/// A ConfigMap's volume: files are links through `..data`, which is swapped.
#[tokio::test]
async fn a_kubernetes_volume_is_one_update() {
    let dir = TempDir::new().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    for (version, mark) in [("..v1", 1), ("..v2", 2)] {
        fs::create_dir(at(version)).expect("made");
        put(&at(version), "a.wasm", &plugin(mark, 0));
        put(&at(version), "b.wasm", &plugin(9, 0));
    }
    symlink("..v1", at("..data")).expect("linked");
    for name in ["a.wasm", "b.wasm"] {
        symlink(Path::new("..data").join(name), at(name)).expect("linked");
    }
    let mut folder = watch(dir.path());
    next_is_present(&mut folder, "a", &plugin(1, 0)).await;
    next_is_present(&mut folder, "b", &plugin(9, 0)).await;

    symlink("..v2", at("..data_tmp")).expect("linked");
    fs::rename(at("..data_tmp"), at("..data")).expect("swapped");
    fs::remove_dir_all(at("..v1")).expect("removed");
    next_is_present(&mut folder, "a", &plugin(2, 0)).await;
    nothing_else(&mut folder, dir.path(), "other").await;
}

#[tokio::test]
async fn a_folder_that_goes_away_changes_nothing() {
    let dir = TempDir::new().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("plugins")).expect("made");
    put(&at("plugins"), "a.wasm", &plugin(1, 0));
    let mut folder = watch(&at("plugins"));
    next_is_present(&mut folder, "a", &plugin(1, 0)).await;

    fs::rename(at("plugins"), at("away")).expect("moved");
    put(&at("away"), "b.wasm", &plugin(2, 0));
    fs::rename(at("away"), at("plugins")).expect("moved back");
    next_is_present(&mut folder, "b", &plugin(2, 0)).await;
}

#[tokio::test]
async fn what_cannot_be_a_plugin_is_refused() {
    let dir = TempDir::new().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    let mut folder = watch(dir.path());
    fs::create_dir(at("folder.wasm")).expect("made");
    next_is_refused(&mut folder, "folder", "it is a directory").await;
    put(dir.path(), "my plugin.wasm", &plugin(1, 0));
    next_is_refused(&mut folder, "my plugin", "rename the file").await;
    put(dir.path(), "dead.wasm", &plugin(1, 0));
    next_is_refused(&mut folder, "dead", "the queue of the dead letters").await;
    symlink("loop.wasm", at("loop.wasm")).expect("linked");
    next_is_refused(&mut folder, "loop", "cannot be read").await;

    fs::remove_dir(at("folder.wasm")).expect("removed");
    next_is_gone(&mut folder, "folder").await;
    fs::remove_file(at("loop.wasm")).expect("removed");
    next_is_gone(&mut folder, "loop").await;
}

#[test]
fn a_folder_is_read_as_it_stands() {
    let dir = TempDir::new().expect("a folder");
    put(dir.path(), "a.wasm", &plugin(1, 0));
    put(dir.path(), "a.wat", b"(component)");
    put(dir.path(), "b.wasm", b"half");
    symlink("nowhere", dir.path().join("c.wasm")).expect("linked");
    let changes = Folder::read(dir.path()).expect("it can be read");
    let names: Vec<String> = changes
        .into_iter()
        .map(|change| match change {
            Change::Present(file) => file.path.file_name().map(|n| n.to_string_lossy().into()),
            Change::Unusable { name, reason, .. } => Some(format!("{name}: {reason}")),
            other @ Change::Gone { .. } => panic!("{other:?}"),
        })
        .map(Option::unwrap_or_default)
        .collect();
    assert_eq!(names[..2], ["a.wasm", "b.wasm"]);
    assert!(names.len() == 3 && names[2].starts_with("c: it is a link to nowhere"), "{names:?}");
    assert!(Folder::read(&dir.path().join("missing")).is_err());
}
