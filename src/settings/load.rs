//! Puts the settings together from where they are written.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tracing::debug;

use super::key::{Entry, Key, PluginKey};
use super::schema::{Settings, canonical};
use super::section::Section;
use super::{environment, file, mo_variables, otel_variables};

/// The file in the working directory that settings are read from if no other is named.
pub const DEFAULT_FILE: &str = "mo-router.toml";

/// [`DEFAULT_FILE`], if there is one.
pub fn default_file() -> Option<PathBuf> {
    let file = PathBuf::from(DEFAULT_FILE);
    file.exists().then_some(file)
}

impl Settings {
    /// Reads `file`, if one is given, and the environment.
    ///
    /// # Errors
    /// A `file` that is missing or not TOML; unknown keys and variables, with the
    /// closest known one; values out of range. Each error names the line or the
    /// variable, and leaves out the passwords in URLs.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let Some(path) = file else {
            return Self::from_sources(Vec::new(), environment.into_iter().collect());
        };
        let content = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the settings in {}", path.display()))?;
        Self::read(path, &content, environment)
    }

    /// As [`Settings::load`], with what the file at `path` is known to hold.
    ///
    /// # Errors
    /// Those of [`Settings::load`], but for a file that is missing.
    pub fn read(
        path: &Path,
        content: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let entries = file::read(&path.display().to_string(), content)?;
        Self::from_sources(entries, environment.into_iter().collect())
    }

    /// As [`Settings::load`], with a file that has been read. The last of several
    /// values for one key wins. Plugins come after everything else, because their
    /// limits default to `[limits]`.
    pub(super) fn from_sources(file: Vec<Entry>, variables: Vec<(String, String)>) -> Result<Self> {
        let (links, variables): (Vec<_>, Vec<_>) = variables
            .into_iter()
            .partition(|(name, text)| environment::is_service_link(name, text));
        if !links.is_empty() {
            let names: Vec<&str> = links.iter().map(|(name, _)| name.as_str()).collect();
            debug!("ignored, because Kubernetes set them for its services: {}", names.join(", "));
        }
        let plugins: Vec<&str> = file.iter().filter_map(|entry| entry.key.plugin()).collect();
        let own = environment::entries(&variables, &plugins)?;
        let mut settings = Self::default();
        file.iter().try_for_each(|entry| settings.apply_general(entry))?;
        mo_variables::apply(&variables, &mut settings)?;
        otel_variables::apply(&variables, &mut settings);
        own.iter().try_for_each(|entry| settings.apply_general(entry))?;
        for Entry { key, origin, .. } in &own {
            settings.origins.note(&key.to_string(), origin);
        }
        if settings.mo.enabled
            && let Some(wrong) = settings.origins.unread.first()
        {
            bail!("{wrong}");
        }
        settings
            .delay
            .store
            .complete(&variables, settings.delay.password_file.as_deref())
            .map_err(|wrong| anyhow!("delay.store: {wrong}"))?;
        file.into_iter().chain(own).try_for_each(|entry| settings.apply_plugin(entry))?;
        Ok(settings)
    }

    fn apply_general(&mut self, entry: &Entry) -> Result<()> {
        let Key::General { section, key } = entry.key else { return Ok(()) };
        for (name, values) in self.sections() {
            if name == section {
                values.set(key, &entry.raw).map_err(|wrong| error(entry, &wrong))?;
            }
        }
        Ok(())
    }

    fn apply_plugin(&mut self, entry: Entry) -> Result<()> {
        let Key::Plugin { name, key } = &entry.key else { return Ok(()) };
        let defaults = self.plugin_defaults();
        let plugin = self.plugin.entry(canonical(name)).or_insert(defaults);
        match key {
            PluginKey::Own(key) => plugin.set(key, &entry.raw),
            PluginKey::Limit(key) => plugin.limits.set(key, &entry.raw),
            PluginKey::Config(key) => entry.raw.text().map(|text| {
                plugin.config.insert(key.clone(), text.to_owned());
            }),
        }
        .map_err(|wrong| error(&entry, &wrong))
    }
}

fn error(entry: &Entry, wrong: &str) -> anyhow::Error {
    anyhow!("{}: {}: {wrong}", entry.origin, entry.key)
}
