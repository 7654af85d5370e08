//! The recipes of docs/recipes.md, each put into a new project as the page says, built, and tested
//! by its cases.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use mo_router::scaffold::{self, Language};

use super::ROOT;
use crate::support::languages::{build, has_tools};
use crate::support::plugins;
use crate::support::router::ROUTER;

/// Where each language has the plugin, and the unit test of what was there before.
fn place(file: &str) -> (&'static str, &'static str, Option<&'static str>) {
    match file {
        "lib.rs" => ("rust", "src/lib.rs", None),
        "plugin.py" => ("python", "plugin.py", Some("test_plugin.py")),
        "plugin.js" => ("javascript", "plugin.js", Some("plugin.test.js")),
        "filter.go" => ("go", "filter/filter.go", Some("filter/filter_test.go")),
        "plugin.c" => ("c", "plugin.c", Some("plugin_test.c")),
        other => panic!("{other} is no recipe's file"),
    }
}

/// The folders of the recipes in a language.
fn recipes(language: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(ROOT).join("examples/recipes")).unwrap() {
        let folder = entry.unwrap().path();
        let files = std::fs::read_dir(&folder).unwrap();
        let mut files = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
        let file = files.find(|file| !file.contains(".cases.")).expect("a recipe has a plugin");
        if place(&file).0 == language {
            found.push((folder, file));
        }
    }
    found.sort();
    found
}

/// Builds and tests all recipes in a language.
fn cook(language: &str) {
    if language != "rust" && !has_tools(language) {
        return;
    }
    let all = recipes(language);
    assert!(!all.is_empty());
    for (folder, file) in all {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let parent = tempfile::tempdir().unwrap();
        let project =
            scaffold::write(name, Language::from_str(language, false).unwrap(), parent.path())
                .unwrap();
        let (_, path, unit_test) = place(&file);
        std::fs::copy(folder.join(&file), project.join(path)).unwrap();
        let cases = format!("{name}.cases.toml");
        std::fs::copy(folder.join(&cases), project.join(&cases)).unwrap();
        if let Some(unit_test) = unit_test {
            std::fs::remove_file(project.join(unit_test)).unwrap();
        }
        build(&project);
        let tested = Command::new(ROUTER)
            .args(["plugin", "test", "."])
            .current_dir(&project)
            .env("MO_ROUTER_PLUGINS_CACHE_DIR", plugins::CODE)
            .env("MO_ROUTER_LIMITS_TIMEOUT", "1min")
            .output()
            .unwrap();
        let said = [tested.stdout, tested.stderr].concat();
        assert!(tested.status.success(), "{name}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn rust() {
    cook("rust");
}

#[test]
fn python() {
    cook("python");
}

#[test]
fn javascript() {
    cook("javascript");
}

#[test]
fn go() {
    cook("go");
}

#[test]
fn c() {
    cook("c");
}

/// A recipe is on the page, and what is on the page is a recipe.
#[test]
fn all_are_on_the_page() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/recipes.md")).unwrap();
    for language in ["rust", "python", "javascript", "go", "c"] {
        for (folder, file) in recipes(language) {
            let name = folder.file_name().unwrap().to_str().unwrap();
            let note = format!("<!-- file: examples/recipes/{name}/{file} -->");
            assert!(page.contains(&note), "docs/recipes.md has no {note}");
        }
    }
}
