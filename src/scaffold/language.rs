//! The languages of plugin projects.

/// The languages that a plugin project can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// With cargo, for wasm32-unknown-unknown.
    Rust,
    /// With componentize-py.
    Python,
    /// With componentize-js.
    #[value(name = "javascript", alias = "js")]
    JavaScript,
    /// With componentize-js and esbuild, checked by TypeScript's compiler.
    #[value(name = "typescript", alias = "ts")]
    TypeScript,
    /// With the standard Go compiler.
    #[value(alias = "golang")]
    Go,
    /// With clang and wasi-libc.
    C,
    /// With Zig's C++ compiler, which is clang.
    #[value(name = "cpp", alias = "c++")]
    Cpp,
    /// With Zig.
    Zig,
}

#[cfg(test)]
mod tests {
    use super::Language;
    use clap::ValueEnum;

    #[test]
    fn languages_have_the_names_that_people_call_them() {
        for (name, language) in [
            ("c++", Language::Cpp),
            ("cpp", Language::Cpp),
            ("js", Language::JavaScript),
            ("ts", Language::TypeScript),
            ("golang", Language::Go),
        ] {
            assert_eq!(Language::from_str(name, false), Ok(language), "{name}");
        }
    }
}
