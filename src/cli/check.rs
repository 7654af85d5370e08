//! `mo-router check`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::connect;
use super::output::{Format, exit_code, warn};
use crate::clock::Clock;
use crate::delay::probe;
use crate::escape::escaped;
use crate::event::topic;
use crate::plugins::{Change, Codegen, Folder, Host, check_name};
use crate::settings::Settings;

/// Where systemd puts the credentials of a service, for as long as that runs.
const CREDENTIALS: &str = "/run/credentials";

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also try the broker, the delay store, MO and the HTTP address, with the rights that run
    /// needs; changes nothing
    #[arg(long)]
    connect: bool,
}

/// Shows where settings come from and what may surprise about them, and loads every plugin in
/// the folder with its settings. That they are valid has been checked by reading them.
pub async fn run(args: &Args, settings: Settings, format: Format) -> Result<ExitCode> {
    show_settings(&settings, format)?;
    let mut passed = true;
    let mut wrong = |text: &str| {
        passed = false;
        format.print(&json!({ "wrong": text }), format_args!("wrong  {text}"))
    };
    for mistake in settings.mistakes() {
        wrong(&mistake)?;
    }
    match probe::look(&settings.delay.store) {
        Ok(warnings) => {
            for warning in warnings {
                warn(&warning, format)?;
            }
        }
        Err(error) => wrong(&format!("{error:#}"))?,
    }
    for file in settings.files() {
        let Err(error) = file.check() else { continue };
        match file.path.starts_with(CREDENTIALS) && !file.path.exists() {
            true => {
                let why = "systemd puts it there when the service starts";
                warn(&format!("{error:#}; {why}"), format)?;
            }
            false => wrong(&format!("{error:#}"))?,
        }
    }
    let files = match Folder::read(&settings.plugins.dir) {
        Ok(files) => files,
        Err(error) => {
            wrong(&format!("[plugins] dir: {error:#}"))?;
            Vec::new()
        }
    };
    let names: Vec<String> = files.iter().filter_map(name_of).map(str::to_owned).collect();
    let called: Vec<&str> = names.iter().map(String::as_str).collect();
    for (section, nearest) in settings.plugins_without_file(&called) {
        let dir = settings.plugins.dir.display();
        match nearest {
            Some(near) => wrong(&format!(
                "[plugin.{section}]: no file in {dir} is called so; did you mean {near:?}?"
            ))?,
            None => warn(&format!("[plugin.{section}]: no file in {dir} is called so"), format)?,
        }
    }
    passed &= plugins(files, &settings, format).await?;
    if args.connect {
        // Of one that is refused as well: the file may be fixed without anybody checking its rights
        // again.
        let can_run: Vec<&str> =
            called.into_iter().filter(|name| check_name(name).is_ok()).collect();
        passed &= connect::run(&settings, &can_run, format).await?;
    }
    Ok(exit_code(passed))
}

fn name_of(change: &Change) -> Option<&str> {
    match change {
        Change::Present(file) => Some(&file.name),
        Change::Unusable { name, .. } => Some(name),
        Change::Gone { .. } => None,
    }
}

/// Loads every plugin, which may take a while, and shows what came of it. Says whether all are
/// right.
async fn plugins(files: Vec<Change>, settings: &Settings, format: Format) -> Result<bool> {
    let host = Arc::new(
        Host::of_program(settings.cache_dir(), Clock::system(), Codegen::Optimised).await?,
    );
    let mut passed = true;
    // Drawn on a terminal only.
    let bar = ProgressBar::new(files.len() as u64)
        .with_style(ProgressStyle::with_template("compiling {msg} ({pos} of {len})")?);
    bar.enable_steady_tick(Duration::from_millis(100));
    for change in files {
        if let Some(name) = name_of(&change) {
            bar.set_message(escaped(name).into_owned());
        }
        let (name, checked) = match change {
            Change::Present(file) => {
                let name = file.name.clone();
                let loaded = match file.read().await {
                    Ok(source) => host.load(source, &settings.of_plugin(&name)).await,
                    Err(error) => Err(error),
                };
                (name, loaded.map_err(|error| format!("{error:#}")))
            }
            Change::Unusable { name, path, reason } => {
                let reason = format!("plugin {name} ({}): {reason}", path.display());
                (name, Err(reason))
            }
            Change::Gone { .. } => continue,
        };
        bar.inc(1);
        bar.suspend(|| -> Result<()> {
            match checked {
                Ok(plugin) => {
                    let (version, own) = (&plugin.label, &plugin.subscriptions);
                    let set = settings.of_plugin(&name).subscriptions;
                    let subscriptions = set.as_ref().unwrap_or(own);
                    for text in
                        own.iter().filter(|_| set.is_none()).filter_map(|p| topic::mistake(p))
                    {
                        warn(&format!("plugin {name}: {text}"), format)?;
                    }
                    if set.as_ref().is_some_and(|set| set != own) {
                        let text = format!(
                            "[plugin.{name}] subscriptions {subscriptions:?} take the place of the \
                         plugin's own {own:?}"
                        );
                        warn(&text, format)?;
                    }
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
            Ok(())
        })?;
    }
    bar.finish_and_clear();
    Ok(passed)
}

/// Which settings the environment sets, and what may surprise about them.
fn show_settings(settings: &Settings, format: Format) -> Result<()> {
    for (key, variable) in &settings.origins.variables {
        format.print(
            &json!({ "setting": key, "set_by": variable }),
            format_args!("set    {key} by {variable}"),
        )?;
    }
    for warning in settings.warnings() {
        format.print(&json!({ "warning": warning }), format_args!("warn   {warning}"))?;
    }
    Ok(())
}
