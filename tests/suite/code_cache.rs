//! Compiled code is kept by content, and never taken from where others can write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::event::Publication;
use mo_router::plugins::{Host, Plugin};
use mo_router::settings::{InstanceMode, PluginSettings};
use tempfile::TempDir;

use crate::support::plugins::{build, event, hostile_text, load_on, settings};

/// Loads a plugin with its code in `cache`, by a host that knows nothing else.
async fn load(cache: &Path, bytes: &[u8]) -> Arc<Plugin> {
    let host = Arc::new(Host::new(Some(cache.to_owned()), Clock::system()).expect("a host"));
    let plugin = load_on(&host, bytes.to_vec(), &settings()).await.expect("it loads");
    let answer = plugin.instance().route(&event(), 1).await;
    assert_eq!(answer, Ok(vec![Publication::default()]));
    plugin
}

fn plugin(comment: &str) -> Vec<u8> {
    build(
        &hostile_text("well-behaved")
            .replace("(module", &format!("(module (@custom \"{comment}\" \"\")")),
    )
}

fn files(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).expect("the cache is there");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[tokio::test]
async fn code_is_kept_by_content() {
    let dir = TempDir::new().expect("a folder");
    let cache = dir.path().join("made/as needed");
    let first = load(&cache, &plugin("a")).await;
    assert!(!first.cached);
    let mode = fs::metadata(&cache).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let again = load(&cache, &plugin("a")).await;
    assert!(again.cached);
    assert_eq!(again.version, first.version);
    let other = load(&cache, &plugin("b")).await;
    assert!(!other.cached);
    assert_ne!(other.version, first.version);
    assert_eq!(files(&cache).len(), 2);
}

#[tokio::test]
async fn code_of_a_router_that_ran_for_long_is_found_by_the_next() {
    let dir = TempDir::new().expect("a folder");
    let cache = dir.path().join("code");
    for comment in ["a", "b"] {
        load(&cache, &plugin(comment)).await;
    }
    let ages = || files(&cache).into_iter().map(|file| fs::File::options().write(true).open(file));
    for file in ages() {
        let file = file.expect("it can be written");
        let modified = file.metadata().and_then(|file| file.modified()).expect("a time");
        file.set_modified(modified - Duration::from_hours(31 * 24)).expect("it is older");
    }
    let host = Arc::new(Host::new(Some(cache.clone()), Clock::system()).expect("a host"));
    let plugin = load_on(&host, plugin("a"), &settings()).await.expect("it loads");
    assert!(plugin.cached);
    assert_eq!(files(&cache).len(), 2, "nobody knows yet what will be loaded");
    host.prune_cache();
    assert_eq!(files(&cache).len(), 1);
    assert!(load(&cache, &self::plugin("a")).await.cached);
}

#[tokio::test]
async fn code_that_does_not_load_is_made_anew() {
    let dir = TempDir::new().expect("a folder");
    let cache = dir.path().join("code");
    load(&cache, &plugin("a")).await;
    let file = files(&cache).remove(0);
    let whole = fs::read(&file).expect("code");
    for damaged in [&b"nonsense"[..], &whole[..whole.len() / 2], b""] {
        fs::remove_file(&file).expect("removed");
        fs::write(&file, damaged).expect("written");
        assert!(!load(&cache, &plugin("a")).await.cached);
        assert!(load(&cache, &plugin("a")).await.cached);
    }
}

#[tokio::test]
async fn a_folder_that_others_can_write_to_is_not_used() {
    let dir = TempDir::new().expect("a folder");
    let cache = dir.path().join("code");
    load(&cache, &plugin("a")).await;
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("opened to all");
    assert!(!load(&cache, &plugin("a")).await.cached);
    assert!(!load(&cache, &plugin("b")).await.cached);
    assert_eq!(files(&cache).len(), 1);
}

#[tokio::test]
async fn code_that_is_too_large_for_the_pool_is_kept_too() {
    let dir = TempDir::new().expect("a folder");
    let table = "(memory (export \"memory\") 40) (table 200000 funcref)";
    let text = hostile_text("well-behaved").replace("(memory (export \"memory\") 40)", table);
    let fresh = PluginSettings { instance: InstanceMode::Fresh, ..settings() };
    for cached in [false, true, true] {
        let cache = Some(dir.path().join("code"));
        let host = Arc::new(Host::new(cache, Clock::system()).expect("a host"));
        let plugin = load_on(&host, build(&text), &fresh).await.expect("it loads");
        assert_eq!(plugin.cached, cached);
    }
}
