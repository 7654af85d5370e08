//! Messages on their way into the store and out of it, as files.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Export, Import, existing, show};
use crate::cli::output::{Format, private_file};
use crate::delay::Store;
use crate::delay::export;
use crate::delay::import::agent::{Agent, Options};
use crate::delay::import::{Imported, Target, file};
use crate::settings::{Secret, Settings, read_secret};

/// Writes all messages into a new file or to standard output, or moves them into
/// mo-delay-agent's table.
pub async fn export(export: Export, settings: &Settings, format: Format) -> Result<()> {
    let store = existing(&settings.delay.store).await?;
    let exported = match (&export.agent, &export.agent_file) {
        (None, None) => write(&store, export.file.as_deref()).await,
        _ => move_to_agent(&store, &export, settings, format).await,
    };
    store.close().await;
    exported
}

async fn move_to_agent(
    store: &Store,
    export: &Export,
    settings: &Settings,
    format: Format,
) -> Result<()> {
    let exchange = export.exchange.clone().unwrap_or_else(|| settings.amqp.output_exchange.clone());
    let options = Options { exchange, plugin: export.plugin.clone() };
    let url = agent_url(export.agent.as_deref(), "--agent-file", export.agent_file.as_deref())?;
    let agent = Agent::connect(url.expose().trim()).await?;
    let bar = ProgressBar::new_spinner();
    let progress = |more| bar.inc(more);
    let moved = agent.move_back(store, &options, export.from, export.dry_run, progress).await?;
    bar.finish_and_clear();
    show::moved(moved, format)
}

/// The URL of mo-delay-agent's database: what this option's file holds, or else as it was given.
fn agent_url(given: Option<&str>, option: &str, file: Option<&Path>) -> Result<Secret> {
    match file {
        Some(file) => read_secret(option, file),
        None => Ok(given.unwrap_or_default().to_owned().into()),
    }
}

async fn write(store: &Store, file: Option<&Path>) -> Result<()> {
    let (written, damaged) = match file {
        Some(path) => {
            let new = private_file().write(true).create_new(true).open(path);
            let new = new.with_context(|| format!("cannot create {}", path.display()))?;
            let mut output = BufWriter::new(new);
            let exported = export::export(store, &mut output).await;
            let exported = exported.and_then(|counted| {
                output.get_ref().sync_all()?;
                Ok(counted)
            });
            if exported.is_err() {
                // It holds not everything, and would be in the way of the next attempt.
                let _ = fs::remove_file(path);
            }
            exported?
        }
        None => {
            let mut output = BufWriter::new(io::stdout().lock());
            let exported = export::export(store, &mut output).await?;
            output.flush()?;
            exported
        }
    };
    eprintln!("{written} messages, {damaged} of them damaged");
    Ok(())
}

/// Imports messages, or counts what would be imported.
pub async fn import(import: Import, settings: &Settings, format: Format) -> Result<()> {
    let url = &settings.delay.store;
    // A dry run leaves nothing behind.
    let store = match import.dry_run {
        true => Store::existing(url).await?,
        false => Some(Store::open(url).await?),
    };
    let imported = read(import, store.as_ref(), settings).await;
    if let Some(store) = store {
        store.close().await;
    }
    show::imported(imported?, format)
}

/// Imports into the store; none for a dry run without one.
async fn read(import: Import, store: Option<&Store>, settings: &Settings) -> Result<Imported> {
    let target = match store {
        Some(store) if !import.dry_run => {
            store.prepare_for_import().await?;
            Target::Store(store)
        }
        store => Target::DryRun(store),
    };
    match (&import.file, &import.from) {
        (Some(path), _) => {
            let opened = File::open(path);
            let opened = opened.with_context(|| format!("cannot open {}", path.display()))?;
            let bar = ProgressBar::new_spinner();
            let imported = file::import(target, BufReader::new(opened), |more| bar.inc(more));
            let imported = imported.await?;
            bar.finish_and_clear();
            Ok(imported)
        }
        (None, from) => {
            let url = agent_url(from.as_deref(), "--from-file", import.from_file.as_deref())?;
            let agent = Agent::connect(url.expose().trim()).await?;
            let options = Options {
                exchange: import.exchange.unwrap_or_else(|| settings.amqp.output_exchange.clone()),
                plugin: import.plugin,
            };
            let style = ProgressStyle::with_template(
                "{bar:40} {human_pos} of {human_len}, {per_sec}, {eta} to go",
            )?;
            let bar = ProgressBar::new(agent.count().await?).with_style(style);
            let imported = agent.import(target, &options, |more| bar.inc(more)).await?;
            bar.finish_and_clear();
            if !import.dry_run && imported.added > 0 {
                eprintln!("they will be published to exchange {:?}", options.exchange);
            }
            Ok(imported)
        }
    }
}
