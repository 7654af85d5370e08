//! What only the broker knows, asked for beside those who want to know it: a metric must not
//! wait for a broker.

use std::collections::BTreeMap;

use futures::future::join_all;
use tokio::time::MissedTickBehavior;

use super::unconsumed::{Unconsumed, told};
use super::{Fleet, RATE_PERIOD, lock};
use crate::amqp::topology::Depth;
use crate::event::Datetime;
use crate::health::Code;
use crate::router::State;

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
        let mut unconsumed = Unconsumed::default();
        loop {
            tick.tick().await;
            let names: Vec<String> = self.members().keys().cloned().collect();
            let depths = join_all(names.iter().map(|name| self.endpoints.depth(name)));
            let (depths, dead_letters, ()) =
                tokio::join!(depths, self.endpoints.dead_letters(), self.ask_whether_it_blocks());
            if let Some(letters) = dead_letters {
                self.tell_of_dead_letters(letters);
            }
            self.look_for_unconsumed(&mut unconsumed, &names, &depths);
            let queues = names.into_iter().zip(depths).map(|(name, depth)| {
                let depth = told(depth, self.is_consuming(&name));
                (name, depth)
            });
            let queues = queues.filter_map(|(name, depth)| {
                depth.map(|depth| (name, (depth.messages, depth.consumers)))
            });
            let at = Some(self.clock.read().wall);
            *lock(&self.gathered) = Gathered { queues: queues.collect(), dead_letters, at };
        }
    }

    /// Reports plugins that run and whose queue has no consumer. If there is no broker, or it is
    /// known to be unreachable, that says nothing of their queues.
    fn look_for_unconsumed(
        &self,
        unconsumed: &mut Unconsumed,
        names: &[String],
        depths: &[Option<Depth>],
    ) {
        let is_reachable = self.broker().is_some() && !self.health.has(Code::BrokerUnreachable);
        let now = self.clock.instant();
        let over = |name: &str| {
            let text = format!("the queue of plugin {name} has a consumer again, or needs none");
            self.health.over(Code::PluginWaiting, name, &text);
        };
        for (name, depth) in names.iter().zip(depths) {
            let is_consumed = is_reachable && self.is_consuming(name);
            if !unconsumed.note(name, is_consumed, *depth, now) {
                over(name);
                continue;
            }
            let text = format!(
                "plugin {name} gets no events: its queue does not answer, or has no consumer though \
                 the router consumes from it. Most often it is a quorum queue that has lost its \
                 leader: rabbitmqctl list_queues name state"
            );
            self.health.report(Code::PluginWaiting, name, &text);
        }
        unconsumed.forget_others(names).iter().for_each(|name| over(name));
    }

    /// Has the broker say whether it takes messages, once what that takes has been declared.
    async fn ask_whether_it_blocks(&self) {
        if self.has_started() {
            self.endpoints.ask_whether_it_blocks().await;
        }
    }

    /// Whether a plugin is to consume from its queue now.
    fn is_consuming(&self, name: &str) -> bool {
        let members = self.members();
        members.get(name).is_some_and(|member| {
            member.life.running().is_some() && member.stats.read().state == State::Running
        })
    }

    /// What the broker last said.
    pub fn gathered(&self) -> Gathered {
        lock(&self.gathered).clone()
    }
}
