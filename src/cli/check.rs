//! `mo-router check`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use super::print;
use crate::clock::Clock;
use crate::plugins::{Change, Folder, Host};
use crate::settings::Settings;

/// Loads every plugin in the folder, with the settings that hold for it. That the
/// settings are right is known already: they have been read.
pub async fn run(settings: Settings, json: bool) -> Result<ExitCode> {
    let host = Arc::new(Host::new(settings.cache_dir(), Clock::system())?);
    let mut wrong = 0;
    for change in Folder::read(&settings.plugins.dir)? {
        let (name, checked) = match change {
            Change::Present(source) => {
                let name = source.name.clone();
                let loaded = host.load(source, &settings.of_plugin(&name)).await;
                (name, loaded.map_err(|error| format!("{error:#}")))
            }
            Change::Unusable { name, path, reason } => {
                let reason = format!("plugin {name} ({}): {reason}", path.display());
                (name, Err(reason))
            }
            Change::Gone { .. } => continue,
        };
        wrong += u32::from(checked.is_err());
        match (&checked, json) {
            (Ok(plugin), false) => print(format_args!(
                "ok     {name}: version {}, {:?}",
                plugin.version, plugin.subscriptions
            ))?,
            (Err(reason), false) => print(format_args!("wrong  {reason}"))?,
            (Ok(plugin), true) => print(format_args!(
                "{}",
                json!({ "plugin": name, "version": plugin.version, "subscriptions": plugin.subscriptions })
            ))?,
            (Err(reason), true) => print(json!({ "plugin": name, "wrong": reason }))?,
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
