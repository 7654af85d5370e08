//! The files of a project in each language.

use super::language::Language;

/// The example that the Go bindings come from. They contain its name.
pub(super) const GO_EXAMPLE: &str = "merge-edits";

/// One file of a project.
pub(super) struct File {
    /// Its path in the project, with the placeholder too.
    pub(super) path: &'static str,
    /// Its content, with a placeholder for the plugin's name.
    pub(super) content: &'static [u8],
}

impl File {
    pub(super) fn is_script(&self) -> bool {
        self.path.ends_with(".sh")
    }
}

/// The files of a project, including those that all languages share.
pub(super) fn of(language: Language) -> impl Iterator<Item = &'static File> {
    let own: &[&[File]] = match language {
        Language::Rust => &[RUST],
        Language::Python => &[PYTHON],
        Language::JavaScript => &[JAVASCRIPT, JAVASCRIPT_TOOLS],
        Language::TypeScript => &[TYPESCRIPT, JAVASCRIPT_TOOLS],
        Language::Go => &[GO],
        Language::C => &[C, C_BINDINGS],
        Language::Cpp => &[CPP, C_BINDINGS, ZIG_TOOLS],
        Language::Zig => &[ZIG, C_BINDINGS, ZIG_TOOLS],
    };
    COMMON.iter().chain(own.iter().copied().flatten())
}

/// Embeds files of this repository: `path` in a project, `source` in the repository.
macro_rules! files {
    ($($path:literal: $source:literal,)*) => {
        &[$(File {
            path: $path,
            content: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $source)),
        }),*]
    };
}

const COMMON: &[File] = files![
    ".gitignore": "src/scaffold/templates/gitignore",
    "plugin-name.cases.toml": "src/scaffold/templates/cases.toml",
    "tools/packages.sh": "deploy/dev/packages.sh",
    "tools/plugin.mk": "deploy/dev/plugin.mk",
    "wit/deps/wasi-config/store.wit": "wit/deps/wasi-config/store.wit",
    "wit/deps/wasi-logging/logging.wit": "wit/deps/wasi-logging/logging.wit",
    "wit/router.wit": "wit/1.1.0/router.wit",
    "tools/beside.sh": "deploy/dev/beside.sh",
    "tools/left-out.sh": "deploy/dev/left-out.sh",
    "tools/origin.sh": "deploy/dev/origin.sh",
    "tools/stamp.sh": "deploy/dev/stamp.sh",
];

const RUST: &[File] = files![
    "Cargo.toml": "src/scaffold/templates/rust/manifest.toml",
    "Makefile": "src/scaffold/templates/rust/Makefile",
    "README.md": "src/scaffold/templates/rust/README.md",
    "src/lib.rs": "src/scaffold/templates/rust/src/lib.rs",
    "tools/rust-plugin.mk": "deploy/dev/rust-plugin.mk",
    "tools/rust-plugin.sh": "deploy/dev/rust-plugin.sh",
    "src/router.rs": "src/scaffold/templates/rust/src/router.rs",
];

const PYTHON: &[File] = files![
    "Makefile": "src/scaffold/templates/python/Makefile",
    "README.md": "src/scaffold/templates/python/README.md",
    "plugin.py": "src/scaffold/templates/python/plugin.py",
    "test_plugin.py": "src/scaffold/templates/python/test_plugin.py",
    "tools/ahead.sh": "deploy/dev/ahead.sh",
    "tools/inputs.sh": "deploy/dev/inputs.sh",
    "tools/once.sh": "deploy/dev/once.sh",
    "tools/python-plugin.mk": "deploy/dev/python-plugin.mk",
    "tools/tools-python.sh": "deploy/dev/tools-python.sh",
    "tools/tools.sh": "deploy/dev/tools.sh",
    "requirements.txt": "src/scaffold/templates/python/requirements.txt",
    "pyproject.toml": "src/scaffold/templates/python/pyproject.toml",
    "tools/python/build.sh": "deploy/dev/python/build.sh",
    "tools/python/componentize.sh": "deploy/dev/python/componentize.sh",
    "tools/python/mo_router.py": "deploy/dev/python/mo_router.py",
    "tools/python/mo_router_build.py": "deploy/dev/python/mo_router_build.py",
    "tools/python/mo_router_check.py": "deploy/dev/python/mo_router_check.py",
    "tools/python/mo_router_entry.py": "deploy/dev/python/mo_router_entry.py",
    "tools/python/mo_router_headers.py": "deploy/dev/python/mo_router_headers.py",
    "tools/python/mo_router_log.py": "deploy/dev/python/mo_router_log.py",
    "tools/python/mo_router_sources.py": "deploy/dev/python/mo_router_sources.py",
    "tools/python/packages.sh": "deploy/dev/python/packages.sh",
    "tools/python/requirements.sh": "deploy/dev/python/requirements.sh",
    "tools/python/router_fakes.py": "deploy/dev/python/router_fakes.py",
];

