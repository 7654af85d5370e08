//! The plugin that integrators begin with, in each language: a reminder at 08:00 in Copenhagen on
//! the day before a change takes effect (`tests/authors/reminder`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use mo_router::scaffold::{self, Language};

/// What integrators would write.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/authors");

/// The project, laid over a new one, with its packages. None where these cannot be had.
pub fn project(language: Language, parent: &Path) -> Option<PathBuf> {
    let name = &*name(language);
    let folder = laid_over("reminder", language, parent);
    let sources = Path::new(SOURCES).join("reminder");
    fs::copy(sources.join("reminder.cases.toml"), folder.join("reminder.cases.toml")).unwrap();
    let packages =
        Command::new(sources.join("packages.sh")).arg(name).current_dir(&folder).status().unwrap();
    if packages.code() == Some(77) {
        eprintln!("SKIPPED the reminder in {name}: the reason is above");
        return None;
    }
    assert!(packages.success(), "packages.sh {name}: {packages}");
    Some(folder)
}

/// A new project, with the files of `tests/authors/PLUGIN/LANGUAGE` laid over it.
pub fn laid_over(plugin: &str, language: Language, parent: &Path) -> PathBuf {
    let folder = scaffold::write(plugin, language, parent).expect("a new project");
    lay(&Path::new(SOURCES).join(plugin).join(name(language)), &folder);
    folder
}

/// As `mo-router plugin new --lang` has it.
fn name(language: Language) -> String {
    let value = language.to_possible_value().expect("each language has a name");
    value.get_name().to_owned()
}

/// Copies a folder's files over those of another one.
fn lay(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => lay(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
