//! Case files: events in, publications expected.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::event::Datetime;
use crate::settings::{Settings, canonical};

/// The folder that plugins are built in; their cases are next to it.
pub const BUILD: &str = "build";

/// `NAME.cases.toml` or `NAME.cases.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    #[serde(default)]
    plugin: Overrides,
    #[serde(default)]
    case: Vec<Case>,
}

/// The plugin's settings for these cases, instead of those in `mo-router.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    exchanges: Option<Vec<String>>,
    subscriptions: Option<Vec<String>>,
    config: Option<BTreeMap<String, String>>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The time when the first event comes in.
    pub at: Option<Datetime>,
    /// The events, as the router reads them.
    pub events: Vec<Json>,
    /// What leaves the router, in order.
    #[serde(default)]
    pub publishes: Vec<Json>,
}

/// The case files for a plugin's file.
pub fn for_plugin(plugin: &Path) -> Vec<PathBuf> {
    let name = plugin.file_stem().unwrap_or_default().to_string_lossy();
    let dir = plugin.parent().unwrap_or(Path::new(""));
    let project = dir.parent().filter(|_| dir.ends_with(BUILD));
    let mut found = Vec::new();
    for dir in [Some(dir), project].into_iter().flatten() {
        for ending in ["toml", "json"] {
            let file = dir.join(format!("{name}.cases.{ending}"));
            found.extend(file.is_file().then_some(file));
        }
    }
    found
}

impl CaseFile {
    /// Reads a case file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a case file.
    pub fn read(file: &Path) -> Result<Self> {
        let context = || format!("cases in {}", file.display());
        let text = fs::read_to_string(file).with_context(context)?;
        let is_toml = file.extension().is_some_and(|ending| ending == "toml");
        let json = match is_toml {
            true => toml::from_str(&text).map(to_json).with_context(context)?,
            false => serde_json::from_str(&text).with_context(context)?,
        };
        serde_json::from_value(json).with_context(context)
    }

    /// The settings for these cases, given the name of the plugin.
    pub fn settings(&self, settings: &Settings, name: &str) -> Settings {
        let mut plugin = settings.of_plugin(name);
        let Overrides { exchanges, subscriptions, config } = &self.plugin;
        if let Some(exchanges) = exchanges {
            plugin.exchanges.clone_from(exchanges);
        }
        if subscriptions.is_some() {
            plugin.subscriptions.clone_from(subscriptions);
        }
        if let Some(config) = config {
            plugin.config.clone_from(config);
        }
        let mut settings = settings.clone();
        settings.plugin.insert(canonical(name), plugin);
        settings
    }

    /// The cases, in the file's order.
    pub fn cases(&self) -> &[Case] {
        &self.case
    }
}

impl Case {
    /// The events as JSON Lines.
    pub fn lines(&self) -> String {
        self.events.iter().map(|event| format!("{event}\n")).collect()
    }
}

/// TOML as JSON, with times as text.
fn to_json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            Json::Object(table.into_iter().map(|(key, value)| (key, to_json(value))).collect())
        }
    }
}
