//! Whether the router is ready, and why not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Fleet;
use super::member::Member;
use crate::health::{Code, Health, Reason, is_ready};
use crate::router::State;

/// How long an event may be in flight before that is a reason.
const STALLED: Duration = Duration::from_mins(1);

impl Fleet {
    /// Why the router is not ready, and what people are told besides. It is ready if every
    /// plugin takes events or is suspended, if only in an older version than that of its file,
    /// and nothing else stops or slows the flow.
    pub fn unready(&self) -> Vec<Reason> {
        if self.stop.is_cancelled() {
            return Self::stopping(&self.health);
        }
        let mut reasons = self.health.reasons();
        for (name, member) in self.members().iter() {
            reasons.extend(of_plugin(name, member));
        }
        if is_ready(&reasons) && !self.started.load(Relaxed) {
            reasons.push(Reason::new(Code::Starting, "router", "plugins are being loaded"));
        }
        reasons
    }

    /// Why a router is not ready that stops: that it does, and what else is wrong, which may be why
    /// it takes long.
    pub fn stopping(health: &Health) -> Vec<Reason> {
        let stopping = Reason::new(Code::Stopping, "router", "the router is stopping");
        [stopping].into_iter().chain(health.reasons()).collect()
    }

    /// Reports plugins of which something has been in flight for too long.
    pub(super) fn look_for_stalled(&self) {
        let now = self.clock.instant();
        for (name, member) in self.members().iter() {
            let call = member.stats.call(now).map(|waiting| (waiting, false));
            let mut oldest = call.into_iter().chain(member.stats.oldest(now));
            match oldest.find(|(held, _)| *held >= STALLED) {
                Some((_, is_answered)) => {
                    let what = match is_answered {
                        true => {
                            "the broker has not confirmed what it caused, or not said whether its \
                                 exchange can be used, or the delay store has not committed it"
                        }
                        false => "the plugin has not answered, or it is tried again",
                    };
                    let text = format!(
                        "an event of plugin {name} has been in flight for over a minute: {what}"
                    );
                    self.health.report(Code::SettlementStalled, name, &text);
                }
                None => self.health.over(
                    Code::SettlementStalled,
                    name,
                    "no event has been in flight for over a minute any more",
                ),
            }
        }
    }

    /// Reports that dead letters wait, or that there are none.
    pub(super) fn tell_of_dead_letters(&self, letters: u32) {
        const QUEUE: &str = "mo-router.dead";
        match letters {
            0 => self.health.over(Code::DeadLetters, QUEUE, "no dead letters wait any more"),
            _ => self.health.report(
                Code::DeadLetters,
                QUEUE,
                "dead letters wait for people: `mo-router dead list --group` says how many, and why",
            ),
        }
    }
}

/// What there is to say of one plugin. It has been logged where it happened.
fn of_plugin(name: &str, member: &Member) -> impl Iterator<Item = Reason> {
    let refused = member.life.refusal_reason().map(|why| match member.life.running() {
        Some(_) => (
            Code::PluginStale,
            format!(
                "plugin {name}: the new file was refused, the old version keeps running: {why}"
            ),
        ),
        None => (
            Code::PluginRefused,
            format!("plugin {name} does not run, its file was refused: {why}"),
        ),
    });
    let stats = member.stats.read();
    let why = |default: &str| stats.reason.clone().unwrap_or_else(|| default.to_owned());
    let state = member.life.running().and_then(|_| match stats.state {
        State::Waiting => {
            let why = why("it has not started yet");
            Some((Code::PluginWaiting, format!("plugin {name} takes no events: {why}")))
        }
        State::Suspended => {
            let why = why("it failed on event after event");
            Some((Code::PluginSuspended, format!("plugin {name} is suspended: {why}")))
        }
        State::Running | State::Removed => None,
    });
    refused.into_iter().chain(state).map(move |(code, text)| Reason::new(code, name, text))
}
