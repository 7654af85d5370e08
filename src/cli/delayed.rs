//! `mo-router delayed`

mod show;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{Format, remark};
use crate::delay::import::{Agent, Imported, Options};
use crate::delay::{Filter, Store, Stored};
use crate::event::Datetime;
use crate::settings::{Settings, StoreUrl};

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
    /// Cancel delayed messages: they are never sent, unless they are being sent already
    Cancel {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Change when delayed messages are sent; any being sent already may arrive twice
    Reschedule {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
        /// The new time: 2030-01-01T00:00:00+01:00, or from now: +2h, "+3days 4h"
        #[arg(value_parser = moment, value_name = "TIME")]
        time: Datetime,
    },
    /// Send delayed messages now instead of when they are due
    SendNow {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Import mo-delay-agent's messages; run again, it adds only new ones
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
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: Option<Datetime>,
    /// Only messages due before this time
    #[arg(long, value_parser = moment, value_name = "TIME")]
    until: Option<Datetime>,
}

/// Where to import from, and as what.
#[derive(Debug, Args)]
pub struct Import {
    /// mo-delay-agent's database: postgres://user:password@host:port/database
    #[arg(long, value_name = "URL")]
    from: String,
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
    let store = &settings.delay.store;
    match command {
        Command::Import(import) => {
            let imported = import_all(&Store::open(store).await?, import, &settings).await?;
            show::imported(imported, format)
        }
        Command::List { selection, limit, after } => {
            let list = page(&existing(store).await?, selection.into(), after, limit).await?;
            show::list(&list, list.len() == limit, format)
        }
        Command::Show { id } => match existing(store).await?.show(id).await? {
            Some(stored) => show::whole(&stored, format),
            None => {
                bail!(
                    "no delayed message has the id {id}: it was sent or cancelled, or never existed"
                )
            }
        },
        Command::Count { selection } => {
            let store = existing(store).await?;
            show::census(&store.count(selection.into(), Datetime::now()).await?, format)
        }
        Command::Cancel { ids } => {
            let cancelled = existing(store).await?.cancel(ids.clone()).await?;
            show::changed("cancelled", &ids, &cancelled, format)
        }
        Command::Reschedule { ids, time } => {
            let moved = existing(store).await?.reschedule(ids.clone(), time).await?;
            show::changed("rescheduled", &ids, &moved, format)
        }
        Command::SendNow { ids } => {
            let hurried = existing(store).await?.reschedule(ids.clone(), Datetime::now()).await?;
            show::changed("due now", &ids, &hurried, format)
        }
    }
}

/// Opens the store, unless that would create it.
async fn existing(url: &StoreUrl) -> Result<Store> {
    if let StoreUrl::Sqlite(file) = url
        && !file.exists()
    {
        bail!(
            "delay store {} does not exist: nothing has been delayed yet, or [delay] store is wrong",
            file.display()
        );
    }
    Store::open(url).await
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

/// A time, or `+` and how long from now.
fn moment(text: &str) -> Result<Datetime> {
    match text.strip_prefix('+') {
        Some(delay) => {
            let delay: Duration = humantime::parse_duration(delay).with_context(|| {
                format!("{text:?} is not a time from now such as +90s, +2h or \"+3days 4h\"")
            })?;
            Ok(Datetime::now().saturating_add(delay))
        }
        None => text.parse(),
    }
}

impl From<Selection> for Filter {
    fn from(selection: Selection) -> Self {
        let Selection { plugin, uuid, key, from, until } = selection;
        Self { plugin, uuid: uuid.map(|uuid| uuid.to_string()), key, from, until }
    }
}

async fn import_all(store: &Store, import: Import, settings: &Settings) -> Result<Imported> {
    let agent = Agent::connect(&import.from).await?;
    let options = Options {
        exchange: import.exchange.unwrap_or_else(|| settings.amqp.output_exchange.clone()),
        plugin: import.plugin,
        dry_run: import.dry_run,
    };
    let style = ProgressStyle::with_template(
        "{bar:40} {human_pos} of {human_len}, {per_sec}, {eta} to go",
    )?;
    let bar = ProgressBar::new(agent.count().await?).with_style(style);
    let imported = agent.import(store, &options, |more| bar.inc(more)).await?;
    bar.finish_and_clear();
    if !options.dry_run && imported.added > 0 {
        remark(format_args!("they will be published to exchange {:?}", options.exchange));
    }
    Ok(imported)
}
