use std::sync::OnceLock;

use wit_component::StringEncoding;

use super::*;
use crate::clock::Clock;
use crate::daemon::fleet::member::Member;
use crate::plugins::{Host, Plugin, PluginFile};
use crate::settings::Settings;

/// The content of a plugin's file.
pub(in crate::daemon::fleet) fn module() -> Vec<u8> {
    built(include_str!("../../../../tests/hostile/well-behaved.wat"))
}

/// The same of another one's text.
pub(in crate::daemon::fleet) fn built(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let (mut resolve, root) = (wit_parser::Resolve::default(), env!("CARGO_MANIFEST_DIR"));
    let (package, _) = resolve.push_dir(format!("{root}/wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .unwrap();
    module
}

/// A plugin that loaded: what it does is of no interest here.
fn plugin() -> Arc<Plugin> {
    static PLUGIN: OnceLock<Arc<Plugin>> = OnceLock::new();
    let load = || {
        let host = Arc::new(Host::new(None, Clock::system()).unwrap());
        let (name, path) = ("test".into(), "plugins/test.wasm".into());
        let source = PluginFile::new(name, path, module().into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(host.load(source, &settings(&[]))).unwrap()
    };
    Arc::clone(PLUGIN.get_or_init(load))
}

fn settings(subscriptions: &[&str]) -> PluginSettings {
    let subscriptions = subscriptions.iter().map(|&pattern| pattern.to_owned()).collect();
    PluginSettings { subscriptions: Some(subscriptions), ..Settings::default().of_plugin("test") }
}

fn version(subscriptions: &[&str]) -> Version {
    Version { plugin: plugin(), settings: Arc::new(settings(subscriptions)) }
}

fn attempt(content: &[u8]) -> Attempt {
    let (name, path) = ("test".into(), "plugins/test.wasm".into());
    let file = FoundFile::of(name, path, content);
    Attempt { file, settings: Arc::new(settings(&[])) }
}

fn refused(content: &[u8]) -> Refusal {
    Refusal::by_host(&anyhow::anyhow!("no plugin"), &attempt(content), None)
}

fn launch(before: Option<Life>, subscriptions: &[&str]) -> Launched {
    let version = watch::Sender::new(version(subscriptions));
    let handle = Handle { version, stop: CancellationToken::new(), lines: None };
    Life::launch(before, handle, File::Loaded(attempt(b"good")))
}

/// A plugin that runs, and what stops it.
fn running(subscriptions: &[&str]) -> (Launched, CancellationToken) {
    let launched = launch(None, subscriptions);
    let stop = launched.life.running().unwrap().handle.stop.clone();
    (launched, stop)
}

fn remove(life: Life) -> (Option<Life>, Option<Retirement>) {
    life.remove(Datetime::now(), &CancellationToken::new())
}

/// A plugin that ran and was removed.
fn removed() -> (Life, Retirement) {
    let (life, retirement) = remove(running(&["a"]).0.life);
    (life.unwrap(), retirement.unwrap())
}

#[test]
fn a_file_that_never_was_a_plugin_leaves_nothing() {
    let mut life = Life::Refused(refused(b"bad"));
    assert_eq!(life.refusal_reason(), Some("no plugin"));
    life.refuse(Refusal::by_folder("a directory".into(), PathBuf::new()));
    assert_eq!(life.refusal_reason(), Some("a directory"));
    assert!(life.running().is_none());
    assert!(matches!(remove(life), (None, None)));
}

#[test]
fn the_first_version_waits_for_nothing() {
    assert!(running(&["a"]).0.predecessor_ended.is_none());
    let launched = launch(Some(Life::Refused(refused(b"bad"))), &["a"]);
    assert!(launched.predecessor_ended.is_none());
    assert_eq!(launched.life.refusal_reason(), None);
}

#[test]
fn a_file_is_loaded_again_only_if_it_or_its_settings_differ() {
    let mut life = running(&["a"]).0.life;
    let changed = |content| Attempt { settings: Arc::new(settings(&["b"])), ..attempt(content) };
    assert!(life.has_tried_so(&attempt(b"good")) && !life.has_tried_so(&changed(b"good")));

    life.refuse(refused(b"bad"));
    assert!(life.has_tried_so(&attempt(b"bad")) && !life.has_tried_so(&changed(b"bad")));
    assert!(!life.has_tried_so(&attempt(b"good")), "the good file is back");
    assert!(life.loaded().is_none(), "what was refused is not kept");

    life.refuse(Refusal::by_folder("unreadable".into(), PathBuf::new()));
    assert!(life.depends_on_settings(), "an earlier file runs");
    let unread = Refusal::by_folder("unreadable".into(), PathBuf::new());
    assert!(!Life::Refused(unread).depends_on_settings());
    assert!(Life::Refused(refused(b"bad")).depends_on_settings());
}

#[test]
fn what_runs_keeps_running_when_a_new_file_is_refused() {
    let (Launched { mut life, .. }, stop) = running(&["a"]);
    life.refuse(refused(b"bad"));
    assert_eq!(life.refusal_reason(), Some("no plugin"));
    assert!(!stop.is_cancelled());
    let running = life.running_mut().unwrap();
    running.replace(version(&["b"]), File::Loaded(attempt(b"better")));
    assert_eq!(running.version().subscriptions(), ["b"]);
    assert_eq!(life.refusal_reason(), None);
}

#[test]
fn a_version_launched_beside_another_stops_it_and_waits_for_its_end() {
    let (before, stop) = running(&["a"]);
    let launched = launch(Some(before.life), &["b"]);
    assert!(stop.is_cancelled());
    let waits_for = launched.predecessor_ended.unwrap();
    assert!(!waits_for.is_cancelled());
    before.ended.cancel();
    assert!(waits_for.is_cancelled());
    assert!(!launched.ended.is_cancelled());
    // Nobody has undone the old bindings yet.
    assert_eq!(remove(launched.life).1.unwrap().bound, ["a", "b"]);
}

#[test]
fn a_removed_plugin_is_stopped_and_unbound_from_all_it_may_be_bound_with() {
    let (Launched { mut life, ended, .. }, stop) = running(&["a", "b"]);
    let running = life.running_mut().unwrap();
    running.bound(&["c".into()]);
    running.unbound(&["a".into()]);
    let (life, retirement) = remove(life);
    let (life, retirement) = (life.unwrap(), retirement.unwrap());
    assert!(stop.is_cancelled());
    assert!(life.removed_at().is_some() && life.running().is_none());
    assert_eq!(retirement.bound, ["b", "c"]);
    assert!(!retirement.sessions_ended.is_cancelled());
    ended.cancel();
    assert!(retirement.sessions_ended.is_cancelled());
}

#[test]
fn a_file_that_returns_waits_until_nothing_is_being_removed() {
    let (life, retirement) = removed();
    let launched = launch(Some(life), &["b"]);
    assert!(retirement.returned.is_cancelled());
    let waits_for = launched.predecessor_ended.unwrap();
    assert!(!waits_for.is_cancelled());
    // What was not unbound in time is unbound the next time.
    let mut life = launched.life.forget(&retirement).expect("it has returned");
    assert_eq!(life.running_mut().unwrap().bound, BTreeSet::from(["a".into(), "b".into()]));
    drop(retirement);
    assert!(waits_for.is_cancelled());
}

#[test]
fn bad_files_come_and_go_while_the_queue_of_a_removed_plugin_is_kept() {
    let (mut life, retirement) = removed();
    life.refuse(refused(b"bad"));
    assert_eq!(life.refusal_reason(), Some("no plugin"));
    assert!(life.has_tried_so(&attempt(b"bad")));
    let (life, again) = remove(life);
    let life = life.expect("its queue is still there");
    assert!(again.is_none() && life.removed_at().is_some());
    assert_eq!(life.refusal_reason(), None);
    assert!(!retirement.returned.is_cancelled());
    assert!(life.forget(&retirement).is_none());
}

#[test]
fn a_bad_file_outlasts_the_queue_of_a_removed_plugin() {
    let (mut life, retirement) = removed();
    life.refuse(refused(b"bad"));
    let life = life.forget(&retirement).expect("there is a file");
    assert!(matches!(life, Life::Refused(_)));
    assert_eq!(life.refusal_reason(), Some("no plugin"));
}

#[test]
fn a_plugin_removed_twice_is_forgotten_by_the_second_retirement_alone() {
    let (life, first) = removed();
    let (life, second) = remove(launch(Some(life), &["a"]).life);
    let life = life.unwrap().forget(&first).expect("it was removed again");
    assert!(life.removed_at().is_some());
    assert!(life.forget(&second.unwrap()).is_none());
}

#[test]
fn a_router_that_stops_forgets_nothing() {
    let stop = CancellationToken::new();
    let (life, retirement) = running(&["a"]).0.life.remove(Datetime::now(), &stop);
    stop.cancel();
    let retirement = retirement.unwrap();
    assert!(retirement.returned.is_cancelled());
    assert!(life.unwrap().forget(&retirement).is_some());
}

#[test]
fn a_reason_is_as_long_as_can_be_shown() {
    let refusal = Refusal::by_host(&anyhow::anyhow!("x".repeat(1 << 20)), &attempt(b"bad"), None);
    assert!(refusal.reason().len() < 5000 && refusal.reason().ends_with("(1048576 bytes)"));
}

#[test]
fn the_status_of_a_removed_plugin_says_whether_its_queue_collects_events() {
    let (mut life, _retirement) = removed();
    life.refuse(refused(b"bad"));
    let reason = |life: Life| {
        let member = Member { life, stats: Arc::default() };
        let reason = member.status("test", &Settings::default()).stats.reason.unwrap();
        (member.life, reason)
    };
    let (life, kept) = reason(life);
    assert!(kept.contains("its queue collects events meanwhile"), "{kept}");
    life.unbind_at_once();
    let (_, unbound) = reason(life);
    assert!(unbound.contains("its queue collects no more events"), "{unbound}");
}
