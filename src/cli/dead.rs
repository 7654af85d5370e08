//! `mo-router dead`

mod show;

use std::convert::identity;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::Format;
use super::patience::BLOCKED_TIMEOUT;
use crate::amqp::{Broker, dead, topology};
use crate::event::Datetime;
use crate::settings::Settings;

/// How many letters `show` shows at most.
const SHOWN: usize = 100;
/// How many hexadecimal digits an id has.
const ID: usize = 16;

/// What to do with dead letters. All of it works while a router runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List dead letters, oldest first
    List {
        #[command(flatten)]
        selection: Selection,
        /// List at most this many
        #[arg(long, default_value_t = 100, value_name = "NUMBER")]
        limit: usize,
        /// Leave out the first ones: those of the pages before
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        skip: usize,
        /// Count them by plugin and reason, with the times of the first and the last
        #[arg(long, conflicts_with_all = ["limit", "skip"])]
        group: bool,
    },
    /// Show a dead letter in full
    Show {
        /// Its id, or the first characters of it
        #[arg(value_parser = id)]
        id: String,
        /// Print its event as it came, as a line of JSON: for replay, publish --file and the cases of
        /// plugin test
        #[arg(long)]
        event: bool,
    },
    /// Send dead letters back: events to the queue they came from, publications to their exchange
    ///
    /// Each is removed once the broker has confirmed it. Those that cannot be sent back stay
    /// dead letters; they are counted, and the exit status is 1.
    Requeue(Chosen),
    /// Delete dead letters for good
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        /// Do not ask before deleting everything
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters: those that match everything given here.
#[derive(Debug, Default, Args)]
pub struct Selection {
    /// Only those of this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// Only those whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those that died at this time or later: 2030-01-01T00:00:00+01:00, or how long ago: 2h
    #[arg(long, value_parser = moment, value_name = "TIME")]
    since: Option<Datetime>,
    /// Only those that died before this time
    #[arg(long, value_parser = moment, value_name = "TIME")]
    until: Option<Datetime>,
}

/// Which dead letters, of which something has to be said.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true)
    .args(["ids", "plugin", "reason", "since", "until", "all"]))]
pub struct Chosen {
    /// Their ids, or the first characters of them
    #[arg(value_parser = id)]
    ids: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// All dead letters
    #[arg(long, conflicts_with_all = ["ids", "plugin", "reason", "since", "until"])]
    all: bool,
}

/// Runs one of the commands.
///
/// # Errors
/// The broker is unreachable, there are no such dead letters, or some cannot be sent back.
pub async fn run(command: Command, settings: Settings, format: Format) -> Result<()> {
    let broker = Arc::new(Broker::new(settings.amqp));
    // Neither is polled again after the other one is ready.
    let done = tokio::select! {
        done = with(&broker, command, format) => done,
        blocked = broker.blocked_for(BLOCKED_TIMEOUT) => return Err(blocked),
    };
    broker.close().await;
    done
}

async fn with(broker: &Arc<Broker>, command: Command, format: Format) -> Result<()> {
    match command {
        Command::List { selection, group: true, .. } => {
            show::groups(&dead::groups(broker, &selection.with(Vec::new())).await?, format)
        }
        Command::List { selection, limit, skip, group: false } => {
            let selection = selection.with(Vec::new());
            let letters = dead::list(broker, &selection, skip, limit, identity).await?;
            show::list(&letters, (letters.len() == limit).then_some(skip + limit), format)
        }
        Command::Show { id, event } => {
            // Letters with the same id are the same in everything.
            let limit = if id.len() == ID { 1 } else { SHOWN };
            let selection = Selection::default().with(vec![id.clone()]);
            let letters = dead::list(broker, &selection, 0, limit, identity).await?;
            if letters.is_empty() {
                bail!(
                    "no dead letter has an id that begins with {id:?}: see `mo-router dead list`"
                );
            }
            let show = if event { show::event } else { show::whole };
            letters.iter().try_for_each(|letter| show(letter, format))
        }
        Command::Requeue(chosen) => requeue(broker, chosen, format).await,
        Command::Discard { chosen, yes } => {
            if !yes && chosen.is_everything() {
                confirm(broker).await?;
            }
            discard(broker, chosen, format).await
        }
    }
}

