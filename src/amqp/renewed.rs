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

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Renewed {
    exchanges: Mutex<BTreeMap<String, State>>,
    /// Whether one of them may be renewed: messages ask for each.
    any: AtomicBool,
}

/// An exchange that was there.
#[derive(Clone, Copy, Debug)]
enum State {
    There,
    Gone,
    /// It was made again, and nothing has come to a queue by it since.
    Renewed(Instant),
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
        }
    }

    /// The exchange exists. Returns whether it was made again since it was last there.
    pub(super) fn exists(&self, name: &str) -> bool {
        let mut exchanges = self.exchanges();
        match exchanges.get_mut(name) {
            Some(state @ State::Gone) => {
                *state = State::Renewed(Instant::now());
                self.any.store(true, Relaxed);
                true
            }
            Some(State::There | State::Renewed(_)) => false,
            None => {
                if exchanges.len() < REMEMBERED {
                    exchanges.insert(name.to_owned(), State::There);
                }
                false
            }
        }
    }

    /// Whether nothing has come to a queue by the exchange since it was made again.
    pub(super) fn has(&self, name: &str) -> bool {
        self.any.load(Relaxed) && matches!(self.exchanges().get(name), Some(State::Renewed(_)))
    }

    /// Tells that an exchange to publish to was made again, if it was.
    pub(super) fn tell(&self, name: &str, health: &Health) {
        if self.has(name) {
            let text = format!(
                "exchange {name:?} was gone and is there again, and the queues of others are bound \
                 to it only if they have bound them again: bind those that are to have what is \
                 published there. It is over with the next message that a queue takes"
            );
            health.report(Code::BindingsUnchecked, name, &text);
        }
    }

    /// The fate of a message to the exchange. Where that was made again, it is not the message's own
    /// that there is no queue: others wait for one, too, or are dropped if nobody was to be told of
    /// those that find none (`is_mandatory`).
    pub(super) fn judged(
        &self,
        fate: Fate,
        name: &str,
        is_mandatory: bool,
        health: &Health,
    ) -> Fate {
        match fate {
            Fate::Returned(reason) if self.has(name) => {
                if !is_mandatory {
                    return Fate::Confirmed;
                }
                let why = format!(
                    "exchange {name:?} was gone and is there again without queues that were bound to \
                     it: bind them again, and what waits for them goes on"
                );
                health.report(Code::BindingMissing, name, &why);
                Fate::Refused(format!("{why}. {reason}"))
            }
            Fate::Confirmed => {
                self.on_confirmed(name, health);
                Fate::Confirmed
            }
            fate => fate,
        }
    }

    /// A queue took a message.
    fn on_confirmed(&self, name: &str, health: &Health) {
        if !self.any.load(Relaxed) {
            return;
        }
        let mut exchanges = self.exchanges();
        let Some(state) = exchanges.get_mut(name) else { return };
        if matches!(state, State::Renewed(since) if since.elapsed() >= EARLIER) {
            *state = State::There;
            let is_renewed = |state: &State| matches!(state, State::Renewed(_));
            self.any.store(exchanges.values().any(is_renewed), Relaxed);
            drop(exchanges);
            over(name, "a queue takes what is published to the exchange again", health);
        }
    }

    /// Tells of exchanges no more that no plugin publishes to: all but these.
    pub(super) fn forget_but(&self, used: &BTreeSet<String>, health: &Health) {
        if !self.any.load(Relaxed) {
            return;
        }
        let unused = |(name, state): &(&String, &State)| {
            matches!(state, State::Renewed(_)) && !used.contains(*name)
        };
        let unused: Vec<String> =
            self.exchanges().iter().filter(unused).map(|(name, _)| name.clone()).collect();
        for name in unused {
            over(&name, "no plugin publishes to the exchange any more", health);
        }
    }

    fn exchanges(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        // No holder leaves anything half done.
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over(name: &str, why: &str, health: &Health) {
    health.over(Code::BindingsUnchecked, name, why);
    health.over(Code::BindingMissing, name, why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_was_made_again_is_told_until_a_queue_takes_a_message() {
        let (renewed, health) = (Renewed::default(), Health::default());
        assert!(!renewed.exists("x") && !renewed.exists("x") && !renewed.has("x"));
        renewed.gone("x");
        assert!(!renewed.has("x") && renewed.exists("x") && !renewed.exists("x"));
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

    #[test]
    fn one_that_nobody_publishes_to_is_told_no_more() {
        let (renewed, health) = (Renewed::default(), Health::default());
        renewed.exists("x");
        renewed.gone("x");
        renewed.exists("x");
        renewed.tell("x", &health);
        renewed.forget_but(&BTreeSet::from(["x".to_owned()]), &health);
        assert!(health.has(Code::BindingsUnchecked));
        renewed.forget_but(&BTreeSet::new(), &health);
        assert!(!health.has(Code::BindingsUnchecked));
        assert!(renewed.has("x"), "what was delayed may go there yet");
    }
}
