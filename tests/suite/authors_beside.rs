//! Plugins that are built from more than their own folder: what lies beside it is built when it
//! changes, and part of the commit that the plugin's file names.

use std::fs;
use std::path::{Path, PathBuf};

use mo_router::scaffold::{self, Language};

use crate::authors::says;
use crate::authors_builds::{make, put, replace, run_make};
use crate::authors_origin::git;
use crate::support::languages::has_tools;

/// What is made in a plugin's folder, and changes with what lies beside it.
const KEY: &str = "build/key";
const PLUGIN: &str = "build/own.wasm";

/// A repository with the plugin `own`, and what it is built from beside it.
struct Repository {
    parent: tempfile::TempDir,
    language: Language,
}

impl Repository {
    /// A new project, and files in `shared/`.
    fn new(language: Language, shared: &[(&str, &str)]) -> Self {
        let parent = tempfile::tempdir().expect("a temporary folder");
        scaffold::write("own", language, parent.path()).expect("a new project");
        for (path, content) in shared {
            put(parent.path().join("shared").join(path), content);
        }
        git(parent.path(), &["init", "-q"]);
        Self { parent, language }
    }

    fn own(&self) -> PathBuf {
        self.parent.path().join("own")
    }

    fn shared(&self, path: &str) -> PathBuf {
        self.parent.path().join("shared").join(path)
    }

    fn commit(&self) -> String {
        git(self.parent.path(), &["add", "-A"]);
        git(self.parent.path(), &["commit", "-qm", "more"]);
        git(self.parent.path(), &["rev-parse", "HEAD"])
    }

    /// Makes one of the two, and reads it, and what the plugin's file says of its commit. The key
    /// stands for a plugin that takes half a minute to build.
    fn made(&self, what: &str) -> (Vec<u8>, String) {
        let target = self.parent.path().join("target").display().to_string();
        let environment = [("CARGO_TARGET_DIR", &*target)];
        make(&self.own(), &[what], &environment);
        if what == KEY {
            let arguments = ["-o", "build/parts/plugin.wasm", "build/origin"];
            make(&self.own(), &arguments, &environment);
        }
        let origin = fs::read_to_string(self.own().join("build/origin")).expect("written");
        let revision = origin.lines().find_map(|line| line.strip_prefix("revision "));
        let content = fs::read(self.own().join(what)).expect("built");
        (content, revision.unwrap_or_default().to_owned())
    }

    /// A change of this file, in which `first` becomes `other`, is built and known.
    fn follows(&self, what: &str, file: &str) {
        let language = self.language;
        put(self.parent.path().join(".gitignore"), "/target/\n");
        let commit = self.commit();
        let (first, clean) = self.made(what);
        assert_eq!(clean, commit, "{language:?}");
        // Whatever else is in the repository, and what is told of it.
        put(self.parent.path().join("elsewhere"), "");
        put(self.shared("README.md"), "");
        self.commit();
        assert_eq!(self.made(what), (first.clone(), commit.clone()), "{language:?}");

        replace(&self.shared(file), "first", "other");
        let (second, dirty) = self.made(what);
        assert_ne!(second, first, "{language:?}");
        assert_eq!(dirty, format!("{commit}-dirty"), "{language:?}");
        let commit = self.commit();
        assert_eq!(self.made(what).1, commit, "{language:?}");
    }
}

#[test]
fn a_crate_beside_a_plugin_in_rust() {
    let manifest = "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let source = "pub const WORD: &str = \"first\";\n";
    let repository =
        Repository::new(Language::Rust, &[("Cargo.toml", manifest), ("src/lib.rs", source)]);
    let manifest = fs::read_to_string(repository.own().join("Cargo.toml")).expect("it is there");
    let without: Vec<&str> =
        manifest.lines().filter(|line| !line.starts_with("wit-bindgen")).collect();
    let with = without
        .join("\n")
        .replace("[dependencies]", "[dependencies]\nwords = { path = \"../shared\" }");
    put(repository.own().join("Cargo.toml"), &with);
    let plugin = "#[unsafe(no_mangle)]\npub extern \"C\" fn word() -> *const u8 {\n    words::WORD.as_ptr()\n}\n";
    put(repository.own().join("src/lib.rs"), plugin);
    // Cargo writes its Cargo.lock.
    repository.made(PLUGIN);
    repository.follows(PLUGIN, "src/lib.rs");
}

#[test]
fn a_module_beside_a_plugin_in_go() {
    if !has_tools("go") {
        return;
    }
    let shared = [
        ("go.mod", "module example.org/words\n\ngo 1.25\n"),
        ("words.go", "package words\n\nfunc Word() string { return \"first\" }\n"),
        ("words_test.go", "package words\n"),
    ];
    let repository = Repository::new(Language::Go, &shared);
    let own = repository.own();
    replace(&own.join("filter/filter.go"), "import (", "import (\n\t\"example.org/words\"");
    replace(&own.join("filter/filter.go"), "\"skip\", \"refresh\"", "words.Word(), \"refresh\"");
    let manifest = fs::read_to_string(own.join("go.mod")).expect("it is there");
    let replaced = "\nrequire example.org/words v0.0.0\n\nreplace example.org/words => ../shared\n";
    put(own.join("go.mod"), &(manifest + replaced));
    repository.follows(PLUGIN, "words.go");
    // Its tests are no part of the plugin.
    put(repository.shared("words_test.go"), "package words\n\n// More.\n");
    assert!(!repository.made(PLUGIN).1.ends_with("-dirty"));
}

