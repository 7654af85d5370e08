//! Operations on dead letters: list, requeue, discard.

use anyhow::{Context, Result, bail};
use lapin::options::{BasicAckOptions, BasicGetOptions};

use super::broker::{Broker, close_channel};
use super::incoming::incoming;
pub use super::letter::Letter;
use super::outbox::Outbox;
use super::topology::{self, DEAD};
use crate::event::{Message, Outgoing};
use crate::transport::{Fate, Outbox as _};

/// Which dead letters a command applies to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those whose id begins with one of these; all if empty.
    pub ids: Vec<String>,
    /// Those of this plugin.
    pub plugin: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl Filter {
    fn matches(&self, letter: &Letter) -> bool {
        (self.ids.is_empty() || self.ids.iter().any(|id| letter.id.starts_with(id.as_str())))
            && self.plugin.as_ref().is_none_or(|plugin| *plugin == letter.plugin)
    }
}

/// What to do with the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Only read them.
    Read,
    /// Send them back to where they came from, and remove them.
    Requeue,
    /// Remove them for good.
    Discard,
}

/// Applies an action to the dead letters, oldest first, and returns those that it applied to.
///
/// Dead letters that arrive in the meantime are left out. While this runs, those that it
/// has read are hidden from other commands.
///
/// # Errors
/// The broker is unreachable, or a letter cannot be sent back and stays in the queue.
pub async fn each(
    broker: &std::sync::Arc<Broker>,
    filter: &Filter,
    action: Action,
) -> Result<Vec<Letter>> {
    topology::declare_dead_letters(broker).await?;
    let channel = broker.consuming_channel().await?;
    let mut outbox = Outbox::open(std::sync::Arc::clone(broker)).await?;
    let mut found = Vec::new();
    // A letter that is sent back can be dead again before the next one is read, so only
    // those that are there now are read.
    let present = topology::depth(broker, DEAD).await?.map_or(0, |depth| depth.messages);
    for _ in 0..present {
        if filter.limit.is_some_and(|limit| found.len() >= limit) {
            break;
        }
        let got = channel.basic_get(DEAD.into(), BasicGetOptions::default()).await;
        let Some(got) = got.context("reading the queue of dead letters")? else { break };
        let delivery = got.delivery;
        let tag = delivery.delivery_tag;
        let letter = Letter::read(incoming(delivery));
        if !filter.matches(&letter) {
            continue;
        }
        if action == Action::Requeue {
            send_back(&mut outbox, letter.to_requeue(broker)?)
                .await
                .with_context(|| format!("sending dead letter {} back", letter.id))?;
        }
        if action != Action::Read {
            channel.basic_ack(tag, BasicAckOptions::default()).await?;
        }
        found.push(letter);
    }
    // Returns those that were only read to the queue.
    close_channel(channel).await;
    Ok(found)
}

async fn send_back(outbox: &mut Outbox, message: Message) -> Result<()> {
    outbox.send(0, Outgoing::Message(message));
    match outbox.completed().await?.fate {
        Fate::Confirmed => Ok(()),
        Fate::Undeliverable(reason) | Fate::Refused(reason) | Fate::Nacked(reason) => {
            bail!("{reason}; it stays a dead letter")
        }
    }
}
