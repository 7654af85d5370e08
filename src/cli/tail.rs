//! `mo-router tail`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::output::{Format, remark};
use crate::amqp::{Broker, Tap};
use crate::escape::{escaped, json_line};
use crate::event::{Datetime, Incoming};
use crate::jsonl;
use crate::settings::Settings;

/// What to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exchange to listen to [default: the source exchange]
    #[arg(long)]
    exchange: Option<String>,
    /// Topic pattern: * matches one word, # any number of words
    #[arg(long, default_value = "#", value_name = "PATTERN")]
    topic: String,
    /// Also write the messages to this file, for replay
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    record: Option<PathBuf>,
    /// Stop after this many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Prints until interrupted. The messages are copies: consumers still get all of them.
pub async fn run(args: Args, settings: Settings, format: Format) -> Result<()> {
    let exchange = args.exchange.unwrap_or_else(|| settings.amqp.exchange.clone());
    let broker = Broker::new(settings.amqp);
    let mut record = args.record.map(create).transpose()?;
    let mut tap = Tap::open(&broker, &exchange, &args.topic).await?;
    remark(format_args!("listening to exchange {exchange:?} for {:?}", args.topic));
    // From here on, so that none is missed while a message is printed.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut left = args.count;
    while left != Some(0) {
        // Both wait for a channel, which loses nothing when the wait is dropped.
        let message = tokio::select! {
            message = tap.next() => message?,
            _ = interrupt.recv() => break,
        };
        let received = Datetime::now();
        let line = jsonl::recorded_line(received, &message);
        format.print(&line, plain(received, &message))?;
        if let Some(record) = &mut record {
            writeln!(record, "{}", json_line(&line))?;
            record.flush()?;
        }
        left = left.map(|left| left - 1);
    }
    broker.close().await;
    Ok(())
}

fn create(file: PathBuf) -> Result<BufWriter<File>> {
    let created = File::create(&file).with_context(|| format!("creating {}", file.display()))?;
    Ok(BufWriter::new(created))
}

fn plain(received: Datetime, message: &Incoming) -> String {
    let (key, body) = (&message.routing_key, String::from_utf8_lossy(&message.body));
    format!("{received}  {}  {}", escaped(key), escaped(&body))
}
