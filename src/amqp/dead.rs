//! What people do with dead letters: look, send back, discard.

use anyhow::{Context, Result, bail};
use lapin::options::{BasicAckOptions, BasicGetOptions};

use super::broker::Broker;
use super::incoming::incoming;
pub use super::letter::Letter;
use super::outbox::Outbox;
use super::topology::{self, DEAD};
use crate::event::{Message, Outgoing};
use crate::transport::{Fate, Outbox as _};

/// Which dead letters a command is about.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those with one of these ids, or beginnings of ids; all if empty.
    pub ids: Vec<String>,
    /// Those of this plugin.
    pub plugin: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Filter {
    fn admits(&self, letter: &Letter) -> bool {
        (self.ids.is_empty() || self.ids.iter().any(|id| letter.id.starts_with(id.as_str())))
            && self.plugin.as_ref().is_none_or(|plugin| *plugin == letter.plugin)
    }
}

/// What to do with a dead letter that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it stays.
    Look,
    /// Sends it back to where it came from; then it is removed.
    Requeue,
    /// Removes it for good.
    Discard,
}

/// Goes through the dead letters, oldest first, and gives those that it acted on.
///
/// Those that come meanwhile are not looked at. Those that are left stay in the queue;
/// while the command runs, others who look do not see them.
///
/// # Errors
/// The broker is away; or a letter cannot be sent back, which stays then.
pub async fn each(
    broker: &std::sync::Arc<Broker>,
    filter: &Filter,
    action: Action,
) -> Result<Vec<Letter>> {
    topology::declare_dead_letters(broker).await?;
    let channel = broker.consuming_channel().await?;
    let mut outbox = Outbox::open(std::sync::Arc::clone(broker)).await?;
    let mut found = Vec::new();
    // What is there now, and no more: a letter that is sent back can be dead again
    // before the next one is looked at.
    let there = topology::depth(broker, DEAD).await?.map_or(0, |depth| depth.messages);
    for _ in 0..there {
        if filter.limit.is_some_and(|limit| found.len() >= limit) {
            break;
        }
        let got = channel.basic_get(DEAD.into(), BasicGetOptions::default()).await;
        let Some(got) = got.context("reading the queue of dead letters")? else { break };
        let delivery = got.delivery;
        let tag = delivery.delivery_tag;
        let letter = Letter::read(incoming(delivery));
        if !filter.admits(&letter) {
            continue;
        }
        if action == Action::Requeue {
            send_back(&mut outbox, letter.sent_back(broker)?)
                .await
                .with_context(|| format!("sending dead letter {} back", letter.id))?;
        }
        if action != Action::Look {
            channel.basic_ack(tag, BasicAckOptions::default()).await?;
        }
        found.push(letter);
    }
    // Gives back what was only looked at.
    topology::close(channel).await;
    Ok(found)
}

async fn send_back(outbox: &mut Outbox, message: Message) -> Result<()> {
    outbox.send(0, Outgoing::Message(message));
    match outbox.confirmed().await?.fate {
        Fate::Arrived => Ok(()),
        Fate::Undeliverable(reason) | Fate::Refused(reason) => {
            bail!("{reason}; it stays a dead letter")
        }
    }
}