async fn requeue(broker: &Arc<Broker>, chosen: Chosen, format: Format) -> Result<()> {
    let (all, selection) = (chosen.all, chosen.into());
    let bar = bar()?;
    let requeued = dead::requeue(broker, &selection, |done, total| follow(&bar, done, total)).await;
    bar.finish_and_clear();
    let requeued = requeued?;
    show::requeued(&requeued, format)?;
    if requeued.failed > 0 {
        bail!("{} cannot be sent back and stay dead letters", requeued.failed);
    }
    found(requeued.sent, all)
}

async fn discard(broker: &Broker, chosen: Chosen, format: Format) -> Result<()> {
    let (all, selection) = (chosen.all, chosen.into());
    let bar = bar()?;
    let discarded =
        dead::discard(broker, &selection, |done, total| follow(&bar, done, total)).await;
    bar.finish_and_clear();
    let discarded = discarded?;
    show::discarded(discarded, format)?;
    found(discarded, all)
}

fn found(count: u64, all: bool) -> Result<()> {
    if count == 0 && !all {
        bail!("no such dead letters: see `mo-router dead list`");
    }
    Ok(())
}

/// Asks whether everything is to be deleted.
async fn confirm(broker: &Broker) -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!("this would delete everything, and there is no terminal to ask at: add --yes");
    }
    let count = topology::count_dead_letters(broker).await?.unwrap_or(0);
    let mut out = io::stderr().lock();
    write!(out, "Delete dead letters for good, up to {count}? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was deleted");
    }
    Ok(())
}

/// A bar that shows on a terminal only.
fn bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template(
        "{bar:40} {human_pos} of {human_len}, {per_sec}, {eta} to go",
    )?;
    Ok(ProgressBar::new(0).with_style(style))
}

fn follow(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}

/// An id, or the first digits of one.
fn id(text: &str) -> Result<String> {
    if text.is_empty() {
        bail!("an id cannot be empty: see `mo-router dead list`");
    }
    if text.len() > ID || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("an id is up to {ID} hexadecimal digits: see `mo-router dead list`");
    }
    Ok(text.to_ascii_lowercase())
}

/// A time, or how long ago.
fn moment(text: &str) -> Result<Datetime> {
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(before(Datetime::now(), ago)),
        Err(_) => text.parse(),
    }
}

fn before(now: Datetime, ago: Duration) -> Datetime {
    let ago = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
    Datetime::from_unix_micros(now.unix_micros().saturating_sub(ago))
}

impl Selection {
    fn with(self, ids: Vec<String>) -> dead::Selection {
        let Self { plugin, reason, since, until } = self;
        dead::Selection { ids, plugin, reason, since, until, ..dead::Selection::default() }
    }
}

impl Chosen {
    /// Whether nothing but time keeps it from applying to every letter.
    fn is_everything(&self) -> bool {
        let Selection { plugin, reason, .. } = &self.selection;
        self.ids.is_empty() && plugin.is_none() && reason.is_none()
    }
}

impl From<Chosen> for dead::Selection {
    fn from(chosen: Chosen) -> Self {
        chosen.selection.with(chosen.ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_digits() {
        assert_eq!(id("00AF").unwrap(), "00af");
        for wrong in ["", "xyz", "-1", "0123456789abcdef0"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_a_date_or_so_long_ago() {
        assert_eq!(moment("2030-01-01T00:00:00Z").unwrap().to_string(), "2030-01-01T00:00:00Z");
        assert!(moment("2h").unwrap() < moment("1h").unwrap());
        assert!(moment("yesterday").is_err());
        let start = Datetime::from_unix(7200, 0).unwrap();
        assert_eq!(before(start, Duration::from_secs(3600)).seconds(), 3600);
    }
}
