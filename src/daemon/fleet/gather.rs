//! What only the broker knows, asked for beside those who want to know it: a metric must not
//! wait for a broker.

use std::collections::BTreeMap;

use futures::future::join_all;
use tokio::time::MissedTickBehavior;

use super::{Fleet, RATE_PERIOD, lock};
use crate::event::Datetime;

/// What the broker last said.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Messages and consumers of the queue of each plugin, without those of which it said nothing.
    pub queues: BTreeMap<String, (u32, u32)>,
    /// Dead letters that wait for people.
    pub dead_letters: Option<u32>,
    /// When it was asked.
    pub at: Option<Datetime>,
}

impl Fleet {
    /// Asks the broker every few seconds, for ever.
    pub async fn gather(&self) {
        let mut tick = tokio::time::interval(RATE_PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let names: Vec<String> = self.members().keys().cloned().collect();
            let depths = join_all(names.iter().map(|name| self.endpoints.depth(name)));
            let (depths, dead_letters) = tokio::join!(depths, self.endpoints.dead_letters());
            if let Some(letters) = dead_letters {
                self.tell_of_dead_letters(letters);
            }
            let queues = names.into_iter().zip(depths);
            let queues = queues.filter_map(|(name, depth)| {
                depth.map(|depth| (name, (depth.messages, depth.consumers)))
            });
            let at = Some(self.clock.read().wall);
            *lock(&self.gathered) = Gathered { queues: queues.collect(), dead_letters, at };
        }
    }

    /// What the broker last said.
    pub fn gathered(&self) -> Gathered {
        lock(&self.gathered).clone()
    }
}
