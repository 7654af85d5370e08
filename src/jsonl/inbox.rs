//! Events from a stream of lines, for every plugin that subscribes to them.

use anyhow::{Context, Result};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::input::{Recorded, read_line};
use super::outbox::print_line;
use super::output::invalid_line;
use crate::event::Incoming;
use crate::transport::{self, Delivery, Received};

/// An event for one plugin, and who is told when it is settled. There is no queue to return it
/// to: one that is not settled is dropped, and so is the sender.
pub struct InputEvent {
    /// The event.
    pub message: Incoming,
    /// Who is told.
    pub settled: oneshot::Sender<()>,
}

/// One plugin's events.
pub struct Inbox(mpsc::Receiver<InputEvent>);

impl Inbox {
    /// An inbox that holds at most `capacity` messages, and the sender that fills it.
    pub fn new(capacity: usize) -> (mpsc::Sender<InputEvent>, Self) {
        let (sender, receiver) = mpsc::channel(capacity);
        (sender, Self(receiver))
    }
}

impl transport::Inbox for Inbox {
    type Receipt = oneshot::Sender<()>;

    async fn next(&mut self) -> Result<Received<Self::Receipt>> {
        Ok(match self.0.recv().await {
            Some(InputEvent { message, settled }) => {
                Received::Delivery(Delivery { message, receipt: settled })
            }
            None => Received::Exhausted,
        })
    }

    /// What is not taken is not read.
    async fn filled(&mut self) -> Result<()> {
        std::future::pending().await
    }

    /// Lines come as fast as they are read.
    fn widen(&mut self) {}

    fn settle(&mut self, receipt: Self::Receipt) {
        // Nobody may be waiting.
        let _ = receipt.send(());
    }

    fn unsent(&self) -> usize {
        0
    }

    fn flush(&mut self) {}

    async fn close(self) {}
}

/// Reads lines until the stream ends, and passes each message to `deliver`. Invalid lines
/// are logged with their number and written to standard output as dead letters.
/// `exchange` is used for lines that name none.
///
/// # Errors
/// The stream cannot be read, or standard output cannot be written.
pub async fn feed<D>(
    mut lines: impl AsyncBufRead + Unpin,
    exchange: &str,
    mut deliver: impl FnMut(Incoming) -> D,
) -> Result<()>
where
    D: Future<Output = ()>,
{
    let mut line = Vec::new();
    let mut number = 0u64;
    while lines.read_until(b'\n', &mut line).await.context("reading standard input")? > 0 {
        number += 1;
        let bytes = line.trim_ascii();
        if !bytes.is_empty() {
            match read_bytes(bytes) {
                Ok(recorded) => {
                    let mut message = recorded.message;
                    if message.exchange.is_empty() {
                        message.exchange = exchange.to_owned();
                    }
                    deliver(message).await;
                }
                Err(error) => {
                    warn!(line = number, "line skipped, it is not a valid message: {error:#}");
                    let dead = invalid_line(number, &format!("{error:#}"), bytes);
                    print_line(&dead).context("writing standard output")?;
                }
            }
        }
        line.clear();
    }
    Ok(())
}

fn read_bytes(line: &[u8]) -> Result<Recorded> {
    read_line(std::str::from_utf8(line).context("the line is not UTF-8")?)
}
