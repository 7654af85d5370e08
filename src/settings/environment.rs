//! Settings in the environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::key::{Entry, Key, PluginKey, general_keys, keys_of};
use super::nearest::did_you_mean;
use super::schema::{Limits, PluginSettings, Settings, canonical};
use super::value::Raw;

const PREFIX: &str = "MO_ROUTER_";

/// Options of the command line that have a variable too.
const OPTIONS: [&str; 3] = ["CONFIG", "LOG_FORMAT", "IMPORT_FROM"];

/// The environment. What is not Unicode is none of our settings: it is read with
/// replacement characters rather than refused.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn variables() -> impl Iterator<Item = (String, String)> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}

/// Who has started the router, and wants to know how it is (`sd_notify(3)`).
#[derive(Debug, Default)]
pub struct ServiceManager {
    /// The path of its socket, or `@` and the name of an abstract one.
    pub socket: Option<String>,
    /// Within how long it wants to hear that the router still runs.
    pub watchdog: Option<Duration>,
}

/// The service manager that the environment names.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn service_manager() -> ServiceManager {
    let read = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    // A child that inherits the variables is not who is meant.
    let is_meant = read("WATCHDOG_PID").is_none_or(|id| id == std::process::id().to_string());
    let watchdog = read("WATCHDOG_USEC").filter(|_| is_meant);
    ServiceManager {
        socket: read("NOTIFY_SOCKET"),
        watchdog: watchdog
            .and_then(|microseconds| microseconds.parse().ok())
            .filter(|microseconds| *microseconds > 0)
            .map(Duration::from_micros),
    }
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

/// Whether Kubernetes has set the variable, as it does in every container for every service
/// of the namespace: for one called `mo-router-rabbitmq`, `MO_ROUTER_RABBITMQ_SERVICE_HOST`,
/// `MO_ROUTER_RABBITMQ_PORT=tcp://10.0.0.1:5672`, `MO_ROUTER_RABBITMQ_PORT_5672_TCP_ADDR` and so on;
/// for one called `amqp`, `AMQP_PORT`. None of the settings looks like that.
pub(super) fn is_service_link(variable: &str, text: &str) -> bool {
    let name = match variable.strip_prefix(PREFIX) {
        // What a plugin reads is its own business.
        Some(name) if name.starts_with("PLUGIN_") && name.contains("_CONFIG_") => return false,
        Some(name) => name,
        None if variable == "AMQP_PORT" => variable,
        None => return false,
    };
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_url = || {
        let mut protocols = PROTOCOLS.iter().map(|protocol| protocol.to_lowercase());
        protocols.any(|protocol| text.starts_with(&format!("{protocol}://")))
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    // PORT_5672_TCP, PORT_5672_TCP_ADDR
    let is_part = |rest: &str| {
        let mut parts = rest.split('_');
        parts.next().is_some_and(is_number)
            && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol))
            && matches!(parts.next(), None | Some("ADDR" | "PORT" | "PROTO"))
    };
    let name = format!("_{name}");
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url())
        || name.match_indices("_PORT_").any(|(at, found)| is_part(&name[at + found.len()..]))
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
        if OPTIONS.contains(&name) {
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
