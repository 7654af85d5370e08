//! Settings as they are written, before anybody asks what they mean.

use std::fmt::{self, Display};

use super::Settings;
use super::section::Section;

/// One setting as it was written, of a key that is known.
pub struct Entry {
    pub key: Key,
    pub text: String,
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

/// What `[plugin.NAME]` can hold.
pub enum PluginKey {
    Own(&'static str),
    Limit(&'static str),
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
    /// Whose setting it is, if it is a plugin's.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::General { .. } => None,
            Self::Plugin { name, .. } => Some(name),
        }
    }
}

/// The names of the sections that are there but once, with their keys.
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
