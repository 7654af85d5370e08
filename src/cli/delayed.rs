//! `mo-router delayed`

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::print;
use crate::delay::import::{Agent, Imported, Options};
use crate::delay::{Census, Filter, PERIODS, Store, Stored};
use crate::event::Datetime;
use crate::settings::{self, Settings};

/// What to do with delayed messages. Each works beside a running router, which
/// takes notice at once.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List them, those due first at the top
    List {
        #[command(flatten)]
        filter: Which,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "NUMBER")]
        limit: usize,
        /// Go on after the message with this id: the last one of the page before
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
    },
    /// Show one whole
    Show {
        /// Its id, as `list` shows it
        id: i64,
    },
    /// Count them, by when they are due
    Count {
        #[command(flatten)]
        filter: Which,
    },
    /// Remove them; they are never sent, unless they are on their way already
    Cancel {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Send them at another time; those that are on their way already may arrive twice
    Reschedule {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
        /// When: 2030-01-01T00:00:00+01:00, or from now: +2h, "+3days 4h"
        #[arg(value_parser = moment, value_name = "TIME")]
        time: Datetime,
    },
    /// Send them now instead of when they are due
    SendNow {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Move mo-delay-agent's messages over; a second time it adds only new ones
    Import(Import),
}

/// Which messages: those that are all that is asked here.
#[derive(Debug, Args)]
pub struct Which {
    /// That this plugin asked for
    #[arg(long)]
    plugin: Option<String>,
    /// About this person or unit
    #[arg(long)]
    uuid: Option<uuid::Uuid>,
    /// With this key
    #[arg(long)]
    key: Option<String>,
    /// Due then or later: 2030-01-01T00:00:00+01:00, or from now: +2h
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: Option<Datetime>,
    /// Due before then
    #[arg(long, value_parser = moment, value_name = "TIME")]
    until: Option<Datetime>,
}

/// Where from, and what they become.
#[derive(Debug, Args)]
pub struct Import {
    /// mo-delay-agent's database: postgres://user:password@host:port/database
    #[arg(long, value_name = "URL")]
    from: String,
    /// Where to publish them when they are due [default: [amqp] output_exchange]
    #[arg(long)]
    exchange: Option<String>,
    /// The plugin whose messages they become
    #[arg(long, default_value = "mo-delay")]
    plugin: String,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Runs one of the commands.
///
/// # Errors
/// The store cannot be used, or holds none of the messages that were named.
pub async fn run(command: Command, settings: Settings, json: bool) -> Result<()> {
    let store = &settings.delay.store;
    match command {
        Command::Import(import) => {
            let imported = import_all(&Store::open(store).await?, import, &settings).await?;
            print_imported(imported, json)
        }
        Command::List { filter, limit, after } => {
            let list = page(&existing(store).await?, filter.into(), after, limit).await?;
            print_list(&list, list.len() == limit, json)
        }
        Command::Show { id } => match existing(store).await?.show(id).await? {
            Some(stored) => print_whole(&stored, json),
            None => {
                bail!("no delayed message has the id {id}: it was sent or cancelled, or never was")
            }
        },
        Command::Count { filter } => {
            print_census(&existing(store).await?.count(filter.into(), Datetime::now()).await?, json)
        }
        Command::Cancel { ids } => {
            let cancelled = existing(store).await?.cancel(ids.clone()).await?;
            print_changed("cancelled", &ids, &cancelled, json)
        }
        Command::Reschedule { ids, time } => {
            let moved = existing(store).await?.reschedule(ids.clone(), time).await?;
            print_changed("rescheduled", &ids, &moved, json)
        }
        Command::SendNow { ids } => {
            let hurried = existing(store).await?.reschedule(ids.clone(), Datetime::now()).await?;
            print_changed("due now", &ids, &hurried, json)
        }
    }
}

/// The store, which looking must not create.
async fn existing(settings: &settings::StoreUrl) -> Result<Store> {
    if let settings::StoreUrl::Sqlite(file) = settings
        && !file.exists()
    {
        bail!(
            "there is no delay store {}: nothing was ever delayed, or [delay] store names another",
            file.display()
        );
    }
    Store::open(settings).await
}

/// Messages from after the one with the id `after`, which must be there still.
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
            "no delayed message has the id {id} any more, to go on after: it was sent or cancelled; \
             --from TIME goes on where it was due"
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

impl From<Which> for Filter {
    fn from(which: Which) -> Self {
        let Which { plugin, uuid, key, from, until } = which;
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
        eprintln!("they will be published to exchange {:?}", options.exchange);
    }
    Ok(imported)
}

fn print_imported(imported: Imported, json: bool) -> Result<()> {
    let Imported { read, added, known } = imported;
    match json {
        true => print(serde_json::to_string(&imported)?)?,
        false => print(format_args!("{read} read, {added} new, {known} imported before"))?,
    }
    Ok(())
}

fn print_list(list: &[Stored], more: bool, json: bool) -> Result<()> {
    if json {
        return Ok(print(Value::from_iter(list.iter().map(summary)))?);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "DUE", "PLUGIN", "EXCHANGE", "ROUTING KEY", "UUID", "KEY"]);
    for Stored { id, delayed, .. } in list {
        table.add_row([
            &id.to_string(),
            &delayed.due.to_string(),
            &delayed.plugin,
            &delayed.message.exchange,
            &delayed.message.routing_key,
            &delayed.uuid,
            delayed.key.as_deref().unwrap_or_default(),
        ]);
    }
    print(table)?;
    if more && let Some(last) = list.last() {
        eprintln!("there may be more: --after {}", last.id);
    }
    Ok(())
}

fn summary(stored: &Stored) -> Value {
    let delayed = &stored.delayed;
    json!({
        "id": stored.id,
        "due": delayed.due,
        "plugin": delayed.plugin,
        "version": delayed.version,
        "key": delayed.key,
        "uuid": delayed.uuid,
        "exchange": delayed.message.exchange,
        "routing_key": delayed.message.routing_key,
        "message_id": delayed.message.id(),
        "attempts": stored.attempts,
        "problem": stored.problem,
    })
}

fn print_whole(stored: &Stored, json: bool) -> Result<()> {
    let message = &stored.delayed.message;
    let mut whole = summary(stored);
    whole["properties"] = serde_json::to_value(&message.properties)?;
    whole["body"] = String::from_utf8_lossy(&message.body).into();
    match json {
        true => print(whole)?,
        false => print(format_args!("{whole:#}"))?,
    }
    Ok(())
}

fn print_census(census: &Census, json: bool) -> Result<()> {
    let periods = PERIODS.iter().map(|(name, _)| *name).chain(["later"]);
    let histogram = periods.zip(census.histogram.iter().copied());
    if json {
        let due: serde_json::Map<String, Value> =
            histogram.map(|(name, number)| (name.into(), number.into())).collect();
        return Ok(print(json!({"total": census.total, "next": census.next, "due": due}))?);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, number) in histogram {
        table.add_row(["due", name, &number.to_string(), &bar(number, census.total)]);
    }
    print(table)?;
    match census.next {
        Some(next) => print(format_args!("{} in all, the next one due {next}", census.total))?,
        None => print("none")?,
    }
    Ok(())
}

fn bar(part: u64, whole: u64) -> String {
    const WIDTH: u64 = 40;
    let length = (part * WIDTH).div_ceil(whole.max(1));
    "#".repeat(usize::try_from(length).unwrap_or_default())
}

fn print_changed(what: &str, asked: &[i64], changed: &[i64], json: bool) -> Result<()> {
    let missing: Vec<i64> = asked.iter().filter(|id| !changed.contains(id)).copied().collect();
    let printed = match json {
        true => print(json!({"changed": changed, "missing": missing})),
        false => print(format_args!("{} {what}", changed.len())),
    };
    if !missing.is_empty() {
        bail!("not in the store, because sent or cancelled already: {missing:?}");
    }
    Ok(printed?)
}
