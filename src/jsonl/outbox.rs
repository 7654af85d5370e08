//! Messages to standard output.

use std::collections::VecDeque;
use std::io::Write;

use anyhow::{Context, Result};

use super::line::Line;
use super::output::{dead_line, message_line};
use crate::event::Outgoing;
use crate::transport::{self, Completed, Fate};

/// Writes a line for each message. A message is confirmed once it is written.
#[derive(Default)]
pub struct Outbox {
    /// The plugin whose messages these are; none for delayed messages of all plugins.
    plugin: Option<String>,
    written: VecDeque<(u64, Outgoing, std::io::Result<()>)>,
}

impl Outbox {
    /// An outbox for the messages of one plugin.
    pub fn of(plugin: &str) -> Self {
        Self { plugin: Some(plugin.to_owned()), ..Self::default() }
    }
}

impl transport::Outbox for Outbox {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        let line = match &outgoing {
            Outgoing::Message(message) => message_line(self.plugin.as_deref(), message),
            Outgoing::Dead(letter) => dead_line(letter),
        };
        let written = print_line(&line);
        self.written.push_back((token, outgoing, written));
    }

    fn copy(&mut self, token: u64) -> Option<Outgoing> {
        let (_, outgoing, _) = self.written.iter().find(|(written, ..)| *written == token)?;
        Some(outgoing.clone())
    }

    fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        let at = self.written.iter().position(|(written, ..)| *written == token)?;
        self.written.remove(at).map(|(_, outgoing, _)| outgoing)
    }

    fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        self.abandon(token)
    }

    async fn completed(&mut self) -> Result<Completed> {
        match self.written.pop_front() {
            Some((token, outgoing, written)) => {
                written.context("writing standard output")?;
                Ok(Completed { token, outgoing, fate: Fate::Confirmed })
            }
            None => std::future::pending().await,
        }
    }
}

/// Prints a line. Lines of several plugins interleave, but each stays whole.
pub(super) fn print_line(line: &Line) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}
