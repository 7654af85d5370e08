//! What is built is what was written, wherever its sources lie and whatever was built before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mo_router::scaffold::{self, Language};

/// Runs make in a folder, which succeeds, as somebody has set up the machine; gives what it says.
fn make(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new("make")
        .args(arguments)
        .current_dir(folder)
        .env_remove("MAKEFLAGS") // of the `make` that runs these tests
        .envs(environment.iter().copied())
        .output()
        .expect("make runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "make in {}:\n{said}", folder.display());
    said
}

fn contains(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|part| part == text.as_bytes())
}

/// A crate that says a word, and is compiled at once: without packages.
fn speaking(parent: PathBuf, word: &str) -> PathBuf {
    fs::create_dir(&parent).expect("a folder");
    let folder = scaffold::write("own", Language::Rust, &parent).expect("a new project");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("it is there");
    let without_packages: Vec<&str> =
        manifest.lines().filter(|line| !line.starts_with("wit-bindgen")).collect();
    fs::write(folder.join("Cargo.toml"), without_packages.join("\n")).expect("written");
    let source = format!(
        "#[unsafe(no_mangle)]\npub extern \"C\" fn word() -> *const u8 {{\n    {word:?}.as_ptr()\n}}\n"
    );
    fs::write(folder.join("src/lib.rs"), source).expect("written");
    folder
}

#[test]
fn two_checkouts_of_a_plugin_in_rust_are_built_in_one_folder_each_for_itself() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let target = parent.path().join("target").display().to_string();
    let words = ["what is said in one", "what is said in the other"];
    let checkouts = [("a", words[0]), ("b", words[1])]
        .map(|(name, word)| speaking(parent.path().join(name), word));
    // The first one again, unchanged.
    for at in [0, 1, 0] {
        make(&checkouts[at], &["all"], &[("CARGO_TARGET_DIR", &target)]);
        let plugin = fs::read(checkouts[at].join("build/own.wasm")).expect("a built plugin");
        assert!(contains(&plugin, words[at]) && !contains(&plugin, words[1 - at]), "{at}");
    }
}
