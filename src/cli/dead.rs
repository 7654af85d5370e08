//! `mo-router dead`

use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::BLOCKED_TIMEOUT;
use super::output::{Format, table};
use crate::amqp::Broker;
use crate::amqp::dead::{self, Action, Filter, Letter};
use crate::settings::Settings;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List dead letters, oldest first
    List {
        /// Only those of this plugin
        #[arg(long)]
        plugin: Option<String>,
        /// List at most this many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show a dead letter in full
    Show {
        /// Its id, or the first characters of it
        id: String,
    },
    /// Send dead letters back: events to their plugin's queue, publications to their exchange
    Requeue(Chosen),
    /// Delete dead letters for good
    Discard(Chosen),
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Chosen {
    /// Their ids, or the first characters of them
    ids: Vec<String>,
    /// Only those of this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// All dead letters
    #[arg(long, conflicts_with_all = ["ids", "plugin"])]
    all: bool,
}

/// Runs one of the commands.
pub async fn run(command: Command, settings: Settings, format: Format) -> Result<()> {
    let broker = Arc::new(Broker::new(settings.amqp));
    // Neither is polled again after the other one is ready.
    tokio::select! {
        done = apply(&broker, command, format) => done?,
        blocked = broker.blocked_for(BLOCKED_TIMEOUT) => return Err(blocked),
    }
    broker.close().await;
    Ok(())
}

async fn apply(broker: &Arc<Broker>, command: Command, format: Format) -> Result<()> {
    match command {
        Command::List { plugin, limit } => {
            let filter = Filter { plugin, limit: Some(limit), ..Filter::default() };
            let letters = dead::each(broker, &filter, Action::Read).await?;
            print_list(&letters, format)?;
        }
        Command::Show { id } => {
            let filter = Filter { ids: vec![id.clone()], ..Filter::default() };
            let letters = dead::each(broker, &filter, Action::Read).await?;
            match letters.as_slice() {
                [] => bail!(
                    "no dead letter has an id that begins with {id:?}: see `mo-router dead list`"
                ),
                letters => letters.iter().try_for_each(|letter| show(letter, format))?,
            }
        }
        Command::Requeue(chosen) => {
            act(broker, chosen, Action::Requeue, "sent back", format).await?
        }
        Command::Discard(chosen) => {
            act(broker, chosen, Action::Discard, "discarded", format).await?
        }
    }
    Ok(())
}

async fn act(
    broker: &Arc<Broker>,
    chosen: Chosen,
    action: Action,
    done: &str,
    format: Format,
) -> Result<()> {
    let filter = Filter { ids: chosen.ids, plugin: chosen.plugin, limit: None };
    let letters = dead::each(broker, &filter, action).await?;
    format.print(&letters, format_args!("{} {done}", letters.len()))?;
    if letters.is_empty() && !chosen.all {
        bail!("no such dead letters: see `mo-router dead list`");
    }
    Ok(())
}

fn print_list(letters: &[Letter], format: Format) -> Result<()> {
    let mut table = table();
    table.set_header(["ID", "SINCE", "PLUGIN", "ROUTING KEY", "TRIES", "REASON"]);
    for letter in letters {
        table.add_row([
            &letter.id,
            letter.since.as_deref().unwrap_or("?"),
            &letter.plugin,
            &letter.routing_key,
            &letter.attempts.to_string(),
            &letter.reason,
        ]);
    }
    format.print(&letters, table)
}

fn show(letter: &Letter, format: Format) -> Result<()> {
    format.print(letter, serde_json::to_string_pretty(letter)?)
}
