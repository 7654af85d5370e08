//! What is built is what was written, wherever its sources lie and whatever was built before.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mo_router::scaffold::{self, Language};

use crate::authors::{append, contains, says};
use crate::support::languages::has_tools;

/// Runs make in a folder, which succeeds, as somebody has set up the machine; gives what it says.
pub fn make(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let (made, said) = run_make(folder, arguments, environment);
    assert!(made, "make in {}:\n{said}", folder.display());
    said
}

/// Whether make succeeds, and what it says.
pub fn run_make(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new("make")
        .args(arguments)
        .current_dir(folder)
        .env_remove("MAKEFLAGS") // of the `make` that runs these tests
        .envs(environment.iter().copied())
        .output()
        .expect("make runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
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

/// Changes a file's text, which is there once.
pub fn replace(path: &Path, old: &str, new: &str) {
    let content = fs::read_to_string(path).expect("it is there");
    assert_eq!(content.matches(old).count(), 1, "{old:?} in {}", path.display());
    fs::write(path, content.replace(old, new)).expect("written");
}

/// What was built under the old name is still there.
#[test]
fn a_crate_in_rust_that_is_called_otherwise_is_refused() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let target = parent.path().join("target").display().to_string();
    let environment = [("CARGO_TARGET_DIR", &*target)];
    let folder = speaking(parent.path().join("a"), "what is said at first");
    let built = || fs::read(folder.join("build/own.wasm")).expect("a built plugin");
    let manifest = folder.join("Cargo.toml");
    make(&folder, &["all"], &environment);

    replace(&manifest, "name = \"own\"", "name = \"renamed\"");
    replace(&folder.join("src/lib.rs"), "at first", "now");
    let (made, said) = run_make(&folder, &["all"], &environment);
    assert!(!made, "{said}");
    says(&said, &["cargo has not written", "release/own.wasm", "must be called own", "cdylib"]);

    // The library may have the plugin's name instead.
    replace(&manifest, "[lib]", "[lib]\nname = \"own\"");
    make(&folder, &["all"], &environment);
    assert!(contains(&built(), "what is said now"));
    // Unchanged, cargo builds nothing, and it is there all the same.
    make(&folder, &["all"], &environment);
    assert!(contains(&built(), "what is said now"));
}

#[test]
fn paths_may_have_a_space_and_versions_single_quotes() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = speaking(parent.path().join("a"), "what is said");
    replace(&folder.join("Cargo.toml"), "version = \"0.1.0\"", "version = '1.2.3'");
    let router = parent.path().join("my programs/mo-router");
    put(router.clone(), "#!/bin/sh\necho the cases are run: \"$@\"\n");
    fs::set_permissions(&router, fs::Permissions::from_mode(0o755)).expect("a program");
    let plugins = parent.path().join("my plugins");
    let environment = [
        ("MO_ROUTER", &*router.display().to_string()),
        ("PLUGINS_DIR", &*plugins.display().to_string()),
    ];
    says(&make(&folder, &["cases"], &environment), &["the cases are run: plugin test ."]);
    for said in ["installed own in ", "is up to date"] {
        says(&make(&folder, &["install"], &environment), &[said]);
    }
    let installed = fs::read(plugins.join("own.wasm")).expect("an installed plugin");
    assert!(contains(&installed, "1.2.3"));
}

#[test]
fn cases_are_run_in_either_form_and_it_is_said_if_there_are_none() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = speaking(parent.path().join("a"), "what is said");
    let router = parent.path().join("mo-router");
    put(router.clone(), "#!/bin/sh\necho a case fails: \"$@\"\nexit 1\n");
    fs::set_permissions(&router, fs::Permissions::from_mode(0o755)).expect("a program");
    let environment = [("MO_ROUTER", &*router.display().to_string())];
    let [toml, json] = ["toml", "json"].map(|form| folder.join(format!("own.cases.{form}")));
    for cases in [&toml, &json] {
        let (made, said) = run_make(&folder, &["cases"], &environment);
        assert!(!made && said.contains("a case fails: plugin test ."), "{cases:?}:\n{said}");
        if cases == &toml {
            fs::rename(&toml, &json).expect("renamed");
        }
    }
    fs::remove_file(json).expect("removed");
    says(&make(&folder, &["cases"], &environment), &["there are no cases: neither own.cases.toml"]);
}

#[test]
fn packages_in_javascript_that_were_removed_are_installed_again() {
    if !has_tools("javascript") {
        return;
    }
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = scaffold::write("own", Language::JavaScript, parent.path()).expect("a project");
    make(&folder, &["build/packages"], &[]);
    assert!(!folder.join("node_modules").exists());
    put(folder.join("words/package.json"), "{ \"name\": \"words\", \"version\": \"1.0.0\" }");
    put(folder.join("package.json"), "{ \"dependencies\": { \"words\": \"file:words\" } }");
    for _ in 0..2 {
        make(&folder, &["build/packages"], &[]);
        assert!(folder.join("node_modules/words/package.json").exists());
        fs::remove_dir_all(folder.join("node_modules")).expect("removed");
    }
}

