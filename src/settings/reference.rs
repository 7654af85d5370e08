//! The table of all settings, for people.

use std::fmt::Write;

use super::environment::variable;
use super::schema::{PluginSettings, Settings};
use super::section::Section;

/// All settings with their variables, defaults and meaning, in Markdown.
pub fn reference() -> String {
    let mut page = String::new();
    for (name, section) in Settings::default().sections() {
        table(&mut page, name, section, |key| format!("`{}`", variable(name, key)));
    }
    let plugin = PluginSettings::default();
    table(&mut page, "plugin.NAME", &plugin, |key| {
        format!("`{}`", variable("plugin", &format!("name_{key}")))
    });
    page.pop();
    for (key, about) in PLUGIN_TABLES {
        let _ = writeln!(
            page,
            "| `{key}` | `{}` | {about} |",
            variable("plugin", &format!("name_{}", key.replace('.', "_")))
        );
    }
    page
}

/// What `[plugin.NAME]` holds besides its own keys.
const PLUGIN_TABLES: [(&str, &str); 2] = [
    ("limits.KEY", "`[limits]` | as there | Any of the limits, for this plugin only."),
    (
        "config.KEY",
        "none | | What the plugin itself reads. A key from the environment is in lower case.",
    ),
];

fn table(page: &mut String, name: &str, section: &dyn Section, variable: impl Fn(&str) -> String) {
    let _ = write!(
        page,
        "### `[{name}]`\n\n| key | in the environment | default | range | meaning |\n|---|---|---|---|---|\n"
    );
    for (key, about) in section.keys() {
        let default = match section.default_text(key) {
            none if none.is_empty() => "none".to_string(),
            value => format!("`{value}`"),
        };
        let (variable, range, about) = (variable(key), section.range_text(key), about.trim());
        let range = range.trim_start_matches("from ");
        let _ = writeln!(page, "| `{key}` | {variable} | {default} | {range} | {about} |");
    }
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    const TABLES: &str = "## The settings\n\n";

    /// `UPDATE_DOCS=1 cargo test --release --lib reference` rewrites the tables.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    fn the_documentation_is_what_the_program_does() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (prose, tables) = page.split_once(TABLES).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(PAGE, format!("{prose}{TABLES}{}", reference())).unwrap();
        } else {
            assert_eq!(tables, reference(), "see this test for how to update docs/settings.md");
        }
    }
}
