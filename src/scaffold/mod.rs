//! `mo-router plugin new`: writes a complete plugin project in one of several languages.
//!
//! A project is self-contained: it has the interface, a plugin that routes events, a unit
//! test for it, and the tools to build it. What is not in the templates comes from the
//! example plugins, which are built in the same way.

mod files;
mod language;

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};

use files::File;
pub use language::Language;

use crate::plugins::{LONGEST_NAME, check_name};

/// Stands for the plugin's name in templates.
const PLACEHOLDER: &str = "plugin-name";

/// Writes a new plugin project into the folder `parent`/`name`, and returns the folder.
///
/// # Errors
/// The name is not valid in every language, or the folder exists or cannot be written.
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
            "{name:?} cannot be a plugin's name: use lower-case letters, digits and hyphens, with a \
             letter first"
        );
    }
    if name.len() > LONGEST_NAME {
        bail!("the name {name:?} has {} characters; the limit is {LONGEST_NAME}", name.len());
    }
    check_name(name)
}

/// Creates the folder, which must not exist: nothing is ever overwritten.
fn create(project: &Path) -> Result<()> {
    let shown = project.display();
    fs::create_dir(project).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("{shown} exists already: choose another name, or remove it first")
        }
        _ => Error::new(error).context(format!("cannot create the folder {shown}")),
    })
}

fn put(project: &Path, file: &File, name: &str) -> Result<()> {
    let path = project.join(file.path.replace(PLACEHOLDER, name));
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

/// The content with the plugin's name in place of the template's or example's.
fn named<'a>(content: &'a [u8], name: &str) -> Cow<'a, [u8]> {
    match str::from_utf8(content) {
        Ok(text) => {
            let text = text.replace(files::GO_EXAMPLE, PLACEHOLDER).replace(PLACEHOLDER, name);
            text.into_bytes().into()
        }
        Err(_) => content.into(), // the component's type, for C and Go
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
            // Names that contain a placeholder could go wrong.
            for name in ["a", "plugin-name-2", "merge-edits-2"] {
                let project = write(name, language, parent.path()).unwrap();
                let readme = fs::read_to_string(project.join("README.md")).unwrap();
                assert!(readme.starts_with(&format!("# {name}\n")), "{readme}");
                assert!(readme.lines().count() <= 11, "{readme}");
                assert!(project.join("wit/router.wit").is_file());
                assert!(project.join(format!("{name}.cases.toml")).is_file());
            }
        }
    }

    #[test]
    fn editors_find_the_types_of_the_interface() {
        for (language, file) in
            [(Language::JavaScript, "jsconfig.json"), (Language::TypeScript, "tsconfig.json")]
        {
            let parent = tempfile::tempdir().unwrap();
            let project = write("mine", language, parent.path()).unwrap();
            let config = fs::read_to_string(project.join(file)).unwrap();
            let config: serde_json::Value = serde_json::from_str(&config).unwrap();
            let included = config["include"].as_array().unwrap();
            assert!(included.contains(&"tools/javascript/*.d.ts".into()), "{config}");
            assert!(project.join("tools/javascript/interface.d.ts").is_file());
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
    fn invalid_names_are_rejected() {
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
        assert!(error.to_string().contains("here exists already"), "{error}");
        assert_eq!(fs::read_dir(parent.path().join("here")).unwrap().count(), 0);
    }
}
