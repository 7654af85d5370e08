//! Exchanges that were deleted and made again while the router runs: the queues of others were bound
//! to the old one, and the broker tells nobody that they are to the new one. As long as nothing that
//! is published there has come to a queue, it is not the messages' fault that there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::health::{Code, Health};
use crate::transport::Fate;

/// How many exchanges are remembered. Of more, nobody notices that they were gone.
const REMEMBERED: usize = 1000;

/// What is confirmed sooner after an exchange was made again may have been published before.
const EARLIER: Duration = Duration::from_secs(2);

/// Who publishes to an exchange without queues tries so often at least: delayed messages every
/// half minute, and the bridge to MO.
const TRIED: Duration = Duration::from_mins(2);

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Renewed {
    exchanges: Mutex<BTreeMap<String, State>>,
    /// Whether one of them is not as it was: messages ask for each.
    any: AtomicBool,
}

/// An exchange that was there.
#[derive(Clone, Copy, Debug)]
enum State {
    There,
    Gone,
    /// It was made again, and nothing has come to a queue by it since.
    Renewed {
        since: Instant,
        /// When a message to it found no queue last.
        returned: Option<Instant>,
    },
}

impl State {
    /// Whether it is as it was.
    fn is_there(&self) -> bool {
        matches!(self, State::There)
    }
}

impl Renewed {
    /// Whether the exchange was there before.
    pub(super) fn was_there(&self, name: &str) -> bool {
        self.exchanges().contains_key(name)
    }

    /// The exchange does not exist.
    pub(super) fn gone(&self, name: &str) {
        if let Some(state) = self.exchanges().get_mut(name) {
            *state = State::Gone;
            self.any.store(true, Relaxed);
        }
    }

    /// The exchange exists. Returns whether it was made again since it was last there.
    pub(super) fn exists(&self, name: &str) -> bool {
        let mut exchanges = self.exchanges();
        match exchanges.get_mut(name) {
            Some(state @ State::Gone) => {
                *state = State::Renewed { since: Instant::now(), returned: None };
                true
            }
            Some(State::There | State::Renewed { .. }) => false,
            None => {
                if exchanges.len() < REMEMBERED {
                    exchanges.insert(name.to_owned(), State::There);
                }
                false
            }
        }
    }

    /// Whether the exchange may have lost its queues: it was gone, and nothing has come to a queue by
    /// it since.
    pub(super) fn has(&self, name: &str) -> bool {
        self.any.load(Relaxed) && self.exchanges().get(name).is_some_and(|state| !state.is_there())
    }

    /// Tells that an exchange to publish to was made again, if it was.
    pub(super) fn tell(&self, name: &str, health: &Health) {
        let exchanges = self.exchanges();
        if matches!(exchanges.get(name), Some(State::Renewed { .. })) {
            let text = format!(
                "exchange {name:?} was deleted and made again, and the queues of others are bound to it \
                 only if they have bound them again: bind those that are to have what is published \
                 there. This ends when a queue takes the next message"
            );
            health.report(Code::BindingsUnchecked, name, &text);
        }
    }

    /// The fate of a message to the exchange. Where that was made again, it is not the message's own
    /// that there is no queue: others wait for one, too. Who is not to be told of messages that find
    /// no queue (`is_mandatory`) is not told of those either.
    pub(super) fn judged(
        &self,
        fate: Fate,
        name: &str,
        is_mandatory: bool,
        health: &Health,
    ) -> Fate {
        match fate {
            // It was asked for because of this exchange alone. The default one has all queues.
            Fate::Returned(_) if !is_mandatory && !name.is_empty() => Fate::Confirmed,
            Fate::Returned(reason) => match self.on_returned(name, health) {
                Some(why) => Fate::Refused(format!("{why}. {reason}")),
                None => Fate::Returned(reason),
            },
            Fate::Confirmed => {
                self.on_confirmed(name, health);
                Fate::Confirmed
            }
            fate => fate,
        }
    }

