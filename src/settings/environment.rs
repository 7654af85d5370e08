//! Settings in the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::entry::{Entry, Key, PluginKey, general_keys, keys_of};
use super::nearest::did_you_mean;
use super::value::Value;
use super::{Limits, PluginSettings, Settings, canonical};

const PREFIX: &str = "MO_ROUTER_";

/// Options of the command line, which may stand in the environment too.
const OPTIONS: [&str; 2] = ["CONFIG", "LOG_FORMAT"];

/// The environment. Names and values that are not Unicode are others' affair: they
/// are seen as they would be shown.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn variables() -> impl Iterator<Item = (String, String)> {
    let shown = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (shown(name), shown(value)))
}

impl Settings {
    /// Where compiled code is kept: as the settings say, or in the user's cache
    /// folder. None for a user who has none.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn cache_dir(&self) -> Option<PathBuf> {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        let user = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        self.plugins.cache_dir.clone().or_else(|| Some(user()?.join("mo-router/code")))
    }
}

/// What Kubernetes puts into every container beside a service called
/// `mo-router`: `MO_ROUTER_SERVICE_HOST`, `MO_ROUTER_PORT_9095_TCP`, …
fn is_from_kubernetes(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

/// The name of a general setting's variable.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase())
}

/// What stands in `MO_ROUTER_…`. `plugins` are the names that the file uses.
///
/// # Errors
/// Names a variable that is not known, and the nearest that is.
pub(super) fn of_the_router(
    variables: &[(String, String)],
    plugins: &[&str],
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (variable, text) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if OPTIONS.contains(&name) || is_from_kubernetes(name) {
            continue;
        }
        entries.push(Entry {
            key: key_of(variable, name, plugins)?,
            text: text.clone(),
            origin: variable.clone(),
        });
    }
    Ok(entries)
}

fn key_of(variable: &str, name: &str, plugins: &[&str]) -> Result<Key> {
    if let Some(rest) = name.strip_prefix("PLUGIN_") {
        return plugin_key(rest, plugins).ok_or_else(|| {
            anyhow!("{variable}: there is no such setting of a plugin{}", nearest_of_plugin(rest))
        });
    }
    let known = general_keys();
    let names: Vec<String> =
        known.iter().map(|(section, key)| self::variable(section, key)).collect();
    match names.iter().position(|known| known == variable) {
        Some(index) => Ok(Key::General { section: known[index].0, key: known[index].1 }),
        None => bail!(
            "{variable}: there is no such setting{}",
            did_you_mean(variable, names.iter().map(String::as_str))
        ),
    }
}

/// Takes `NAME_KEY` apart. Both can have underscores in them: so a name that the
/// file uses comes first, then `CONFIG` wherever it stands, then the longest key.
fn plugin_key(rest: &str, plugins: &[&str]) -> Option<Key> {
    let in_file = plugins.iter().filter_map(|plugin| {
        let name = canonical(plugin).replace('-', "_").to_uppercase();
        let key = rest.strip_prefix(&name)?.strip_prefix('_')?;
        Some((canonical(plugin), key_within_plugin(key)?))
    });
    if let Some((name, key)) = in_file.max_by_key(|(name, _)| name.len()) {
        return Some(Key::Plugin { name, key });
    }
    if let Some((name, key)) = rest.split_once("_CONFIG_") {
        let key = PluginKey::Config(key.to_lowercase());
        return Some(Key::Plugin { name: canonical(name), key });
    }
    rest.match_indices('_').filter(|(at, _)| *at > 0).find_map(|(at, _)| {
        let key = key_within_plugin(&rest[at + 1..])?;
        Some(Key::Plugin { name: canonical(&rest[..at]), key })
    })
}

fn key_within_plugin(key: &str) -> Option<PluginKey> {
    let key = key.to_lowercase();
    if let Some(own) = key.strip_prefix("config_") {
        return (!own.is_empty()).then(|| PluginKey::Config(own.to_string()));
    }
    if let Some(limit) = key.strip_prefix("limits_") {
        return keys_of(&Limits::default())
            .into_iter()
            .find(|known| *known == limit)
            .map(PluginKey::Limit);
    }
    keys_of(&PluginSettings::default()).into_iter().find(|known| *known == key).map(PluginKey::Own)
}

fn nearest_of_plugin(rest: &str) -> String {
    let limits = keys_of(&Limits::default()).into_iter().map(|key| format!("limits_{key}"));
    let own = keys_of(&PluginSettings::default()).into_iter().map(str::to_string);
    let known: Vec<String> = own
        .chain(limits)
        .map(|key| format!("{PREFIX}PLUGIN_NAME_{}", key.to_uppercase()))
        .collect();
    let key = rest.split_once('_').map_or(rest, |(_, key)| key);
    did_you_mean(&format!("{PREFIX}PLUGIN_NAME_{key}"), known.iter().map(String::as_str))
}

/// Sets what stands in MO's own variables. Empty ones, as a compose file leaves
/// them, are not set.
///
/// # Errors
/// Names the variable, what is wrong and the mend.
pub(super) fn of_mo(variables: &[(String, String)], settings: &mut Settings) -> Result<()> {
    let read = |name: &str| {
        let (_, text) = variables.iter().find(|(variable, _)| variable == name)?;
        (!text.is_empty()).then_some(text.as_str())
    };
    if let Some(text) = read("ENABLE_AMQP") {
        settings.amqp.enabled = value("ENABLE_AMQP", text)?;
    }
    if let Some(text) = read("AMQP_OS2MO_EXCHANGE") {
        settings.amqp.exchange = value("AMQP_OS2MO_EXCHANGE", text)?;
    }
    if let Some(text) = read("AMQP_URL") {
        settings.amqp.url = value("AMQP_URL", text)?;
        return Ok(());
    }
    let port = read("AMQP_PORT").map(|text| value("AMQP_PORT", text)).transpose()?;
    settings.amqp.url = settings
        .amqp
        .url
        .with_address(read("AMQP_HOST"), port)
        .map_err(|wrong| anyhow!("AMQP_HOST: {wrong}"))?;
    Ok(())
}

fn value<T: Value>(variable: &str, text: &str) -> Result<T> {
    T::read(text).map_err(|wrong| anyhow!("{variable}: {wrong}"))
}
