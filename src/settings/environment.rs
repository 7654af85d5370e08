//! Settings in the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::key::{Entry, Key, PluginKey, general_keys, keys_of};
use super::nearest::did_you_mean;
use super::schema::{Limits, Mo, PluginSettings, Settings, canonical};
use super::value::{Raw, SettingValue};

const PREFIX: &str = "MO_ROUTER_";

/// Options of the command line that have a variable too.
const OPTIONS: [&str; 2] = ["CONFIG", "LOG_FORMAT"];

/// The environment. What is not Unicode is none of our settings: it is read with
/// replacement characters rather than refused.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn variables() -> impl Iterator<Item = (String, String)> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}

impl Settings {
    /// Where compiled code is kept: as set, or in the user's cache folder. None for a
    /// user without one.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn cache_dir(&self) -> Option<PathBuf> {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        let user = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        self.plugins.cache_dir.clone().or_else(|| Some(user()?.join("mo-router/code")))
    }
}

/// What Kubernetes sets in every container next to a service called `mo-router`:
/// `MO_ROUTER_SERVICE_HOST`, `MO_ROUTER_PORT_9095_TCP`, …
fn is_from_kubernetes(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

/// The name of a general setting's variable.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase())
}

/// The variables called `MO_ROUTER_…`. `plugins` are the names that the file uses.
/// An empty variable counts as not set, as a compose file may leave it; only a
/// plugin's own setting can be empty text.
///
/// # Errors
/// Names an unknown variable, empty or not, and the closest known one.
pub(super) fn entries(variables: &[(String, String)], plugins: &[&str]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (variable, text) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if OPTIONS.contains(&name) || is_from_kubernetes(name) {
            continue;
        }
        let key = key_of(variable, name, plugins)?;
        let may_be_empty = matches!(key, Key::Plugin { key: PluginKey::Config(_), .. });
        if may_be_empty || !text.is_empty() {
            entries.push(Entry { key, raw: Raw::Text(text.clone()), origin: variable.clone() });
        }
    }
    Ok(entries)
}

fn key_of(variable: &str, name: &str, plugins: &[&str]) -> Result<Key> {
    if let Some(rest) = name.strip_prefix("PLUGIN_") {
        return plugin_key(rest, plugins).ok_or_else(|| {
            anyhow!("{variable}: there is no such setting of a plugin{}", nearest_plugin_key(rest))
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

/// Splits `NAME_KEY`. Both can contain underscores, so a name that the file uses is
/// tried first, then `CONFIG` anywhere, then the longest key.
fn plugin_key(rest: &str, plugins: &[&str]) -> Option<Key> {
    let in_file = plugins.iter().filter_map(|plugin| {
        let name = canonical(plugin).replace('-', "_").to_uppercase();
        let key = rest.strip_prefix(&name)?.strip_prefix('_')?;
        Some((canonical(plugin), parse_plugin_key(key)?))
    });
    if let Some((name, key)) = in_file.max_by_key(|(name, _)| name.len()) {
        return Some(Key::Plugin { name, key });
    }
    if let Some((name, key)) = rest.split_once("_CONFIG_") {
        let key = PluginKey::Config(key.to_lowercase());
        return Some(Key::Plugin { name: canonical(name), key });
    }
    rest.match_indices('_').filter(|(at, _)| *at > 0).find_map(|(at, _)| {
        let key = parse_plugin_key(&rest[at + 1..])?;
        Some(Key::Plugin { name: canonical(&rest[..at]), key })
    })
}

fn parse_plugin_key(key: &str) -> Option<PluginKey> {
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

fn nearest_plugin_key(rest: &str) -> String {
    let limits = keys_of(&Limits::default()).into_iter().map(|key| format!("limits_{key}"));
    let own = keys_of(&PluginSettings::default()).into_iter().map(str::to_string);
    let known: Vec<String> = own
        .chain(limits)
        .map(|key| format!("{PREFIX}PLUGIN_NAME_{}", key.to_uppercase()))
        .collect();
    let key = rest.split_once('_').map_or(rest, |(_, key)| key);
    did_you_mean(&format!("{PREFIX}PLUGIN_NAME_{key}"), known.iter().map(String::as_str))
}

/// Applies MO's own variables. Empty ones count as not set.
///
/// # Errors
/// Names the variable, what is wrong with it and how to fix it.
pub(super) fn apply_mo_variables(
    variables: &[(String, String)],
    settings: &mut Settings,
) -> Result<()> {
    let read = |name: &str| {
        let (_, text) = variables.iter().find(|(variable, _)| variable == name)?;
        (!text.is_empty()).then_some(text.as_str())
    };
    if let Some(text) = read("ENABLE_AMQP") {
        settings.amqp.enabled = parse("ENABLE_AMQP", text)?;
    }
    if let Some(text) = read("AMQP_OS2MO_EXCHANGE") {
        settings.amqp.exchange = parse("AMQP_OS2MO_EXCHANGE", text)?;
    }
    apply_graphql_variables(read, &mut settings.mo)?;
    if let Some(text) = read("AMQP_URL") {
        settings.amqp.url = parse("AMQP_URL", text)?;
        return Ok(());
    }
    let port = read("AMQP_PORT").map(|text| parse("AMQP_PORT", text)).transpose()?;
    settings.amqp.url = settings
        .amqp
        .url
        .with_address(read("AMQP_HOST"), port)
        .map_err(|wrong| anyhow!("AMQP_HOST: {wrong}"))?;
    Ok(())
}

/// What MO's integrations call the settings of their access to GraphQL.
fn apply_graphql_variables<'a>(read: impl Fn(&str) -> Option<&'a str>, mo: &mut Mo) -> Result<()> {
    if let Some(text) = read("MO_URL") {
        mo.url = parse("MO_URL", text)?;
    }
    if let Some(text) = read("CLIENT_ID") {
        mo.client_id = Some(parse("CLIENT_ID", text)?);
    }
    if let Some(text) = read("CLIENT_SECRET") {
        mo.client_secret = Some(parse("CLIENT_SECRET", text)?);
    }
    if let Some(text) = read("AUTH_SERVER") {
        mo.auth_server = parse("AUTH_SERVER", text)?;
    }
    if let Some(text) = read("AUTH_REALM") {
        mo.auth_realm = parse("AUTH_REALM", text)?;
    }
    Ok(())
}

fn parse<T: SettingValue>(variable: &str, text: &str) -> Result<T> {
    T::parse(text).map_err(|wrong| anyhow!("{variable}: {wrong}"))
}