/// What a script of `deploy/dev` prints in a folder.
fn printed(script: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/dev").join(script);
    let output = Command::new(&script).current_dir(folder).output().expect("it runs");
    assert!(output.status.success(), "{script:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Writes a file, with the folders above it.
pub fn put(path: PathBuf, content: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("written");
}

/// What a plugin in Python may be built from: what its build is not told of, it does not see.
#[test]
fn files_that_are_linked_to_and_folders_of_any_name_are_sources() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("own");
    for file in ["plugin.py", "plugins/one.py", "target/two.py", "src/build/three.py"] {
        put(folder.join(file), "");
    }
    for file in ["plugins/own.wasm", "build/own.wasm", "test_plugin.py", ".venv/four.py"] {
        put(folder.join(file), "");
    }
    put(parent.path().join("shared/word.py"), "first");
    for (path, target) in
        [("word.py", "../shared/word.py"), ("words", "../shared"), ("none", "gone")]
    {
        std::os::unix::fs::symlink(target, folder.join(path)).expect("a link");
    }
    let first = printed("inputs.sh", &folder);
    let mut files: Vec<&str> =
        first.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    files.sort_unstable();
    assert_eq!(
        files,
        [
            "./plugin.py",
            "./plugins/one.py",
            "./src/build/three.py",
            "./target/two.py",
            "./word.py",
            "./words/word.py",
        ]
    );
    put(parent.path().join("shared/word.py"), "second");
    assert_ne!(printed("inputs.sh", &folder), first);
}

#[test]
fn packages_in_python_follow_from_all_files_that_requirements_name() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("own");
    put(
        folder.join("requirements.txt"),
        "-r more/base.txt # ours\n./words\nother @ file:../other\n",
    );
    put(folder.join("more/base.txt"), "--constraint=../../constraints.txt\n-r base.txt\nattrs\n");
    let named = ["../constraints.txt", "words/words.py", "../other/pyproject.toml"];
    named.iter().for_each(|file| put(folder.join(file), "one"));
    let mut last = printed("python/requirements.sh", &folder);
    for file in ["more/base.txt"].iter().chain(&named) {
        append(&folder.join(file), "# More.\n");
        let now = printed("python/requirements.sh", &folder);
        assert_ne!(now, last, "{file}");
        last = now;
    }
    // What Python has compiled of them follows from them.
    put(folder.join("words/__pycache__/words.cpython-314.pyc"), "compiled");
    assert_eq!(printed("python/requirements.sh", &folder), last);
    fs::remove_file(folder.join("requirements.txt")).expect("removed");
    assert_eq!(printed("python/requirements.sh", &folder), "");
}

/// A laptop in Denmark, and the sandbox, which has UTC alone.
#[test]
fn unit_tests_have_the_time_zone_of_the_sandbox() {
    let tests = [
        ("python", Language::Python, "test_plugin.py", PYTHON_TEST),
        ("javascript", Language::JavaScript, "plugin.test.js", JAVASCRIPT_TEST),
        ("c", Language::C, "plugin_test.c", C_TEST),
    ];
    for (tools, language, path, test) in tests {
        if !has_tools(tools) {
            continue;
        }
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = scaffold::write("own", language, parent.path()).expect("a new project");
        fs::write(folder.join(path), test).expect("written");
        make(&folder, &["unit-test"], &[("TZ", "Europe/Copenhagen")]);
    }
}

const PYTHON_TEST: &str = r"
import unittest
from datetime import datetime


class TimeTest(unittest.TestCase):
    def test_it_is_utc(self) -> None:
        self.assertEqual(datetime.fromtimestamp(1_782_864_000).hour, 0)
";

/// And what there is not in the sandbox, though it imports nothing of the router's.
const JAVASCRIPT_TEST: &str = r"
import assert from 'node:assert/strict';
import { test } from 'node:test';

test('it is UTC', () => assert.equal(new Date(1782864000000).getHours(), 0));

test('there is no network', () => {
  assert.throws(() => fetch('http://localhost'), /a plugin has no network/);
});

test('there are no languages', () => {
  assert.equal(typeof Intl, 'undefined');
  assert.throws(() => (1234.5).toLocaleString('da'), /a plugin has no Intl/);
  assert.throws(() => [1234n].toLocaleString(), /a plugin has no Intl/);
  assert.equal('i'.toLocaleUpperCase('tr'), 'I');
  assert.equal('I'.toLocaleLowerCase('tr'), 'i');
});
";

const C_TEST: &str = r"
#undef NDEBUG
#include <assert.h>
#include <time.h>

int main(void) {
    time_t midnight = 1782864000;
    assert(localtime(&midnight)->tm_hour == 0);
    return 0;
}
";
