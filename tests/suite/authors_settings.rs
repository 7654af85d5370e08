//! A plugin that asks for all of its settings (`tests/authors/copies`): its unit tests set them, in
//! each language, and in the sandbox it gets those of the router.

use std::fs;

use mo_router::event::Publication;
use mo_router::scaffold::Language;

use crate::languages::route;
use crate::support::languages::{has_tools, make};
use crate::support::reminder::laid_over;

/// Runs its unit tests.
fn tested(language: Language) -> tempfile::TempDir {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = laid_over("copies", language, parent.path());
    make(&folder, &["unit-test"]);
    parent
}

/// Runs its unit tests, and itself. It sends an event to the routing key of each setting `copy-…`, in
/// the order of these.
async fn tested_and_run(language: Language) {
    let parent = tested(language);
    let folder = parent.path().join("copies");
    make(&folder, &["all"]);
    let plugin = fs::read(folder.join("build/copies.wasm")).expect("a built plugin");
    let copy =
        |key: &&str| Publication { routing_key: Some((*key).to_owned()), ..Publication::default() };
    let settings = [("copy-b", "two"), ("other", ""), ("copy-a", "one")];
    for (config, copies) in [(&[][..], &[][..]), (&settings, &["one", "two"])] {
        let copies = copies.iter().map(copy).collect();
        let answer = route(&plugin, config, "employee.it.edit").await;
        assert_eq!(answer, Ok(copies), "{language:?}");
    }
}

#[tokio::test]
async fn all_settings_in_rust() {
    tested_and_run(Language::Rust).await;
}

#[tokio::test]
async fn all_settings_in_go() {
    if has_tools("go") {
        tested_and_run(Language::Go).await;
    }
}

#[tokio::test]
async fn all_settings_in_c() {
    if has_tools("c") {
        tested_and_run(Language::C).await;
    }
}

#[tokio::test]
async fn all_settings_in_cpp_and_zig() {
    if has_tools("zig") {
        tested_and_run(Language::Cpp).await;
        tested_and_run(Language::Zig).await;
    }
}

/// In the sandbox, `authors_python` asks for them.
#[test]
fn all_settings_in_python() {
    if has_tools("python") {
        tested(Language::Python);
    }
}

/// In the sandbox, both are the same.
#[tokio::test]
async fn all_settings_in_javascript_and_typescript() {
    if has_tools("javascript") {
        tested_and_run(Language::JavaScript).await;
        tested(Language::TypeScript);
    }
}
