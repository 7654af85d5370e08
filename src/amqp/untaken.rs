//! Dead letters that the broker does not take, as people are told of them: of each plugin by
//! itself, so that a letter of one that is taken says nothing of another's.

use std::collections::BTreeMap;
use std::future::pending;
use std::task;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::time::sleep;

use crate::health::{Code, Health};

/// The plugins of which letters of one outbox wait. At its end nobody waits: whoever has the next
/// outbox tells anew, if that is still so.
pub(super) struct Untaken {
    health: Health,
    /// How long people are told after the last letter; none if until one is taken.
    told_for: Option<Duration>,
    /// Until when people are told, by plugin.
    plugins: BTreeMap<String, BoxFuture<'static, ()>>,
}

impl Untaken {
    /// Of letters that are sent until the broker takes them.
    pub(super) fn new(health: Health) -> Self {
        Self { health, told_for: None, plugins: BTreeMap::new() }
    }

    /// Of letters of delayed messages. Those wait in the store, and are known to do so by time alone:
    /// `told_for` after the last one, none waits.
    pub(super) fn of_delayed(health: Health, told_for: Duration) -> Self {
        Self { health, told_for: Some(told_for), plugins: BTreeMap::new() }
    }

    /// A letter of the plugin waits, and why.
    pub(super) fn waits(&mut self, plugin: &str, reason: &str) {
        let until = match self.told_for {
            Some(time) => sleep(time).boxed(),
            None => pending().boxed(),
        };
        self.plugins.insert(plugin.to_owned(), until);
        let subject = self.subject(plugin);
        let text = format!("{subject} are not taken, and wait: {reason}");
        self.health.report(Code::BindingMissing, &subject, &text);
    }

    /// A letter of the plugin was taken.
    pub(super) fn taken(&mut self, plugin: &str) {
        if self.plugins.remove(plugin).is_some() {
            let subject = self.subject(plugin);
            let text = format!("{subject} are taken again, or none waits");
            self.health.over(Code::BindingMissing, &subject, &text);
        }
    }

    /// Ends what people were told for long enough.
    pub(super) fn poll(&mut self, context: &mut task::Context<'_>) {
        let plugins = self.plugins.iter_mut();
        let over = plugins.filter_map(|(plugin, until)| {
            until.poll_unpin(context).is_ready().then(|| plugin.clone())
        });
        let over: Vec<String> = over.collect();
        over.iter().for_each(|plugin| self.taken(plugin));
    }

    fn subject(&self, plugin: &str) -> String {
        match self.told_for {
            Some(_) => format!("dead letters of delayed messages of {plugin}"),
            None => format!("dead letters of {plugin}"),
        }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        while let Some(plugin) = self.plugins.keys().next().cloned() {
            self.taken(&plugin);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    fn told(health: &Health) -> Vec<String> {
        health.reasons().into_iter().map(|reason| reason.text).collect()
    }

    #[tokio::test]
    async fn what_waits_of_one_plugin_is_told_whatever_becomes_of_another_s() {
        let health = Health::default();
        let [mut one, mut other] = [(); 2].map(|()| Untaken::new(health.clone()));
        let mut delayed = Untaken::of_delayed(health.clone(), Duration::from_secs(50));
        one.waits("a", "no queue");
        other.waits("b", "no queue");
        delayed.waits("a", "403");
        delayed.waits("b", "403");
        one.taken("a");
        delayed.taken("a");
        let left = [
            "dead letters of b are not taken, and wait: no queue",
            "dead letters of delayed messages of b are not taken, and wait: 403",
        ];
        assert_eq!(told(&health), left);
        one.waits("a", "no queue");
        drop(one);
        assert_eq!(told(&health), left, "the session of one has ended");
        drop((other, delayed));
        assert!(told(&health).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn those_of_delayed_messages_are_told_for_a_time_after_the_last() {
        let health = Health::default();
        let mut delayed = Untaken::of_delayed(health.clone(), Duration::from_secs(50));
        let mut lasting = Untaken::new(health.clone());
        delayed.waits("a", "no queue");
        lasting.waits("a", "no queue");
        for seconds in [40, 40] {
            sleep(Duration::from_secs(seconds)).await;
            assert_eq!(told(&health).len(), 2);
            delayed.waits("a", "no queue");
        }
        sleep(Duration::from_secs(51)).await;
        poll_fn(|context| {
            delayed.poll(context);
            lasting.poll(context);
            Poll::Ready(())
        })
        .await;
        assert_eq!(told(&health), ["dead letters of a are not taken, and wait: no queue"]);
    }
}