const JAVASCRIPT: &[File] = files![
    "Makefile": "src/scaffold/templates/javascript/Makefile",
    "README.md": "src/scaffold/templates/javascript/README.md",
    "jsconfig.json": "src/scaffold/templates/javascript/jsconfig.json",
    "package.json": "src/scaffold/templates/javascript/package.json",
    "plugin.js": "src/scaffold/templates/javascript/plugin.js",
    "plugin.test.js": "src/scaffold/templates/javascript/plugin.test.js",
];

/// What projects in JavaScript and TypeScript are built with.
const JAVASCRIPT_TOOLS: &[File] = files![
    "tools/ahead.sh": "deploy/dev/ahead.sh",
    "tools/once.sh": "deploy/dev/once.sh",
    "tools/javascript-plugin.mk": "deploy/dev/javascript-plugin.mk",
    "tools/tools-javascript.sh": "deploy/dev/tools-javascript.sh",
    "tools/tools.sh": "deploy/dev/tools.sh",
    "tools/javascript/build.mjs": "deploy/dev/javascript/build.mjs",
    "tools/javascript/check.js": "deploy/dev/javascript/check.js",
    "tools/javascript/entry.js": "deploy/dev/javascript/entry.js",
    "tools/javascript/fakes.d.ts": "deploy/dev/javascript/fakes.d.ts",
    "tools/javascript/fakes.js": "deploy/dev/javascript/fakes.js",
    "tools/javascript/headers.js": "deploy/dev/javascript/headers.js",
    "tools/javascript/interface.d.ts": "deploy/dev/javascript/interface.d.ts",
    "tools/javascript/sandbox.js": "deploy/dev/javascript/sandbox.js",
    "tools/javascript/shown.js": "deploy/dev/javascript/shown.js",
];

const TYPESCRIPT: &[File] = files![
    "Makefile": "src/scaffold/templates/typescript/Makefile",
    "README.md": "src/scaffold/templates/typescript/README.md",
    "package.json": "src/scaffold/templates/typescript/package.json",
    "plugin.test.ts": "src/scaffold/templates/typescript/plugin.test.ts",
    "plugin.ts": "src/scaffold/templates/typescript/plugin.ts",
    "tsconfig.json": "src/scaffold/templates/typescript/tsconfig.json",
];

const GO: &[File] = files![
    "Makefile": "src/scaffold/templates/go/Makefile",
    "README.md": "src/scaffold/templates/go/README.md",
    "bindings/component-type.section":
        "examples/merge-edits/bindings/component-type.section",
    "bindings/exports/export_os2mo_router_filter/filter.go":
        "examples/merge-edits/bindings/exports/export_os2mo_router_filter/filter.go",
    "bindings/exports/wit_exports/wit_exports.go":
        "examples/merge-edits/bindings/exports/wit_exports/wit_exports.go",
    "bindings/imports/os2mo_router_filter/empty.s":
        "examples/merge-edits/bindings/imports/os2mo_router_filter/empty.s",
    "bindings/imports/os2mo_router_filter/wit_bindings.go":
        "examples/merge-edits/bindings/imports/os2mo_router_filter/wit_bindings.go",
    "bindings/imports/os2mo_router_types/empty.s":
        "examples/merge-edits/bindings/imports/os2mo_router_types/empty.s",
    "bindings/imports/os2mo_router_types/wit_bindings.go":
        "examples/merge-edits/bindings/imports/os2mo_router_types/wit_bindings.go",
    "bindings/imports/wasi_config_store/empty.s":
        "examples/merge-edits/bindings/imports/wasi_config_store/empty.s",
    "bindings/imports/wasi_config_store/wit_bindings.go":
        "examples/merge-edits/bindings/imports/wasi_config_store/wit_bindings.go",
    "bindings/imports/wasi_logging_logging/empty.s":
        "examples/merge-edits/bindings/imports/wasi_logging_logging/empty.s",
    "bindings/imports/wasi_logging_logging/wit_bindings.go":
        "examples/merge-edits/bindings/imports/wasi_logging_logging/wit_bindings.go",
    "filter/filter.go": "src/scaffold/templates/go/filter/filter.go",
    "filter/filter_test.go": "src/scaffold/templates/go/filter/filter_test.go",
    "go.mod": "examples/merge-edits/go.mod",
    "go.sum": "examples/merge-edits/go.sum",
    "main.go": "examples/merge-edits/main.go",
    "tools/go-plugin.mk": "deploy/dev/go-plugin.mk",
    "tools/tools-go.sh": "deploy/dev/tools-go.sh",
    "tools/tools.sh": "deploy/dev/tools.sh",
    "router/router.go": "examples/merge-edits/router/router.go",
    "router/fakes.go": "examples/merge-edits/router/fakes.go",
    "router/headers.go": "examples/merge-edits/router/headers.go",
    "router/settings_wasm.go": "examples/merge-edits/router/settings_wasm.go",
];