#[test]
fn headers_beside_a_plugin_in_c_and_cpp() {
    for (tools, language, file) in
        [("c", Language::C, "plugin.c"), ("zig", Language::Cpp, "plugin.cpp")]
    {
        if !has_tools(tools) {
            continue;
        }
        let shared = [
            ("all words/words.h", "#include \"word.h\"\n"),
            ("all words/word.h", "#define WORD \"first\"\n"),
        ];
        let repository = Repository::new(language, &shared);
        let own = repository.own();
        let plugin = fs::read_to_string(own.join(file)).expect("it is there");
        let word = "#include \"words.h\"\nextern const char *const word;\nconst char *const word = WORD;\n";
        let exported =
            "__attribute__((export_name(\"word\"))) const char *said(void) { return word; }\n";
        let extern_c = if language == Language::Cpp { "extern \"C\" " } else { "" };
        put(own.join(file), &format!("{word}{extern_c}{exported}{plugin}"));
        let makefile = fs::read_to_string(own.join("Makefile")).expect("it is there");
        put(own.join("Makefile"), &(makefile + "INCLUDES += -I'../shared/all words'\n"));
        repository.follows(PLUGIN, "all words/word.h");
    }
}

#[test]
fn a_package_beside_a_plugin_in_zig() {
    if !has_tools("zig") {
        return;
    }
    let build = "const std = @import(\"std\");\n\npub fn build(b: *std.Build) void {\n    \
        _ = b.addModule(\"words\", .{ .root_source_file = b.path(\"words.zig\") });\n}\n";
    let manifest = ".{\n    .name = .words,\n    .version = \"0.1.0\",\n    \
        .fingerprint = 0x717d1e8c876a01a0,\n    .paths = .{\"\"},\n}\n";
    let shared = [
        ("build.zig", build),
        ("build.zig.zon", manifest),
        ("words.zig", "pub const word = \"first\";\n"),
    ];
    let repository = Repository::new(Language::Zig, &shared);
    let own = repository.own();
    let dependency = ".dependencies = .{ .words = .{ .path = \"../shared\" } }";
    replace(&own.join("build.zig.zon"), ".dependencies = .{}", dependency);
    let import = "module.addImport(\"words\", b.dependency(\"words\", .{}).module(\"words\"));";
    replace(&own.join("build.zig"), "    _ = b;\n    _ = module;\n", &format!("    {import}\n"));
    replace(
        &own.join("src/plugin.zig"),
        "router.setting(arena, \"skip\")",
        "router.setting(arena, @import(\"words\").word)",
    );
    repository.follows(PLUGIN, "words.zig");
}

#[test]
fn a_package_beside_a_plugin_in_javascript() {
    if !has_tools("javascript") {
        return;
    }
    let shared = [
        (
            "package.json",
            "{ \"name\": \"words\", \"version\": \"1.0.0\", \"type\": \"module\", \"main\": \"words.js\" }",
        ),
        ("words.js", "export const word = 'first';\n"),
    ];
    let repository = Repository::new(Language::JavaScript, &shared);
    let own = repository.own();
    replace(
        &own.join("package.json"),
        "\"private\": true,",
        "\"private\": true,\n  \"dependencies\": { \"words\": \"file:../shared\" },",
    );
    let plugin = fs::read_to_string(own.join("plugin.js")).expect("it is there");
    let import = "import { word } from 'words';\nconsole.log(word);\n";
    put(own.join("plugin.js"), &format!("{import}{plugin}"));
    // `npm install` writes it.
    make(&own, &[KEY], &[]);
    repository.follows(KEY, "words.js");
}

#[test]
fn a_package_beside_a_plugin_in_python() {
    if !has_tools("python") {
        return;
    }
    let shared = [
        (
            "pyproject.toml",
            "[project]\nname = \"words\"\nversion = \"1\"\n\n[tool.setuptools]\npy-modules = [\"words\"]\n",
        ),
        ("words.py", "WORD = \"first\"\n"),
    ];
    let repository = Repository::new(Language::Python, &shared);
    put(repository.own().join("requirements.txt"), "-e ../shared\n");
    let (made, said) = run_make(&repository.own(), &[KEY], &[]);
    assert!(!made, "{said}");
    says(&said, &["requirements.txt: words-1", "name its folder without -e"]);
    put(repository.own().join("requirements.txt"), "../shared\n");
    // Nothing is written beside, which would be another package at each build.
    make(&repository.own(), &[KEY], &[]);
    let files = |folder: &Path| fs::read_dir(folder).expect("a folder").count();
    assert_eq!(files(&repository.shared("")), shared.len());
    let again = make(&repository.own(), &[KEY], &[]);
    assert!(!again.contains("installing"), "{again}");
    repository.follows(KEY, "words.py");
}

/// What no tool tells, the Makefile does.
#[test]
fn what_a_makefile_names_lies_beside_too() {
    if !has_tools("c") {
        return;
    }
    let repository = Repository::new(Language::C, &[("words.txt", "first\n")]);
    let makefile = fs::read_to_string(repository.own().join("Makefile")).expect("it is there");
    let more = "BESIDE := ../shared\nCFLAGS += -DWORD=$(shell cat ../shared/words.txt)\n";
    put(repository.own().join("Makefile"), &(makefile + more));
    let plugin = fs::read_to_string(repository.own().join("plugin.c")).expect("it is there");
    let exported = "#define TEXT(word) #word\n#define AS_TEXT(word) TEXT(word)\n\
        __attribute__((export_name(\"word\"))) const char *said(void) { return AS_TEXT(WORD); }\n";
    put(repository.own().join("plugin.c"), &format!("{exported}{plugin}"));
    repository.follows(PLUGIN, "words.txt");
}
