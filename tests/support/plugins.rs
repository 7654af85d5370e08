//! Plugins made of a few lines of WebAssembly text, and a host to load them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use mo_router::clock::Clock;
use mo_router::event::{Event, Incoming};
use mo_router::plugins::{Host, Plugin, PluginFile};
use mo_router::settings::{PluginSettings, Settings};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// Where the routers and commands of the tests keep compiled code.
pub const CODE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/code");

/// A plugin in `tests/hostile`, built.
pub fn hostile(name: &str) -> Vec<u8> {
    let text = hostile_text(name);
    match text.lines().any(|line| line.starts_with("(component")) {
        true => text.into_bytes(),
        false => build(&text),
    }
}

/// The text of a plugin in `tests/hostile`.
pub fn hostile_text(name: &str) -> String {
    let path = format!("{}/tests/hostile/{name}.wat", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A plugin that forwards each event with a header `stamp`.
pub fn stamped(stamp: &str) -> Vec<u8> {
    assert!(stamp.len() < 10, "{stamp:?} is too long");
    // The list of headers in the publication at 8192, its one header, and their texts.
    let header = format!(
        r#"(data (i32.const 8228) "\d0\20\00\00\01\00\00\00")
           (data (i32.const 8400) "\00\21\00\00\05\00\00\00\10\21\00\00\0{}\00\00\00")
           (data (i32.const 8448) "stamp")
           (data (i32.const 8464) "{stamp}")
           (func (export "os2mo:router/filter@1.0.0#route")"#,
        stamp.len()
    );
    let text = hostile_text("well-behaved");
    build(&text.replace("(func (export \"os2mo:router/filter@1.0.0#route\")", &header))
}

/// The same plugin, whose file is told from others' by a mark: a custom section
/// at its end.
#[allow(dead_code, reason = "the benchmarks do, the tests do not")]
pub fn marked(plugin: &[u8], mark: u32) -> Vec<u8> {
    const SECTION: [u8; 6] = [0, 8, 3, b'm', b'r', b'k'];
    [plugin, &SECTION, &mark.to_le_bytes()].concat()
}

/// A core module in text, told that it is a plugin, as wit-bindgen would.
pub fn build(text: &str) -> Vec<u8> {
    build_for(text, "plugin", &[])
}

/// A core module in text, told which world it is of: one of the last of
/// `packages`, which come beside the router's, or else of the router's own.
pub fn build_for(text: &str, world: &str, packages: &[&str]) -> Vec<u8> {
    embed(text, world, &interface(), packages)
}

/// A core module in text, told that it is a plugin of another version of the interface.
pub fn build_version(text: &str, version: &str) -> Vec<u8> {
    let other = |text: &str| text.replace("@1.0.0", &format!("@{version}"));
    embed(&other(text), "plugin", &other(&interface()), &[])
}

fn interface() -> String {
    std::fs::read_to_string(wit().join("router.wit")).expect("the router's interface")
}

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")
}

fn embed(text: &str, world: &str, interface: &str, packages: &[&str]) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("the text is WebAssembly");
    let mut resolve = Resolve::default();
    for package in ["wasi-logging", "wasi-config"] {
        resolve.push_dir(wit().join("deps").join(package)).expect("what the interface needs");
    }
    let mut package = resolve.push_str("router.wit", interface).expect("the interface");
    for text in packages {
        package = resolve.push_str("test.wit", text).expect("a WIT package");
    }
    let world = resolve.select_world(&[package], Some(world)).expect("the world is in the package");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the world can be embedded");
    module
}

/// The default settings of a plugin, but a minute for each call: no plugin is slow
/// because the machine is.
pub fn settings() -> PluginSettings {
    let mut settings = Settings::default().of_plugin("test");
    settings.limits.timeout = Duration::from_secs(60);
    settings
}

/// A host without a cache, on the system's clock.
pub fn host() -> Arc<Host> {
    Arc::new(Host::new(None, Clock::system()).expect("WebAssembly runs here"))
}

/// A host that compiles into the folder where the tests' routers look for code. They compile in a
/// process that gives way to all others: on a busy machine that takes longer than a test waits.
pub fn compiling_host() -> Arc<Host> {
    Arc::new(Host::new(Some(CODE.into()), Clock::system()).expect("WebAssembly runs here"))
}

/// Compiles a plugin before a router of the tests gets it, for the same reason.
pub fn compile(plugin: &[u8]) {
    let bytes = plugin.to_vec();
    // The caller's own runtime, if it has one, cannot be waited for here.
    let compiling = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let loaded = runtime.block_on(load_on(&compiling_host(), bytes, &settings()));
        // The router will say what is wrong with it.
        drop(loaded);
    });
    compiling.join().unwrap();
}

/// Loads what could be a file's content.
pub async fn load(bytes: Vec<u8>, settings: &PluginSettings) -> Result<Arc<Plugin>> {
    load_on(&host(), bytes, settings).await
}

/// Loads what could be a file's content.
pub async fn load_on(
    host: &Arc<Host>,
    bytes: Vec<u8>,
    settings: &PluginSettings,
) -> Result<Arc<Plugin>> {
    let source = PluginFile::new("test".into(), "plugins/test.wasm".into(), bytes.into());
    host.load(source, settings).await
}

/// An event as MO sends it.
pub fn event() -> Event {
    event_of("employee.it.create")
}

/// The same with another routing key.
pub fn event_of(routing_key: &str) -> Event {
    let body =
        r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2024-07-01T00:00:00+02:00"}"#;
    let message = Incoming {
        exchange: "os2mo_queue".into(),
        routing_key: routing_key.into(),
        body: body.into(),
        ..Incoming::default()
    };
    Event::parse(message, chrono_tz::UTC).expect("an event of MO")
}

/// The plugin that does what its settings say.
pub fn scripted() -> PathBuf {
    built(Path::new("tests/plugins/scripted"))
}

/// A plugin with a Makefile in a folder of the repository, built: once, and one at a time, since
/// two that build one folder are in each other's way.
pub fn built(folder: &Path) -> PathBuf {
    static BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(&folder) {
        let make =
            std::process::Command::new("make").args(["--silent", "-C"]).arg(&folder).output();
        let output = make.expect("make runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "the plugin in {} cannot be built: {said}",
            folder.display()
        );
        built.insert(folder.clone());
    }
    let name = folder.file_name().expect("the folder has a name").display();
    folder.join(format!("build/{name}.wasm"))
}