const C: &[File] = files![
    "Makefile": "src/scaffold/templates/c/Makefile",
    "README.md": "src/scaffold/templates/c/README.md",
    "plugin.c": "src/scaffold/templates/c/plugin.c",
    "plugin_test.c": "src/scaffold/templates/c/plugin_test.c",
    "tools/c-plugin.mk": "deploy/dev/c-plugin.mk",
    "tools/tools-c.sh": "deploy/dev/tools-c.sh",
    "tools/tools.sh": "deploy/dev/tools.sh",
    "tools/c/fakes.c": "deploy/dev/c/fakes.c",
    "tools/c/fakes.h": "deploy/dev/c/fakes.h",
    "tools/c/headers.h": "deploy/dev/c/headers.h",
    "tools/c/logging.h": "deploy/dev/c/logging.h",
];

/// What C, C++ and Zig have in common: what wit-bindgen makes of the interface for C, and Danish
/// time.
const C_BINDINGS: &[File] = files![
    "bindings/plugin.c": "examples/route-by-action/bindings/plugin.c",
    "bindings/plugin.h": "examples/route-by-action/bindings/plugin.h",
    "bindings/plugin_component_type.o": "examples/route-by-action/bindings/plugin_component_type.o",
    "tools/c/copenhagen.h": "deploy/dev/c/copenhagen.h",
    "tools/c/utf8.h": "deploy/dev/c/utf8.h",
];

/// What C++ and Zig have in common: the compiler.
const ZIG_TOOLS: &[File] = files![
    "tools/strip-debug.sh": "deploy/dev/strip-debug.sh",
    "tools/tools-zig.sh": "deploy/dev/tools-zig.sh",
    "tools/tools.sh": "deploy/dev/tools.sh",
];

const CPP: &[File] = files![
    "Makefile": "src/scaffold/templates/cpp/Makefile",
    "README.md": "src/scaffold/templates/cpp/README.md",
    "plugin.cpp": "src/scaffold/templates/cpp/plugin.cpp",
    "plugin_test.cpp": "src/scaffold/templates/cpp/plugin_test.cpp",
    "tools/cpp-plugin.mk": "deploy/dev/cpp-plugin.mk",
    "tools/cpp/exceptions.cpp": "deploy/dev/cpp/exceptions.cpp",
    "tools/cpp/fakes.cpp": "deploy/dev/cpp/fakes.cpp",
    "tools/cpp/fakes.h": "deploy/dev/cpp/fakes.h",
    "tools/cpp/glue.cpp": "deploy/dev/cpp/glue.cpp",
    "tools/cpp/router.h": "deploy/dev/cpp/router.h",
];

const ZIG: &[File] = files![
    "Makefile": "src/scaffold/templates/zig/Makefile",
    "README.md": "src/scaffold/templates/zig/README.md",
    "build.zig": "src/scaffold/templates/zig/build.zig",
    "build.zig.zon": "src/scaffold/templates/zig/build.zig.zon",
    "src/plugin.zig": "src/scaffold/templates/zig/src/plugin.zig",
    "tools/zig-plugin.mk": "deploy/dev/zig-plugin.mk",
    "tools/zig/beside.sh": "deploy/dev/zig/beside.sh",
    "tools/zig/build.zig": "deploy/dev/zig/build.zig",
    "tools/zig/glue.zig": "deploy/dev/zig/glue.zig",
    "tools/zig/host.zig": "deploy/dev/zig/host.zig",
    "tools/zig/router.zig": "deploy/dev/zig/router.zig",
    "tools/zig/utf8.zig": "deploy/dev/zig/utf8.zig",
];