    /// A message found no queue. Returns why others need not find one either.
    fn on_returned(&self, name: &str, health: &Health) -> Option<String> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let (mut exchanges, now) = (self.exchanges(), Instant::now());
        let state = exchanges.get_mut(name)?;
        let since = match state {
            State::There => return None,
            // What is not there returns nothing: somebody else has made it again.
            State::Gone => now,
            State::Renewed { since, .. } => *since,
        };
        *state = State::Renewed { since, returned: Some(now) };
        let why = format!(
            "exchange {name:?} was deleted and made again, and no queue is bound to it for this \
             message: bind the queues again, and what waits goes on. If nobody is to have such \
             messages any more, restart the router: they become dead letters then"
        );
        // Before anybody can tell that it is over.
        health.report(Code::BindingMissing, name, &why);
        Some(why)
    }

    /// A queue took a message.
    fn on_confirmed(&self, name: &str, health: &Health) {
        if !self.any.load(Relaxed) {
            return;
        }
        let mut exchanges = self.exchanges();
        let Some(state) = exchanges.get_mut(name) else { return };
        if matches!(state, State::Renewed { since, .. } if since.elapsed() >= EARLIER) {
            *state = State::There;
            self.any.store(!exchanges.values().all(State::is_there), Relaxed);
            let why = "a queue takes what is published to the exchange again";
            health.over(Code::BindingsUnchecked, name, why);
            health.over(Code::BindingMissing, name, why);
        }
    }

    /// Tells of exchanges no more that nobody publishes to: all but these, and those to which messages
    /// have been sent in vain of late.
    pub(super) fn forget_but(&self, used: &BTreeSet<String>, health: &Health) {
        if !self.any.load(Relaxed) {
            return;
        }
        let why = "no plugin publishes to the exchange any more";
        for (name, state) in self.exchanges().iter() {
            if state.is_there() || used.contains(name) {
                continue;
            }
            health.over(Code::BindingsUnchecked, name, why);
            let is_tried = matches!(
                state, State::Renewed { returned: Some(at), .. } if at.elapsed() < TRIED
            );
            if !is_tried {
                health.over(Code::BindingMissing, name, why);
            }
        }
    }

    fn exchanges(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        // No holder leaves anything half done.
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exchange x is there again.
    fn made_again() -> (Renewed, Health) {
        let renewed = Renewed::default();
        assert!(!renewed.exists("x") && !renewed.exists("x") && !renewed.has("x"));
        renewed.gone("x");
        assert!(renewed.has("x") && renewed.exists("x") && !renewed.exists("x"));
        (renewed, Health::default())
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_made_again_is_told_until_a_queue_takes_a_message() {
        let (renewed, health) = made_again();
        assert!(renewed.has("x"));
        renewed.tell("x", &health);
        assert!(health.has(Code::BindingsUnchecked));

        let judged = |fate: Fate, name| renewed.judged(fate, name, true, &health);
        let returned = || Fate::Returned("no queue".into());
        let refused = judged(returned(), "x");
        assert!(matches!(&refused, Fate::Refused(why) if why.ends_with("no queue")), "{refused:?}");
        assert!(health.has(Code::BindingMissing));
        assert_eq!(renewed.judged(returned(), "x", false, &health), Fate::Confirmed);
        assert_eq!(judged(returned(), "y"), returned(), "each for itself");

        judged(Fate::Confirmed, "x");
        assert!(renewed.has("x"), "it may have been published before");
        tokio::time::advance(EARLIER).await;
        judged(Fate::Confirmed, "y");
        assert!(renewed.has("x"), "it went elsewhere");
        judged(Fate::Confirmed, "x");
        assert!(!renewed.has("x") && health.reasons().is_empty());
        assert_eq!(judged(returned(), "x"), returned(), "this key alone has no queue");
    }

    #[test]
    fn one_that_was_never_there_may_have_had_no_queues() {
        let renewed = Renewed::default();
        renewed.gone("x");
        assert!(!renewed.was_there("x") && !renewed.exists("x") && !renewed.has("x"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_dropped_is_dropped_though_another_key_has_a_queue_again() {
        let (renewed, health) = made_again();
        tokio::time::advance(EARLIER).await;
        let judged = |fate, name| renewed.judged(fate, name, false, &health);
        judged(Fate::Confirmed, "x");
        assert_eq!(judged(Fate::Returned("no queue".into()), "x"), Fate::Confirmed);
        let returned = || Fate::Returned("the queue is gone".into());
        assert_eq!(judged(returned(), ""), returned());
        assert!(health.reasons().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_returned_tells_that_its_exchange_is_there_again() {
        let (renewed, health) = (Renewed::default(), Health::default());
        renewed.exists("x");
        renewed.gone("x");
        let returned = || Fate::Returned("no queue".into());
        assert!(matches!(renewed.judged(returned(), "x", true, &health), Fate::Refused(_)));
        assert!(health.has(Code::BindingMissing) && !renewed.exists("x"));
        // It is gone once more, and nobody looks for it.
        renewed.gone("x");
        renewed.forget_but(&BTreeSet::new(), &health);
        assert!(health.reasons().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_publishes_to_is_told_no_more() {
        let (renewed, health) = made_again();
        renewed.tell("x", &health);
        renewed.judged(Fate::Returned("no queue".into()), "x", true, &health);
        renewed.forget_but(&BTreeSet::from(["x".to_owned()]), &health);
        assert!(health.has(Code::BindingsUnchecked) && health.has(Code::BindingMissing));
        // What was delayed goes there yet.
        renewed.forget_but(&BTreeSet::new(), &health);
        assert!(!health.has(Code::BindingsUnchecked) && health.has(Code::BindingMissing));
        tokio::time::advance(TRIED).await;
        renewed.forget_but(&BTreeSet::new(), &health);
        assert!(health.reasons().is_empty());
        assert!(renewed.has("x"));
    }
}
