//! Settings in `mo-router.toml`.

use anyhow::{Result, bail};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Entry, Key, PluginKey, general_keys, keys_of};
use super::nearest::did_you_mean;
use super::schema::{Limits, PluginSettings};
use super::value::Raw;

/// Reads the content of the file called `name`.
///
/// # Errors
/// It is not TOML, or has unknown keys. The errors give the line's number but not
/// its text, which may hold a password.
pub(super) fn read(name: &str, content: &str) -> Result<Vec<Entry>> {
    let mut file = File { name, content, entries: Vec::new() };
    let table = match DeTable::parse(content) {
        Ok(table) => table,
        Err(error) => bail!(
            "{}: this is not TOML: {}",
            file.position(error.span().map_or(0, |span| span.start)),
            error.message().trim_end()
        ),
    };
    file.read(table.get_ref())?;
    Ok(file.entries)
}

struct File<'a> {
    name: &'a str,
    content: &'a str,
    entries: Vec<Entry>,
}

type Name<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Item<'a> = Spanned<DeValue<'a>>;

impl File<'_> {
    fn read(&mut self, table: &DeTable) -> Result<()> {
        let known = general_keys();
        for (section, value) in table {
            let keys: Vec<_> =
                known.iter().filter(|(name, _)| *name == section.get_ref()).collect();
            if section.get_ref() == "plugin" {
                for (name, value) in self.table("plugin", section, value)? {
                    self.read_plugin(name, value)?;
                }
            } else if keys.is_empty() {
                let sections = known.iter().map(|(name, _)| *name).chain(["plugin"]);
                return self.unknown("section", "", section, sections);
            } else {
                for (key, value) in self.table(section.get_ref(), section, value)? {
                    let Some((section, key)) = keys.iter().find(|(_, name)| name == key.get_ref())
                    else {
                        let prefix = format!("{}.", section.get_ref());
                        return self.unknown(
                            "setting",
                            &prefix,
                            key,
                            keys.iter().map(|(_, name)| *name),
                        );
                    };
                    self.push(Key::General { section, key }, value)?;
                }
            }
        }
        Ok(())
    }

    fn read_plugin(&mut self, name: &Name, value: &Item) -> Result<()> {
        let prefix = format!("plugin.{}.", name.get_ref());
        let (own, limits) = (keys_of(&PluginSettings::default()), keys_of(&Limits::default()));
        let key_of = |key| Key::Plugin { name: name.get_ref().to_string(), key };
        for (key, value) in self.table(&prefix[..prefix.len() - 1], name, value)? {
            match key.get_ref().as_ref() {
                "limits" => {
                    for (key, value) in self.table(&format!("{prefix}limits"), key, value)? {
                        let Some(limit) = limits.iter().find(|limit| *limit == key.get_ref())
                        else {
                            return self.unknown(
                                "setting",
                                &format!("{prefix}limits."),
                                key,
                                limits,
                            );
                        };
                        self.push(key_of(PluginKey::Limit(limit)), value)?;
                    }
                }
                "config" => {
                    for (key, value) in self.table(&format!("{prefix}config"), key, value)? {
                        self.push(key_of(PluginKey::Config(key.get_ref().to_string())), value)?;
                    }
                }
                word => match own.iter().find(|known| **known == word) {
                    Some(known) => self.push(key_of(PluginKey::Own(known)), value)?,
                    None => {
                        let known = own.into_iter().chain(["limits", "config"]);
                        return self.unknown("setting", &prefix, key, known);
                    }
                },
            }
        }
        Ok(())
    }

    fn push(&mut self, key: Key, value: &Item) -> Result<()> {
        let origin = self.position(value.span().start);
        match raw(value.get_ref()) {
            Ok(raw) => self.entries.push(Entry { key, raw, origin }),
            Err(wrong) => bail!("{origin}: {key}: {wrong}"),
        }
        Ok(())
    }

    fn table<'t, 'i>(
        &self,
        path: &str,
        name: &Name,
        value: &'t Item<'i>,
    ) -> Result<&'t DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => bail!(
                "{}: {path} is a section; write it as [{path}]",
                self.position(name.span().start)
            ),
        }
    }

    fn unknown<'k>(
        &self,
        what: &str,
        prefix: &str,
        name: &Name,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Result<()> {
        bail!(
            "{}: there is no {what} {prefix}{}{}",
            self.position(name.span().start),
            name.get_ref(),
            did_you_mean(name.get_ref(), known)
        )
    }

    fn position(&self, byte: usize) -> String {
        let before = self.content.get(..byte).unwrap_or(self.content);
        format!("{}:{}", self.name, before.matches('\n').count() + 1)
    }
}

/// A value before its type is known.
///
/// # Errors
/// No setting can be written like this.
fn raw(value: &DeValue) -> Result<Raw, &'static str> {
    Ok(Raw::Text(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            let items: Option<_> = items.collect();
            return items.map(Raw::List).ok_or("an array can only hold strings");
        }
        DeValue::Table(_) => return Err("a section cannot be here; write one value"),
    }))
}
