//! The languages of plugin projects.

/// The languages that a plugin project can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// With cargo, for wasm32-unknown-unknown.
    Rust,
    /// With componentize-py.
    Python,
    /// With componentize-js.
    #[value(name = "javascript")]
    JavaScript,
    /// With componentize-js and esbuild, checked by TypeScript's compiler.
    #[value(name = "typescript")]
    TypeScript,
    /// With the standard Go compiler.
    Go,
    /// With clang and wasi-libc.
    C,
    /// With Zig's C++ compiler, which is clang.
    #[value(name = "cpp")]
    Cpp,
    /// With Zig.
    Zig,
}
