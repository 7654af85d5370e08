//! Building plugins of every language, with that language's tools.

use std::path::Path;
use std::process::{Command, Stdio};

use mo_router::scaffold::{self, Language};

use super::plugins;

/// The exit status of a tool script that says: these tools cannot be had.
const SKIP: i32 = 77;

/// Whether there are tools to build plugins in this language.
pub fn has_tools(language: &str) -> bool {
    let script = format!("{}/deploy/dev/tools-{language}.sh", env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(&script).stdout(Stdio::null()).status().expect("the script runs");
    if status.code() == Some(SKIP) {
        eprintln!("SKIPPED plugins in {language}: the reason is above");
        return false;
    }
    assert!(status.success(), "{script}: {status}");
    true
}

/// Builds the plugin in this folder, runs its unit tests, and reads it.
pub fn build(folder: &Path) -> Vec<u8> {
    make(folder, &["all"]);
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a folder with a name");
    let file = folder.join("build").join(name).with_extension("wasm");
    let plugin = std::fs::read(file).expect("a built plugin");
    plugins::compile(&plugin);
    make(folder, &["test"]);
    plugin
}

/// Rust's packages are compiled once for all projects: those in Rust have different names.
const PACKAGES: &str = concat!("CARGO_TARGET_DIR=", env!("CARGO_TARGET_TMPDIR"), "/projects");

/// Runs make in a folder, which succeeds.
pub fn make(folder: &Path, arguments: &[&str]) {
    let output = Command::new("make")
        .arg(PACKAGES)
        .args(arguments)
        .current_dir(folder)
        .env("MO_ROUTER", env!("CARGO_BIN_EXE_mo-router"))
        .env("MO_ROUTER_PLUGINS_CACHE_DIR", plugins::CODE)
        .env_remove("MAKEFLAGS") // of the `make` that runs these tests
        .output()
        .expect("make runs");
    let shown = folder.display();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "make in {shown}:\n{}", String::from_utf8_lossy(&said));
}

/// The languages whose tools can be had, with their names.
#[allow(dead_code, reason = "the benchmarks do, the tests do not")]
pub fn all() -> Vec<(&'static str, Language)> {
    let all = [
        ("C", "c", Language::C),
        ("Zig", "zig", Language::Zig),
        ("Rust", "rust", Language::Rust),
        ("C++", "zig", Language::Cpp),
        ("Go", "go", Language::Go),
        ("Python", "python", Language::Python),
        ("JavaScript", "javascript", Language::JavaScript),
        ("TypeScript", "javascript", Language::TypeScript),
    ];
    let to_be_had = |tools: &str| tools == "rust" || has_tools(tools);
    all.into_iter()
        .filter(|(_, tools, _)| to_be_had(tools))
        .map(|(name, _, language)| (name, language))
        .collect()
}

/// A new project of this language, changed by `edit` and built.
pub fn project(language: Language, edit: impl FnOnce(&Path)) -> Vec<u8> {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = scaffold::write("new-plugin", language, parent.path()).expect("a new project");
    edit(&folder);
    make(&folder, &["all"]);
    std::fs::read(folder.join("build/new-plugin.wasm")).expect("a built plugin")
}
