//! `mo-router tail`

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::output::{Format, private_file, remark};
use crate::amqp::{Broker, Tap, topology};
use crate::backoff::{Backoff, Policy};
use crate::escape::escaped;
use crate::event::{Datetime, Incoming};
use crate::jsonl;
use crate::settings::Settings;

/// The pauses before it listens again.
const AGAIN: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(10));

/// What to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exchange to listen to [default: the source exchange]
    #[arg(long)]
    exchange: Option<String>,
    /// Take messages out of this queue instead, which somebody else has made: for users without the
    /// right to declare one
    #[arg(long, value_name = "QUEUE", conflicts_with_all = ["exchange", "topic"])]
    queue: Option<String>,
    /// Topic pattern: * matches one word, # any number of words
    #[arg(long, default_value = "#", value_name = "PATTERN")]
    topic: String,
    /// Also append the messages to this file, as they came: for replay, and for publish --file. One that
    /// is made can be read by nobody else
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    record: Option<PathBuf>,
    /// Stop after this many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Prints until interrupted. The messages are copies, unless they are taken out of a queue:
/// consumers still get all of them.
pub async fn run(args: Args, settings: Settings, format: Format) -> Result<()> {
    let source = match args.queue {
        Some(queue) => Source::Queue(queue),
        None => Source::Exchange(
            args.exchange.unwrap_or_else(|| settings.amqp.exchange.clone()),
            args.topic,
        ),
    };
    let broker = Broker::new(settings.amqp);
    let mut printer = Printer {
        format,
        record: args.record.map(open).transpose()?,
        left: args.count.unwrap_or(u64::MAX),
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Nothing is half printed where the listening waits.
    tokio::select! {
        listened = listen(&broker, &source, &mut printer) => listened?,
        _ = interrupt.recv() => {}
    }
    broker.close().await;
    Ok(())
}

/// Prints what passes the exchange until there was enough. When the broker goes away, it
/// waits until it is back; what is published meanwhile is missed, and that is said.
async fn listen(broker: &Broker, source: &Source, printer: &mut Printer) -> Result<()> {
    let mut tap = source.open(broker).await?;
    let mut backoff = Backoff::new(AGAIN);
    match source {
        Source::Exchange(exchange, pattern) => {
            remark(format_args!("listening to exchange {exchange:?} for {pattern:?}"));
        }
        Source::Queue(queue) => remark(format_args!("taking what is in queue {queue:?}")),
    }
    while printer.left > 0 {
        let lost = match tap.next().await {
            Ok(message) => {
                printer.print(&message)?;
                tap.took().await;
                continue;
            }
            Err(lost) => lost,
        };
        remark(format_args!("no longer listening: {lost:#}"));
        tap = loop {
            broker.reachable().await;
            match source.open(broker).await {
                Ok(tap) => break tap,
                Err(error) if topology::is_permanent(&error) => return Err(error),
                Err(_) => tokio::time::sleep(backoff.next_pause()).await,
            }
        };
        backoff.reset();
        match source {
            Source::Exchange(..) => {
                remark(format_args!("listening again; what was published in between was missed"));
            }
            Source::Queue(_) => remark(format_args!("listening again")),
        }
    }
    Ok(())
}

/// Where messages come from.
enum Source {
    /// An exchange, and a topic pattern.
    Exchange(String, String),
    /// A queue.
    Queue(String),
}

impl Source {
    async fn open(&self, broker: &Broker) -> Result<Tap> {
        match self {
            Self::Exchange(exchange, pattern) => Tap::open(broker, exchange, pattern).await,
            Self::Queue(queue) => Tap::of_queue(broker, queue).await,
        }
    }
}

/// Prints messages, and records them.
struct Printer {
    format: Format,
    record: Option<BufWriter<File>>,
    /// How many are still to be printed.
    left: u64,
}

impl Printer {
    fn print(&mut self, message: &Incoming) -> Result<()> {
        let received = Datetime::now();
        let line = jsonl::recorded_line(received, message);
        self.format.print(&line, plain(received, message))?;
        if let Some(record) = &mut self.record {
            writeln!(record, "{line}")?;
            record.flush()?;
        }
        self.left -= 1;
        Ok(())
    }
}

/// Opens a file to append to. A last line that was cut off stays as it is, and a new one is begun.
fn open(file: PathBuf) -> Result<BufWriter<File>> {
    let open = || -> std::io::Result<BufWriter<File>> {
        let is_cut_off = is_cut_off(&file)?;
        let mut record = BufWriter::new(private_file().create(true).append(true).open(&file)?);
        if is_cut_off {
            record.write_all(b"\n")?;
        }
        Ok(record)
    };
    open().with_context(|| format!("opening {}", file.display()))
}

/// Whether a file has something that does not end in a newline.
fn is_cut_off(file: &Path) -> std::io::Result<bool> {
    let has_an_end = std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() > 0);
    if !has_an_end {
        return Ok(false);
    }
    let (mut opened, mut last) = (File::open(file)?, [0]);
    opened.seek(SeekFrom::End(-1))?;
    opened.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn plain(received: Datetime, message: &Incoming) -> String {
    let (key, body) = (&message.routing_key, String::from_utf8_lossy(&message.body));
    format!("{received}  {}  {}", escaped(key), escaped(&body))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_record_is_nobody_elses() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("events.jsonl");
        drop(open(file.clone()).unwrap());
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_record_goes_on_in_a_line_of_its_own() {
        for (before, after) in [("", "new\n"), ("old\n", "old\nnew\n"), ("cut o", "cut o\nnew\n")] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, before).unwrap();
            let mut record = open(file.path().to_owned()).unwrap();
            writeln!(record, "new").unwrap();
            record.flush().unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        }
    }
}
