//! Case files: events in, publications expected.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::difference::TIMES;
use crate::event::Datetime;
use crate::settings::{Settings, canonical};

/// The folder of a project that its plugin is built in; the cases are next to it.
pub const BUILD: &str = "build";

/// The key of an event that says which attempt it is at.
const ATTEMPT: &str = "attempt";

/// `NAME.cases.toml` or `NAME.cases.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Settings of the plugin for these cases, as in `[plugin.NAME]`.
    #[serde(default)]
    plugin: Map<String, Json>,
    #[serde(default)]
    case: Vec<Case>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The time when the first event comes in.
    pub at: Option<Datetime>,
    /// Which attempt the events are at that do not say so themselves.
    attempt: Option<u32>,
    /// Settings of the plugin for this case, beside those of the file.
    #[serde(default)]
    plugin: Map<String, Json>,
    /// The events, as the router reads them, and the attempt that each is at.
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
        let cases: Self = serde_json::from_value(json).with_context(context)?;
        cases.case.iter().try_for_each(Case::check).with_context(context)?;
        Ok(cases)
    }

    /// The settings for these cases, given the name of the plugin.
    ///
    /// # Errors
    /// A key is no setting of a plugin, or its value none for it.
    pub fn settings(&self, settings: &Settings, name: &str) -> Result<Settings> {
        let mut settings = settings.clone();
        if self.plugin.contains_key("config") {
            // In place of what the settings' file has, so that a case passes wherever it is run.
            let mut plugin = settings.of_plugin(name);
            plugin.config.clear();
            settings.plugin.insert(canonical(name), plugin);
        }
        settings.with_plugin(name, &self.plugin)
    }

    /// The cases, in the file's order.
    pub fn cases(&self) -> &[Case] {
        &self.case
    }
}

impl Case {
    /// The settings for this case, given those of its file.
    ///
    /// # Errors
    /// As [`CaseFile::settings`].
    pub fn settings(&self, settings: &Settings, name: &str) -> Result<Settings> {
        let with_own = settings.with_plugin(name, &self.plugin);
        with_own.with_context(|| format!("case {:?}", self.name))
    }

    /// The events as JSON Lines, and which attempt each is at.
    pub fn events(&self) -> (String, Vec<u32>) {
        let default = self.attempt.unwrap_or(1);
        let events = self.events.iter().map(|event| {
            let mut event = event.clone();
            let own = event.as_object_mut().and_then(|event| event.remove(ATTEMPT));
            let own = own.and_then(|own| u32::try_from(own.as_u64()?).ok());
            (format!("{event}\n"), own.unwrap_or(default))
        });
        events.unzip()
    }

    /// Checks what would otherwise only be seen not to match.
    fn check(&self) -> Result<()> {
        let name = &self.name;
        let own = self.events.iter().filter_map(|event| event.get(ATTEMPT));
        let attempts = self.attempt.map(Json::from);
        for attempt in own.chain(&attempts) {
            if !attempt.as_u64().is_some_and(|number| (1..=u64::from(u32::MAX)).contains(&number)) {
                bail!("case {name:?}: attempt = {attempt} is none: attempts count from 1");
            }
        }
        for expected in &self.publishes {
            for key in TIMES {
                let Some(Json::String(text)) = expected.get(key) else { continue };
                text.parse::<Datetime>().with_context(|| format!("case {name:?}: {key}"))?;
            }
        }
        Ok(())
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
