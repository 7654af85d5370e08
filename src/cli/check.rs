//! `mo-router check`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use super::output::{Format, exit_code};
use crate::clock::Clock;
use crate::plugins::{Change, Folder, Host};
use crate::settings::Settings;

/// Loads every plugin in the folder with its settings. The settings themselves have
/// been checked already, by reading them.
pub async fn run(settings: Settings, format: Format) -> Result<ExitCode> {
    let host = Arc::new(Host::of_program(settings.cache_dir(), Clock::system())?);
    let mut passed = true;
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
        match checked {
            Ok(plugin) => {
                let (version, subscriptions) = (&plugin.version, &plugin.subscriptions);
                format.print(
                    &json!({ "plugin": name, "version": version, "subscriptions": subscriptions }),
                    format_args!("ok     {name}: version {version}, {subscriptions:?}"),
                )?;
            }
            Err(reason) => {
                passed = false;
                format.print(
                    &json!({ "plugin": name, "wrong": reason }),
                    format_args!("wrong  {reason}"),
                )?;
            }
        }
    }
    Ok(exit_code(passed))
}
