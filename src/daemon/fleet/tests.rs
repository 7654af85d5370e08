use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::life::tests::{built, module};
use super::*;
use crate::plugins::{Folder, FoundFile};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plugins without a broker.
fn fleet(host: Host) -> Arc<Fleet> {
    let mut settings = Settings::default();
    settings.amqp.enabled = false;
    let health = Health::default();
    let (endpoints, _failure) = Endpoints::new(&settings.amqp, &health);
    let (delays, _queue) = delay::handle(1);
    Arc::new(Fleet::new(Arc::new(host), settings, endpoints, delays, Clock::system(), health, None))
}

fn host() -> Host {
    Host::new(None, Clock::system()).unwrap()
}

/// Waits until this is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn refusal(fleet: &Fleet, name: &str) -> Option<String> {
    Some(fleet.members().get(name)?.life.refusal_reason()?.to_owned())
}

/// Follows a folder, and gives what is wrong with it.
fn follow(fleet: &Arc<Fleet>, dir: &Path) -> Arc<Mutex<Option<String>>> {
    let mut folder = Folder::watch(dir.to_owned()).unwrap();
    fleet.forget_by(folder.forgetter());
    let (fleet, wrong) = (Arc::clone(fleet), Arc::default());
    let (mut sights, told) = (folder.sights(), Arc::clone(&wrong));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(change) = folder.changed() => fleet.follow(change),
                sight = sights.changed() => *lock(&told) = sight.unreadable,
            }
        }
    });
    wrong
}

#[tokio::test]
async fn settings_that_change_during_the_first_load_are_taken() {
    let (dir, fleet) = (TempDir::new().unwrap(), fleet(host()));
    let path = dir.path().join("test.wasm");
    std::fs::write(&path, module()).unwrap();
    fleet.follow(Change::Present(FoundFile::of("test".to_owned(), path, &module())));
    // It has begun to load, with the settings of now.
    tokio::task::yield_now().await;
    follow(&fleet, dir.path());
    assert!(fleet.members().is_empty() && fleet.turning().contains("test"));
    let mut settings = Settings::clone(&fleet.settings());
    settings.limits.attempts = 99;
    fleet.reconfigure(settings);
    let attempts = |running: &mut Running| running.version().settings.limits.attempts;
    until("it is loaded with them", || fleet.running("test", attempts) == Some(99)).await;
}

#[tokio::test]
async fn refused_files_of_an_emptied_folder_are_removed_by_name() {
    let (dir, fleet) = (TempDir::new().unwrap(), fleet(host()));
    let at = |name: &str| dir.path().join(name);
    for name in ["a.wat", "b.wat"] {
        std::fs::write(at(name), "(module)").unwrap();
    }
    let wrong = follow(&fleet, dir.path());
    let is_refused = |name: &str| refusal(&fleet, name).is_some();
    until("both are refused", || is_refused("a") && is_refused("b")).await;
    assert_eq!(fleet.remove_at_once("a").await, Removal::FileIsThere(at("a.wat")));
    assert_eq!(fleet.remove_at_once("c").await, Removal::Unknown);

    for name in ["a.wat", "b.wat"] {
        std::fs::remove_file(at(name)).unwrap();
    }
    let says = |text: &str| lock(&wrong).as_ref().is_some_and(|wrong| wrong.contains(text));
    until("the folder is told to be empty", || says("a, b are all gone at once")).await;
    assert_eq!(fleet.remove_at_once("a").await, Removal::Done);
    until("one of them is left", || says("plugins b are all gone")).await;
    assert_eq!(fleet.remove_at_once("b").await, Removal::Done);
    until("nothing is wrong with the folder", || lock(&wrong).is_none()).await;
    assert!(fleet.members().is_empty());
}

#[tokio::test]
async fn a_file_that_the_machine_did_not_let_be_compiled_is_tried_again() {
    let (dir, programs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let compiler = programs.path().join("compiler");
    let fleet = fleet(host().compiling_by(compiler.clone()));
    std::fs::write(dir.path().join("test.wasm"), module()).unwrap();
    follow(&fleet, dir.path());
    let says = |text: &str| refusal(&fleet, "test").is_some_and(|reason| reason.contains(text));
    until("it cannot be compiled", || says("cannot start the compiler")).await;
    assert!(says("and is tried again"));
    // From now on it can be compiled, and is no plugin.
    symlink("/bin/false", compiler).unwrap();
    until("it is tried again", || says("the compiler failed")).await;
    assert!(!says("tried again"), "{:?}", refusal(&fleet, "test"));
}

#[tokio::test]
async fn a_plugin_that_was_too_slow_while_it_was_loaded_is_tried_again() {
    let (dir, fleet) = (TempDir::new().unwrap(), fleet(host()));
    let mut settings = Settings::clone(&fleet.settings());
    settings.limits.timeout = Duration::from_millis(200);
    fleet.reconfigure(settings);
    // For as long as this one takes, it is a plugin of a machine that is busy.
    let text = include_str!("../../../tests/hostile/loop-in-subscriptions.wat");
    std::fs::write(dir.path().join("test.wasm"), built(text)).unwrap();
    follow(&fleet, dir.path());
    let in_vain = || fleet.members().get("test").map_or(0, |member| member.life.in_vain());
    until("it is refused", || in_vain() == 1).await;
    let reason = refusal(&fleet, "test").unwrap();
    let expected = "took longer than 200ms ([limits] timeout); it may be due to a busy machine, and is \
                    tried again";
    assert!(reason.ends_with(expected), "{reason}");
    until("it is tried again", || in_vain() == 2).await;
    std::fs::write(dir.path().join("test.wasm"), module()).unwrap();
    until("it is loaded", || fleet.running("test", |_| ()).is_some()).await;
}

#[tokio::test]
async fn a_file_that_is_no_longer_what_was_found_is_looked_at_again() {
    let (dir, fleet) = (TempDir::new().unwrap(), fleet(host()));
    let path = dir.path().join("test.wasm");
    std::fs::write(&path, module()).unwrap();
    follow(&fleet, dir.path());
    let runs = || fleet.running("test", |running| running.version().plugin.version.clone());
    until("it is loaded", || runs().is_some()).await;
    fleet.follow(Change::Present(FoundFile::of("test".to_owned(), path.clone(), b"half of it")));
    std::fs::write(&path, b"(module)").unwrap();
    until("what is there is tried", || refusal(&fleet, "test").is_some()).await;
    assert!(runs().is_some());
}
