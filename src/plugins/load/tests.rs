use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::clock::Clock;
use crate::event::{Event, Incoming};
use crate::plugins::file::tests::{MOST_OF_IT, ROOMY, file};
use crate::plugins::instance::tests::built;
use crate::settings::{LogLevel, Settings};

#[tokio::test]
async fn what_waits_for_a_compiler_holds_up_no_other_file() {
    let _all = ROOMY.lock().await;
    let host = Arc::new(Host::new(None, Clock::system()).unwrap());
    let settings = Settings::default().of_plugin("test");
    let compilers = COMPILING.acquire_many(2).await.unwrap();
    let (_dir, mut found) = file(b"no plugin");
    found.size = MOST_OF_IT;
    let mut waits = Box::pin(host.load(found.clone().read().await.unwrap(), &settings));
    let other = tokio::select! {
        _ = &mut waits => panic!("it is not compiled yet"),
        other = found.read() => other.unwrap(),
    };
    drop((other, compilers));
    let error = format!("{:#}", waits.await.err().unwrap());
    assert!(error.contains("the file is text, but not WebAssembly text"), "{error}");
}

#[tokio::test]
async fn a_plugin_takes_other_settings_without_its_file_and_moves_where_they_want_it() {
    let cache = tempfile::tempdir().unwrap();
    for cache in [None, Some(cache.path().to_owned())] {
        let has_cache = cache.is_some();
        let host = Arc::new(Host::new(cache, Clock::system()).unwrap());
        let kept = Settings::default().of_plugin("test");
        let bytes = crate::plugins::instance::tests::module().into();
        let file = PluginFile::new("test".into(), "/nowhere/test.wasm".into(), bytes);
        let plugin = host.load(file, &kept).await.unwrap();
        let fresh = PluginSettings { instance: InstanceMode::Fresh, ..kept.clone() };
        let moved = host.with_settings(&plugin, &fresh).await.unwrap();
        assert!(moved.mode == InstanceMode::Fresh && moved.subscriptions == ["#"]);
        assert_eq!(!Arc::ptr_eq(&moved.homes, &plugin.homes), has_cache);
        assert!(moved.instantiate().await.is_ok());
        let mut small = kept;
        small.limits.memory = 1;
        let error = host.with_settings(&plugin, &small).await.err().unwrap();
        let error = format!("{error:#}");
        let names = "plugin test (/nowhere/test.wasm) with new settings: ";
        assert!(error.starts_with(names) && error.contains("memory"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn new_settings_leave_one_thread_to_a_cache_that_hangs() {
    let cache = tempfile::tempdir().unwrap();
    let host = Arc::new(Host::new(Some(cache.path().to_owned()), Clock::system()).unwrap());
    let kept = Settings::default().of_plugin("test");
    let bytes = crate::plugins::instance::tests::module().into();
    let file = PluginFile::new("test".into(), "/nowhere/test.wasm".into(), bytes);
    let plugin = host.load(file, &kept).await.unwrap();
    let code = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&code).unwrap();
    // It takes nothing until somebody reads.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &code, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let fresh = PluginSettings { instance: InstanceMode::Fresh, ..kept };
    let (moved, ()) = tokio::join!(host.with_settings(&plugin, &fresh), advance(SLOW));
    assert!(Arc::ptr_eq(&moved.unwrap().homes, &plugin.homes), "it stays where it is");
    let asked = Arc::new(AtomicBool::new(false));
    let is_asked = Arc::clone(&asked);
    let second = host.asking.answer_within(SLOW, move || is_asked.store(true, Relaxed));
    assert_eq!(tokio::join!(second, advance(SLOW)).0, None);
    let mut reads = std::fs::File::options();
    let _reader = reads.read(true).custom_flags(libc::O_NONBLOCK).open(&code).unwrap();
    assert_eq!(host.asking.answer_within(SLOW, || 7).await, Some(7));
    assert!(!asked.load(Relaxed), "two threads asked");
}

#[tokio::test]
async fn settings_that_are_refused_change_no_log_level() {
    let host = Arc::new(Host::new(None, Clock::system()).unwrap());
    let quiet =
        PluginSettings { log_level: Some(LogLevel::Off), ..Settings::default().of_plugin("test") };
    // With the end of the line: it is as long as before.
    let text = include_str!("../../../tests/hostile/last-words.wat").replace("id 7", r"id\0a");
    let bytes = built(&text).into();
    let file = PluginFile::new("test".into(), "/nowhere/test.wasm".into(), bytes);
    let plugin = host.load(file, &quiet).await.unwrap();
    let body = r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60"}"#.into();
    let message =
        Incoming { routing_key: "employee.it.create".into(), body, ..Incoming::default() };
    let event = Event::parse(message, chrono_tz::UTC).unwrap();
    let lines_of = async |plugin: &Arc<Plugin>| {
        assert!(plugin.instance().route(&event, 1).await.is_err(), "it traps");
        host.recent_lines("test", 0, Duration::ZERO).await.unwrap().lines.len()
    };
    let loud = PluginSettings { log_level: Some(LogLevel::Warn), ..quiet.clone() };
    let mut refused = loud.clone();
    refused.limits.memory = 1;
    assert!(host.with_settings(&plugin, &refused).await.is_err());
    assert_eq!(lines_of(&plugin).await, 0);
    let plugin = host.with_settings(&plugin, &loud).await.unwrap();
    assert_eq!(lines_of(&plugin).await, 1);
}
