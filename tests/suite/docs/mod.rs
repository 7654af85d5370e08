//! The documentation is true: every fenced block is run, or compared with a file that is, or says
//! why not; links lead somewhere; settings, commands and metrics are called what they are called; tables
//! of codes and headers have what the program has; what contributors are told is there.
//! `make docs-test` runs this alone and prints what was run.
//!
//! What is to be done with a block stands in a comment above it, which readers do not see:
//!
//! | `<!-- … -->` | |
//! |---|---|
//! | `run` | Its commands are run; what `sh` and `console` are without a comment. More words, separated by `;`, are in `run`. |
//! | `not run: REASON` | It is not. |
//! | `file: PATH` | It is the file at this path from the repository's root. `UPDATE_DOCS=1` writes it. |
//! | `part of: PATH` | It is part of the file. |
//!
//! `text` is a picture. `toml` must be settings, or cases of a plugin; `json` lines must be JSON. A
//! comment `page: LANGUAGE, … not run: REASON` holds for a page's blocks of these languages that
//! have none of their own.

mod blocks;
mod cast;
mod commands;
mod contributing;
mod imports;
mod links;
mod names;
mod page;
mod recipes;
mod run;
mod tables;
mod troubles;

#[expect(clippy::disallowed_methods, reason = "whoever runs the test asks for it")]
fn updates() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// The repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
