//! Other settings for one plugin, as its tests have them.

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value as Json};

use super::key::keys_of;
use super::nearest::did_you_mean;
use super::schema::{Limits, PluginSettings, Settings, canonical};
use super::section::Section;
use super::value::Raw;

impl Settings {
    /// These settings, with others for one plugin: the keys of `[plugin.NAME]`, with tables for
    /// `limits` and `config`, whose keys are set one by one.
    ///
    /// # Errors
    /// Unknown keys, with the closest known one; values that are none for their key.
    pub fn with_plugin(&self, name: &str, keys: &Map<String, Json>) -> Result<Self> {
        let mut plugin = self.of_plugin(name);
        for (key, value) in keys {
            set(&mut plugin, key, value)?;
        }
        let mut settings = self.clone();
        settings.plugin.insert(canonical(name), plugin);
        Ok(settings)
    }
}

fn set(plugin: &mut PluginSettings, key: &str, value: &Json) -> Result<()> {
    let at = |key: &str| format!("plugin.{key}");
    match key {
        "limits" => {
            let known = keys_of(&Limits::default());
            for (limit, value) in table(key, value)? {
                let at = at(&format!("limits.{limit}"));
                check_known(&at, limit, &known)?;
                plugin.limits.set(limit, &raw(&at, value)?).map_err(|wrong| error(&at, &wrong))?;
            }
        }
        "config" => {
            for (name, value) in table(key, value)? {
                let at = at(&format!("config.{name}"));
                let raw = raw(&at, value)?;
                let text = raw.text().map_err(|wrong| error(&at, &wrong))?;
                plugin.config.insert(name.clone(), text.to_owned());
            }
        }
        key => {
            let mut known = keys_of(plugin);
            known.extend(["limits", "config"]);
            let at = at(key);
            check_known(&at, key, &known)?;
            plugin.set(key, &raw(&at, value)?).map_err(|wrong| error(&at, &wrong))?;
        }
    }
    Ok(())
}

fn check_known(at: &str, key: &str, known: &[&str]) -> Result<()> {
    match known.contains(&key) {
        true => Ok(()),
        false => bail!("there is no setting {at}{}", did_you_mean(key, known.iter().copied())),
    }
}

fn table<'a>(key: &str, value: &'a Json) -> Result<&'a Map<String, Json>> {
    value.as_object().ok_or_else(|| anyhow!("plugin.{key} is a table, not {value}"))
}

/// A value before its type is known.
fn raw(at: &str, value: &Json) -> Result<Raw> {
    Ok(Raw::Text(match value {
        Json::String(text) => text.clone(),
        Json::Number(_) | Json::Bool(_) => value.to_string(),
        Json::Array(items) => {
            let items = items.iter().map(|item| item.as_str().map(str::to_owned));
            let items: Option<Vec<String>> = items.collect();
            let items = items.ok_or_else(|| anyhow!("{at}: an array can only hold strings"))?;
            return Ok(Raw::List(items));
        }
        Json::Null | Json::Object(_) => bail!("{at}: {value} is no value of a setting"),
    }))
}

fn error(at: &str, wrong: &str) -> anyhow::Error {
    anyhow!("{at}: {wrong}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(keys: Json) -> Result<PluginSettings> {
        let keys = keys.as_object().expect("a table");
        Ok(Settings::default().with_plugin("Some_plugin", keys)?.of_plugin("some-plugin"))
    }

    #[test]
    fn each_key_of_a_plugin_can_be_set() {
        let plugin = with(json!({
            "exchanges": ["a", "b"],
            "lanes": 2,
            "log_level": "debug",
            "limits": { "attempts": 2, "timeout": "5ms" },
            "config": { "text": "as it is", "number": 7, "on": true },
        }));
        let plugin = plugin.expect("all is right");
        assert_eq!((plugin.exchanges.len(), plugin.lanes, plugin.limits.attempts), (2, 2, 2));
        let config: Vec<_> = plugin.config.iter().map(|(key, text)| (&**key, &**text)).collect();
        assert_eq!(config, [("number", "7"), ("on", "true"), ("text", "as it is")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (keys, expected) in [
            (json!({ "exchange": ["a"] }), "no setting plugin.exchange; did you mean exchanges?"),
            (
                json!({ "limits": { "attempt": 2 } }),
                "plugin.limits.attempt; did you mean attempts?",
            ),
            (json!({ "lanes": 0 }), "plugin.lanes: 0 is out of range"),
            (json!({ "limits": 3 }), "plugin.limits is a table, not 3"),
            (json!({ "config": { "a": ["b"] } }), "plugin.config.a: an array cannot be here"),
            (json!({ "config": { "a": null } }), "plugin.config.a: null is no value"),
        ] {
            let error = with(keys).map(drop).expect_err("it is wrong").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
