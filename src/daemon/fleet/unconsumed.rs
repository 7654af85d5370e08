//! Queues that a plugin consumes from, and that have no consumer, such as a quorum queue that has
//! lost its leader. Nothing ends the plugin's session then, and no event comes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::amqp::topology::Depth;

/// How long a queue may be so: a session that begins, or another leader that is elected, takes
/// its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a queue told, if that can be: RabbitMQ answers that there are no messages and no consumers
/// where a queue has no leader, at once. Of a queue that the plugin consumes from, that is not so.
pub fn told(depth: Option<Depth>, is_consumed: bool) -> Option<Depth> {
    depth.filter(|depth| !is_consumed || depth.consumers > 0 || depth.messages > 0)
}

/// Since when the queues of plugins that consume have had no consumer, or have not told.
#[derive(Debug, Default)]
pub struct Unconsumed(BTreeMap<String, Instant>);

impl Unconsumed {
    /// Takes in what the queue of a plugin told. Whether it has had no consumer for so long that
    /// the plugin gets no events, though it is to consume.
    pub fn note(
        &mut self,
        plugin: &str,
        is_consumed: bool,
        depth: Option<Depth>,
        now: Instant,
    ) -> bool {
        if !is_consumed || depth.is_some_and(|depth| depth.consumers > 0) {
            self.0.remove(plugin);
            return false;
        }
        let since = *self.0.entry(plugin.to_owned()).or_insert(now);
        now.saturating_duration_since(since) >= PATIENCE
    }

    /// Forgets plugins that are not there any more; gives their names.
    pub fn forget_others(&mut self, plugins: &[String]) -> Vec<String> {
        let gone: Vec<String> =
            self.0.keys().filter(|name| !plugins.contains(name)).cloned().collect();
        self.0.retain(|name, _| plugins.contains(name));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn depth(messages: u32, consumers: u32) -> Option<Depth> {
        Some(Depth { messages, consumers })
    }

    #[test]
    fn nothing_at_all_is_no_answer_of_a_queue_that_is_consumed_from() {
        assert!(told(depth(0, 0), true).is_none());
        assert!(told(depth(0, 0), false).is_some());
        assert!(told(depth(3, 0), true).is_some() && told(depth(0, 1), true).is_some());
        assert!(told(None, false).is_none());
    }

    #[test]
    fn a_queue_without_consumer_for_half_a_minute_is_told() {
        let (mut unconsumed, start) = (Unconsumed::default(), now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // It has no leader, and does not tell, and has lost the consumer.
        for depth in [depth(0, 0), None, depth(3, 0)] {
            assert!(!unconsumed.note("a", true, depth, at(0)));
            assert!(!unconsumed.note("a", true, depth, at(29)));
            assert!(unconsumed.note("a", true, depth, at(30)), "{depth:?}");
            assert!(!unconsumed.note("a", true, self::depth(0, 1), at(31)));
        }
        assert!(!unconsumed.note("a", true, None, at(40)), "it had one meanwhile");
        // A suspended plugin is not to consume, and one that is gone neither.
        assert!(!unconsumed.note("a", false, None, at(80)));
        assert!(!unconsumed.note("a", true, None, at(81)));
        assert_eq!(unconsumed.forget_others(&["b".into()]), ["a"]);
        assert!(!unconsumed.note("a", true, None, at(120)));
    }
}
