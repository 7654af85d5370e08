//! Whether the router is ready, and why not.

use std::sync::atomic::Ordering::Relaxed;

use super::Fleet;
use crate::health::{Code, Reason, is_ready};
use crate::router::State;

impl Fleet {
    /// Why the router is not ready, and what people are told besides. It is ready if every
    /// plugin that loaded takes events or is suspended, and nothing else stops or slows the
    /// flow: a plugin that is suspended, or whose file was refused, is no reason.
    pub fn unready(&self) -> Vec<Reason> {
        if self.stop.is_cancelled() {
            return vec![Reason::new(Code::Stopping, "router", "the router is stopping")];
        }
        let mut reasons = self.health.reasons();
        let members = self.members();
        for (name, member) in members.iter().filter(|(_, member)| member.life.running().is_some()) {
            let stats = member.stats.read();
            if stats.state == State::Waiting {
                let why = stats.reason.unwrap_or_else(|| "it has not started yet".into());
                let text = format!("plugin {name} takes no events: {why}");
                reasons.push(Reason::new(Code::PluginWaiting, name, text));
            }
        }
        if is_ready(&reasons) && !self.started.load(Relaxed) {
            reasons.push(Reason::new(Code::Starting, "router", "plugins are being loaded"));
        }
        reasons
    }
}
