//! `mo-router plugin new`: a complete plugin project, one kind for each language.
//!
//! A project stands alone: it has the interface, a plugin that routes events,
//! its unit test, and what builds it. What the templates do not have comes from
//! the example plugins, which are built the same way.

mod files;

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};

use files::File;

/// The languages that there are projects for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// With cargo, for wasm32-unknown-unknown.
    Rust,
    /// With componentize-py.
    Python,
    /// With componentize-js.
    #[value(name = "javascript")]
    JavaScript,
    /// With the ordinary Go compiler.
    Go,
    /// With clang and wasi-libc.
    C,
}

/// The longest name: it is part of a queue's name and of many a log line.
const NAME_MAX: usize = 64;

/// What templates have in place of the plugin's name.
const PLACEHOLDER: &str = "plugin-name";

/// Writes a new plugin project into the folder `parent`/`name`, and returns that
/// folder.
///
/// # Errors
/// If the name cannot be a plugin's in every language, if the folder exists, or
/// if it cannot be written.
pub fn write(name: &str, language: Language, parent: &Path) -> Result<PathBuf> {
    check(name)?;
    let project = parent.join(name);
    create(&project)?;
    for file in files::of(language) {
        put(&project, file, name)?;
    }
    Ok(project)
}

fn check(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(allowed) {
        bail!(
            "{name:?} cannot be the name of a plugin: use lower-case letters, digits and hyphens, \
             with a letter first"
        );
    }
    if name.len() > NAME_MAX {
        bail!("the name {name:?} has {} letters: at most {NAME_MAX} are allowed", name.len());
    }
    crate::plugins::check_name(name)
}

/// Makes the folder, which must be new: nothing is ever overwritten.
fn create(project: &Path) -> Result<()> {
    let shown = project.display();
    fs::create_dir(project).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("{shown} is there already: choose another name, or remove it first")
        }
        _ => Error::new(error).context(format!("cannot make the folder {shown}")),
    })
}

fn put(project: &Path, file: &File, name: &str) -> Result<()> {
    let path = project.join(file.path);
    let cannot = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    fs::write(&path, named(file.content, name)).with_context(cannot)?;
    if file.is_script() {
        executable(&path).with_context(cannot)?;
    }
    Ok(())
}

/// The content with the plugin's name where the template's or example's is.
fn named<'a>(content: &'a [u8], name: &str) -> Cow<'a, [u8]> {
    match str::from_utf8(content) {
        Ok(text) => {
            let text = text.replace(files::GO_EXAMPLE, PLACEHOLDER).replace(PLACEHOLDER, name);
            text.into_bytes().into()
        }
        Err(_) => content.into(), // of C and Go, the type of the component
    }
}

#[cfg(unix)]
fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn a_project_has_its_name_everywhere() {
        for &language in Language::value_variants() {
            let parent = tempfile::tempdir().unwrap();
            // Names that hold a placeholder are the ones that could go wrong.
            for name in ["a", "plugin-name-2", "merge-edits-2"] {
                let project = write(name, language, parent.path()).unwrap();
                let readme = fs::read_to_string(project.join("README.md")).unwrap();
                assert!(readme.starts_with(&format!("# {name}\n")), "{readme}");
                assert!(readme.lines().count() <= 11, "{readme}");
                assert!(project.join("wit/router.wit").is_file());
            }
        }
    }

    #[test]
    fn bindings_for_go_import_the_project_itself() {
        let parent = tempfile::tempdir().unwrap();
        let project = write("mine", Language::Go, parent.path()).unwrap();
        let read = |file| fs::read_to_string(project.join(file)).unwrap();
        assert!(read("go.mod").starts_with("module mo-plugin/mine\n"));
        assert!(
            read("bindings/exports/wit_exports/wit_exports.go")
                .contains("\"mo-plugin/mine/bindings/")
        );
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        for name in [
            "",
            "9lives",
            "-a",
            "dead",
            "Upper",
            "under_score",
            "../up",
            "a/b",
            "å",
            &"a".repeat(65),
        ] {
            let error = write(name, Language::C, parent.path()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_existing_folder_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("here")).unwrap();
        let error = write("here", Language::C, parent.path()).unwrap_err();
        assert!(error.to_string().contains("here is there already"), "{error}");
        assert_eq!(fs::read_dir(parent.path().join("here")).unwrap().count(), 0);
    }
}
