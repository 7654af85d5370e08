//! `mo-router dead`

use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use super::print;
use crate::amqp::Broker;
use crate::amqp::dead::{self, Action, Filter, Letter};
use crate::settings::Settings;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List them, oldest first
    List {
        /// Only those of one plugin
        #[arg(long)]
        plugin: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one whole
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Send them back: events to their plugin's queue, publications to their exchange
    Requeue(Chosen),
    /// Throw them away for good
    Discard(Chosen),
}

/// Which ones.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Chosen {
    /// Their ids, or beginnings of ids
    ids: Vec<String>,
    /// Those of one plugin
    #[arg(long)]
    plugin: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["ids", "plugin"])]
    all: bool,
}

/// Runs one of the commands.
pub async fn run(command: Command, settings: Settings, json: bool) -> Result<()> {
    let broker = Arc::new(Broker::new(settings.amqp));
    match command {
        Command::List { plugin, limit } => {
            let filter = Filter { plugin, limit: Some(limit), ..Filter::default() };
            let letters = dead::each(&broker, &filter, Action::Read).await?;
            print_list(&letters, json)?;
        }
        Command::Show { id } => {
            let filter = Filter { ids: vec![id.clone()], ..Filter::default() };
            let letters = dead::each(&broker, &filter, Action::Read).await?;
            match letters.as_slice() {
                [] => bail!(
                    "no dead letter has an id that begins with {id:?}: see `mo-router dead list`"
                ),
                letters => letters.iter().try_for_each(|letter| show(letter, json))?,
            }
        }
        Command::Requeue(chosen) => {
            act(&broker, chosen, Action::Requeue, "sent back", json).await?
        }
        Command::Discard(chosen) => {
            act(&broker, chosen, Action::Discard, "discarded", json).await?
        }
    }
    broker.close().await;
    Ok(())
}

async fn act(
    broker: &Arc<Broker>,
    chosen: Chosen,
    action: Action,
    done: &str,
    json: bool,
) -> Result<()> {
    let filter = Filter { ids: chosen.ids, plugin: chosen.plugin, limit: None };
    let letters = dead::each(broker, &filter, action).await?;
    if json {
        print(serde_json::to_string(&letters)?)?;
    } else {
        print(format_args!("{} {done}", letters.len()))?;
    }
    if letters.is_empty() && !chosen.all {
        bail!("no dead letter is meant by that: see `mo-router dead list`");
    }
    Ok(())
}

fn print_list(letters: &[Letter], json: bool) -> Result<()> {
    if json {
        print(serde_json::to_string(letters)?)?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
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
    print(&table)?;
    Ok(())
}

fn show(letter: &Letter, json: bool) -> Result<()> {
    if json {
        print(serde_json::to_string(letter)?)?;
    } else {
        print(serde_json::to_string_pretty(letter)?)?;
    }
    Ok(())
}
