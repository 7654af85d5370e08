//! The names of settings.

use std::fmt::{self, Display};

use super::schema::Settings;
use super::section::Section;
use super::value::Raw;

/// One setting as it was written.
pub struct Entry {
    pub key: Key,
    pub raw: Raw,
    /// The file and line, or the variable.
    pub origin: String,
}

/// The name of a setting.
pub enum Key {
    /// `[SECTION] KEY`
    General { section: &'static str, key: &'static str },
    /// `[plugin.NAME] KEY`
    Plugin { name: String, key: PluginKey },
}

/// The name of a setting in `[plugin.NAME]`.
pub enum PluginKey {
    /// `KEY`
    Own(&'static str),
    /// `limits.KEY`
    Limit(&'static str),
    /// `config.KEY`
    Config(String),
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::General { section, key } => write!(f, "{section}.{key}"),
            Self::Plugin { name, key: PluginKey::Own(key) } => write!(f, "plugin.{name}.{key}"),
            Self::Plugin { name, key: PluginKey::Limit(key) } => {
                write!(f, "plugin.{name}.limits.{key}")
            }
            Self::Plugin { name, key: PluginKey::Config(key) } => {
                write!(f, "plugin.{name}.config.{key}")
            }
        }
    }
}

impl Key {
    /// The plugin, if it is a plugin's setting.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::General { .. } => None,
            Self::Plugin { name, .. } => Some(name),
        }
    }
}

/// The keys of all sections but the plugins', each with its section.
pub fn general_keys() -> Vec<(&'static str, &'static str)> {
    let mut settings = Settings::default();
    let sections = settings.sections();
    sections
        .iter()
        .flat_map(|(name, section)| section.keys().iter().map(|(key, _)| (*name, *key)))
        .collect()
}

/// The keys of a section.
pub fn keys_of(section: &impl Section) -> Vec<&'static str> {
    section.keys().iter().map(|(key, _)| *key).collect()
}
