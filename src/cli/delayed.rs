//! `mo-router delayed`

mod show;
mod transfer;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Router;
use super::moment::from_now;
use super::output::Format;
use crate::delay::{Filter, Store, Stored, settled};
use crate::event::Datetime;
use crate::settings::{Settings, StoreUrl};

/// How long the store may take to answer a command.
const PATIENCE: Duration = Duration::from_secs(90);

/// What to do with delayed messages. All of it works while a router runs, which
/// notices changes at once.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List delayed messages, the next one due first
    List {
        #[command(flatten)]
        selection: Selection,
        /// List at most this many
        #[arg(long, default_value_t = 50, value_name = "NUMBER")]
        limit: usize,
        /// Continue after the message with this id: the last one of the previous page
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
    },
    /// Show a delayed message in full
    Show {
        /// Its id, as `list` shows it
        id: i64,
    },
    /// Count delayed messages by when they are due
    Count {
        #[command(flatten)]
        selection: Selection,
    },
    /// Cancel delayed messages: they are never sent. Those being sent are waited for
    Cancel {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Change when delayed messages are sent. Those being sent are waited for
    Reschedule {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
        /// The new time: 2030-01-01T00:00:00+01:00, or from now: +2h, "+3days 4h"
        #[arg(value_parser = from_now, value_name = "TIME")]
        time: Datetime,
    },
    /// Send delayed messages now instead of when they are due
    SendNow {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Release the messages that `run --hold-delayed` holds
    Release(Router),
    /// Write a copy of a local store into a new file, also beside a running router
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Write all delayed messages as JSON Lines, to import them into another store; or move
    /// them into mo-delay-agent's table
    Export(Export),
    /// Import messages of another store or of mo-delay-agent; run again, it adds only new ones
    Import(Import),
}

/// Which messages: those that match everything given here.
#[derive(Debug, Args)]
pub struct Selection {
    /// Only messages of this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// Only messages about this person or unit
    #[arg(long)]
    uuid: Option<uuid::Uuid>,
    /// Only messages with this key
    #[arg(long)]
    key: Option<String>,
    /// Only messages due at this time or later: 2030-01-01T00:00:00+01:00, or from now: +2h
    #[arg(long, value_parser = from_now, value_name = "TIME")]
    from: Option<Datetime>,
    /// Only messages due before this time
    #[arg(long, value_parser = from_now, value_name = "TIME")]
    until: Option<Datetime>,
    /// Only messages that are due or were put off: what is about to leave, or should have left
    #[arg(long, conflicts_with = "until")]
    overdue: bool,
}

/// Where to export to, and what.
#[derive(Debug, Args)]
pub struct Export {
    /// The file to write [default: standard output]
    #[arg(conflicts_with = "to_agent")]
    file: Option<PathBuf>,
    /// Move messages into mo-delay-agent's table in this database instead, which then sends
    /// them: postgres://user@host:port/database. The agent must not run while its table still has
    /// rows that were imported: they are deleted. A password in the URL is seen by everybody on
    /// this machine: better use --agent-file
    #[arg(long, value_name = "URL", group = "to_agent")]
    agent: Option<String>,
    /// As --agent, with the URL in this file
    #[arg(long, value_name = "FILE", group = "to_agent")]
    agent_file: Option<PathBuf>,
    /// With --agent: only messages of this plugin
    #[arg(long, default_value = "mo-delay", requires = "to_agent")]
    plugin: String,
    /// With --agent: only messages to this exchange, which is the agent's [default: [amqp]
    /// output_exchange]
    #[arg(long, requires = "to_agent")]
    exchange: Option<String>,
    /// With --agent: leave messages that are due before this time, which the router sends itself:
    /// 2030-01-01T00:00:00+01:00, or from now: +10min
    #[arg(long, value_parser = from_now, value_name = "TIME", requires = "to_agent")]
    from: Option<Datetime>,
    /// With --agent: only show what would be moved
    #[arg(long, requires = "to_agent")]
    dry_run: bool,
}

/// Where to import from, and as what.
#[derive(Debug, Args)]
pub struct Import {
    /// What `mo-router delayed export` has written, to import it as it is
    #[arg(long, value_name = "FILE", required_unless_present_any = ["from", "from_file"])]
    #[arg(conflicts_with_all = ["from_file", "exchange", "plugin"])]
    file: Option<PathBuf>,
    /// mo-delay-agent's database: postgres://user@host:port/database. A password in it is seen by
    /// everybody on this machine: better use the variable, or --from-file
    #[arg(long, value_name = "URL", env = "MO_ROUTER_IMPORT_FROM", hide_env_values = true)]
    from: Option<String>,
    /// A file that holds the URL of mo-delay-agent's database
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Exchange to publish the messages to when they are due [default: [amqp] output_exchange]
    #[arg(long)]
    exchange: Option<String>,
    /// Plugin to import the messages for
    #[arg(long, default_value = "mo-delay")]
    plugin: String,
    /// Only show what would be imported
    #[arg(long)]
    dry_run: bool,
}

/// Runs one of the commands.
///
/// # Errors
/// The store cannot be used, or does not have the messages that were named.
pub async fn run(command: Command, settings: Settings, format: Format) -> Result<()> {
    match command {
        Command::Import(import) => transfer::import(import, &settings, format).await,
        Command::Export(export) => transfer::export(export, &settings, format).await,
        Command::Backup { file } => {
            let store = existing(&settings.delay.store).await?;
            let written = store.back_up(&file).await;
            store.close().await;
            written?;
            eprintln!("wrote {}", file.display());
            Ok(())
        }
        Command::Release(router) => {
            let answer = router.post(&settings, "delayed/release").await?;
            let answer = answer.trim_end();
            format.print(&json!({ "answer": answer }), answer)
        }
        quick => {
            let answered = tokio::time::timeout(PATIENCE, answer(quick, &settings, format)).await;
            answered.unwrap_or_else(|_| bail!("the delay store has not answered in {PATIENCE:?}"))
        }
    }
}

/// Runs a command that takes no time. What it has changed is then in the store's file itself,
/// unless a router has that open.
async fn answer(command: Command, settings: &Settings, format: Format) -> Result<()> {
    let store = existing(&settings.delay.store).await?;
    let answered = ask(&store, command, format).await;
    store.close().await;
    answered
}

async fn ask(store: &Store, command: Command, format: Format) -> Result<()> {
    match command {
        Command::List { selection, limit, after } => {
            let list = page(store, selection.filter(store).await?, after, limit).await?;
            show::list(&list, list.len() == limit, format)
        }
        Command::Show { id } => match store.show(id).await? {
            Some(stored) => show::whole(&stored, format),
            None => {
                bail!(
                    "no delayed message has the id {id}: it was sent or cancelled, or never existed"
                )
            }
        },
        Command::Count { selection } => {
            let (filter, now) = (selection.filter(store).await?, store.now().await?);
            show::census(&store.count(filter, now).await?, format)
        }
        Command::Cancel { ids } => {
            let cancelled = settled(&ids, |ids| store.cancel(ids)).await?;
            show::changed("cancelled", &ids, &cancelled, format)
        }
        Command::Reschedule { ids, time } => {
            let moved = settled(&ids, |ids| store.reschedule(ids, time)).await?;
            show::changed("rescheduled", &ids, &moved, format)
        }
        Command::SendNow { ids } => {
            let hurried = settled(&ids, |ids| store.send_now(ids)).await?;
            show::changed("due now", &ids, &hurried, format)
        }
        Command::Import(_) | Command::Export(_) | Command::Backup { .. } | Command::Release(_) => {
            bail!("this command takes its time")
        }
    }
}

/// Opens the store, unless that would create it.
async fn existing(url: &StoreUrl) -> Result<Store> {
    match (Store::existing(url).await?, url) {
        (Some(store), _) => Ok(store),
        (None, StoreUrl::Sqlite(file)) => bail!(
            "delay store {} does not exist: nothing has been delayed yet, or [delay] store is wrong",
            file.display()
        ),
        (None, StoreUrl::Postgres(url)) => bail!(
            "delay store {url} has no tables of mo-router: no router has used it yet (its start makes them), \
             or [delay] store is wrong"
        ),
    }
}

/// The messages that come after the one with the id `after`, which must still exist.
async fn page(
    store: &Store,
    filter: Filter,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Stored>> {
    let list = store.list(filter, after, limit).await?;
    if list.is_empty()
        && let Some(id) = after
        && store.show(id).await?.is_none()
    {
        bail!(
            "cannot continue after message {id}: it was sent or cancelled; use --from with the time \
             when it was due instead"
        );
    }
    Ok(list)
}

impl Selection {
    /// What is due is so by the store's clock.
    async fn filter(self, store: &Store) -> Result<Filter> {
        let Self { plugin, uuid, key, from, until, overdue } = self;
        let overdue = if overdue { Some(store.now().await?) } else { None };
        Ok(Filter { plugin, uuid: uuid.map(|uuid| uuid.to_string()), key, from, until, overdue })
    }
}
