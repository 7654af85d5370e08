use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::life::tests::{built, module};
use super::*;
use crate::plugins::{Folder, FoundFile};
use crate::settings::PluginSettings;

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

/// A version that runs, beside a file that is refused: gives the fleet and the folder.
async fn beside_a_refused_file() -> (Arc<Fleet>, TempDir) {
    let (dir, fleet) = (TempDir::new().unwrap(), fleet(host()));
    let path = dir.path().join("test.wasm");
    std::fs::write(&path, module()).unwrap();
    follow(&fleet, dir.path());
    until("it runs", || grants(&fleet).is_some()).await;
    std::fs::write(&path, b"(module)").unwrap();
    until("the new file is refused", || refusal(&fleet, "test").is_some()).await;
    (fleet, dir)
}

fn grants(fleet: &Fleet) -> Option<Vec<String>> {
    fleet.running("test", |running| running.version().settings.exchanges.clone())
}

/// Grants the plugin this exchange, and changes its settings besides.
fn grant(fleet: &Arc<Fleet>, exchange: &str, change: impl FnOnce(&mut PluginSettings)) {
    let mut settings = Settings::clone(&fleet.settings());
    let mut own = settings.of_plugin("test");
    own.exchanges = vec![exchange.to_owned()];
    change(&mut own);
    settings.plugin.insert("test".to_owned(), own);
    fleet.reconfigure(settings);
}

#[tokio::test]
async fn new_settings_reach_a_version_whose_new_file_is_refused() {
    let (fleet, dir) = beside_a_refused_file().await;
    let path = dir.path().join("test.wasm");
    let has = |exchange: &str| grants(&fleet).is_some_and(|granted| granted == [exchange]);
    grant(&fleet, "one", |_| {});
    until("it has the new grant", || has("one")).await;
    until("the new file is tried again", || fleet.turning().is_empty()).await;
    assert!(refusal(&fleet, "test").is_some_and(|why| why.contains("test.wasm")));
    // With more workers, which are other threads, too.
    grant(&fleet, "two", |own| own.lanes = 2);
    until("it has the next grant", || has("two")).await;
    assert!(refusal(&fleet, "test").is_some());

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let is_directory = || refusal(&fleet, "test").is_some_and(|why| why.contains("directory"));
    until("the folder refuses it", is_directory).await;
    grant(&fleet, "three", |_| {});
    until("what the folder refuses holds nothing up", || has("three")).await;
    assert!(is_directory());

    // Nor does a folder that cannot be read.
    std::fs::remove_dir(&path).unwrap();
    std::fs::remove_dir(dir.path()).unwrap();
    grant(&fleet, "four", |_| {});
    until("nor does a folder that is gone", || has("four")).await;
}

#[tokio::test]
async fn settings_that_a_version_does_not_run_with_are_told_of_it() {
    let (fleet, dir) = beside_a_refused_file().await;
    let stale = || fleet.statuses_here()[0].stale.clone().unwrap_or_default();
    let keeps = || stale().ends_with("; what runs keeps its settings from before");
    assert!(!stale().contains("keeps its settings"));
    grant(&fleet, "one", |own| own.limits.memory = 1);
    // The reason is that of the new file.
    let says_where =
        || stale().ends_with("; what runs keeps its settings from before; the log says why");
    until("it is told", says_where).await;
    assert_ne!(grants(&fleet).unwrap(), ["one"]);
    // The same where its own file is there, which need not change for it to be tried again.
    std::fs::write(dir.path().join("test.wasm"), module()).unwrap();
    until("its own file is refused", || keeps() && stale().contains("of memory")).await;
    grant(&fleet, "two", |own| own.limits.memory = 1);
    until("it is tried with other settings", || stale().contains("with new settings")).await;
    assert!(keeps());
    grant(&fleet, "three", |own| own.limits = Settings::default().limits);
    until("nothing is wrong", || stale().is_empty()).await;
    assert_eq!(grants(&fleet).unwrap(), ["three"]);
}

#[tokio::test]
async fn settings_that_a_busy_machine_does_not_take_are_tried_again() {
    let (dir, fleet) = (TempDir::new().unwrap(), fleet(host()));
    let path = dir.path().join("test.wasm");
    let patient = |own: &mut PluginSettings| own.limits.timeout = PATIENCE;
    grant(&fleet, "none", patient);
    // With a timeout that is over when it is looked at first, the machine is busy.
    let loop_in = "(local $left i32) (local.set $left (i32.const 200000000))
        (loop (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 1024)";
    let text = include_str!("../../../tests/hostile/well-behaved.wat");
    let slow =
        text.replacen("(result i32) (i32.const 1024)", &format!("(result i32) {loop_in}"), 1);
    assert!(slow.contains(loop_in));
    std::fs::write(&path, built(&slow)).unwrap();
    follow(&fleet, dir.path());
    until("it runs", || grants(&fleet).is_some()).await;

    let in_vain = || fleet.members().get("test").map_or(0, |member| member.life.settings_in_vain());
    grant(&fleet, "one", |own| own.limits.timeout = Duration::from_nanos(1));
    until("they are refused", || in_vain() == 1).await;
    let reason = refusal(&fleet, "test").unwrap();
    assert!(
        reason.contains("with new settings: ") && reason.ends_with("and is tried again"),
        "{reason}"
    );
    // A new file that is refused for good does not end that.
    std::fs::write(&path, b"(module)").unwrap();
    until("it is refused", || !refusal(&fleet, "test").unwrap().contains("tried again")).await;
    until("they are tried again", || in_vain() == 2).await;
    assert_eq!(grants(&fleet).unwrap(), ["none"]);
    grant(&fleet, "two", patient);
    until("they are taken", || grants(&fleet).is_some_and(|granted| granted == ["two"])).await;
    until("nothing is to be tried again", || in_vain() == 0).await;
}

#[tokio::test]
async fn what_is_wrong_is_told_while_the_router_stops() {
    let fleet = fleet(host());
    let codes = || fleet.unready().iter().map(|reason| reason.code).collect::<Vec<_>>();
    fleet.health.report(Code::StoreUnavailable, "store", "it is away");
    assert_eq!(codes(), [Code::StoreUnavailable]);
    fleet.stop().await;
    assert_eq!(codes(), [Code::Stopping, Code::StoreUnavailable]);
}

#[tokio::test]
async fn without_a_broker_nothing_is_left_of_a_removed_plugin() {
    let (dir, fleet) = (TempDir::new().unwrap(), fleet(host()));
    for name in ["stays.wasm", "goes.wasm"] {
        std::fs::write(dir.path().join(name), module()).unwrap();
    }
    follow(&fleet, dir.path());
    let runs = |name: &str| fleet.running(name, |_| ()).is_some();
    until("both are loaded", || runs("stays") && runs("goes")).await;
    std::fs::remove_file(dir.path().join("goes.wasm")).unwrap();
    until("one of them is left", || {
        let statuses = fleet.statuses_here();
        statuses.iter().map(|status| &*status.name).eq(["stays"])
    })
    .await;
}
