//! What stops or slows the flow at the moment, for readiness, status, metrics and the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};
use tracing::{info, warn};

use crate::escape::escaped;

/// What kind of trouble it is. The names are fixed: alerts are made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The router does not take events yet.
    Starting,
    /// The router takes no more events.
    Stopping,
    /// No connection to the broker can be made.
    BrokerUnreachable,
    /// The broker takes no messages, because it is short of memory or disk space.
    BrokerBlocked,
    /// An exchange does not exist.
    ExchangeMissing,
    /// A queue cannot be bound to the source exchange, because one of them is gone; or what the
    /// bridge to MO fetches is unroutable, or what goes to an exchange that was made again; or dead
    /// letters are not taken.
    BindingMissing,
    /// The broker forbids it.
    NotPermitted,
    /// Delayed messages cannot be stored or published.
    StoreUnavailable,
    /// MO's GraphQL does not give its events.
    MoUnreachable,
    /// The plugins' folder cannot be read, or is empty as a whole.
    FolderUnreadable,
    /// A plugin's file was refused, and no older version of it runs.
    PluginRefused,
    /// A plugin takes no events for a reason of its own, or its queue has no consumer.
    PluginWaiting,
    /// An event has been in flight for more than a minute.
    SettlementStalled,
    /// A plugin's file was refused, and an older version runs.
    PluginStale,
    /// A plugin is suspended, because it failed on event after event.
    PluginSuspended,
    /// Dead letters wait for people.
    DeadLetters,
    /// Delayed messages should have been sent by now.
    Overdue,
    /// Delayed messages are held until a person releases them.
    DelayedHeld,
    /// This machine's clock, or that of a shared delay store, is wrong.
    ClockWrong,
    /// Changes in the plugins' folder are not announced.
    WatchPolling,
    /// The router may not bind a plugin's queue, and so cannot know how it is bound; or an exchange
    /// that it publishes to was made again, and which queues are bound to it nobody tells.
    BindingsUnchecked,
    /// The collector of traces does not take them.
    TracesNotSent,
}

impl Code {
    /// Every code, as it is written.
    pub const ALL: [Self; 22] = [
        Self::Starting,
        Self::Stopping,
        Self::BrokerUnreachable,
        Self::BrokerBlocked,
        Self::ExchangeMissing,
        Self::BindingMissing,
        Self::NotPermitted,
        Self::StoreUnavailable,
        Self::MoUnreachable,
        Self::FolderUnreadable,
        Self::PluginRefused,
        Self::PluginWaiting,
        Self::SettlementStalled,
        Self::PluginStale,
        Self::PluginSuspended,
        Self::DeadLetters,
        Self::Overdue,
        Self::DelayedHeld,
        Self::ClockWrong,
        Self::WatchPolling,
        Self::BindingsUnchecked,
        Self::TracesNotSent,
    ];

    /// Whether the router is ready all the same: people are only told.
    pub const fn is_only_told(self) -> bool {
        matches!(
            self,
            Self::PluginStale
                | Self::PluginSuspended
                | Self::DeadLetters
                | Self::Overdue
                | Self::DelayedHeld
                | Self::ClockWrong
                | Self::WatchPolling
                | Self::BindingsUnchecked
                | Self::TracesNotSent
        )
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::BrokerUnreachable => "broker-unreachable",
            Self::BrokerBlocked => "broker-blocked",
            Self::ExchangeMissing => "exchange-missing",
            Self::BindingMissing => "binding-missing",
            Self::NotPermitted => "not-permitted",
            Self::StoreUnavailable => "store-unavailable",
            Self::MoUnreachable => "mo-unreachable",
            Self::FolderUnreadable => "folder-unreadable",
            Self::PluginRefused => "plugin-refused",
            Self::PluginWaiting => "plugin-waiting",
            Self::SettlementStalled => "settlement-stalled",
            Self::PluginStale => "plugin-stale",
            Self::PluginSuspended => "plugin-suspended",
            Self::DeadLetters => "dead-letters",
            Self::Overdue => "overdue",
            Self::DelayedHeld => "delayed-held",
            Self::ClockWrong => "clock-wrong",
            Self::WatchPolling => "watch-polling",
            Self::BindingsUnchecked => "bindings-unchecked",
            Self::TracesNotSent => "traces-not-sent",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why the router is not ready, or what people are told though it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What kind of trouble.
    pub code: Code,
    /// What is in trouble: an exchange, a queue, a plugin, `broker`.
    pub subject: String,
    /// A sentence for people.
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: Code, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code, subject: subject.into(), text: text.into() }
    }
}

/// Whether the router is ready with these reasons.
pub fn is_ready(reasons: &[Reason]) -> bool {
    reasons.iter().all(|reason| reason.code.is_only_told())
}

/// One line: the code and the sentence, which names the subject where that is needed.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), escaped(&self.text))
    }
}

/// The troubles that there are. Clones share them. A trouble is logged when it begins, when
/// its text changes, and when it is over.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<(Code, String), String>>>);

impl Health {
    /// There is this trouble, until [`Health::over`] is called for the code and the subject.
    pub fn report(&self, code: Code, subject: &str, text: &str) {
        let before = self.troubles().insert((code, subject.to_owned()), text.to_owned());
        if before.as_deref() != Some(text) {
            warn!(reason = code.as_str(), subject, "{text}");
        }
    }

    /// There is no such trouble, or no longer. `text` says so.
    pub fn over(&self, code: Code, subject: &str, text: &str) {
        if self.troubles().remove(&(code, subject.to_owned())).is_some() {
            info!(reason = code.as_str(), subject, "{text}");
        }
    }

    /// Nobody needs the subject any more, whatever was wrong with it.
    pub fn forget(&self, subject: &str) {
        self.troubles().retain(|(_, other), _| other != subject);
    }

    /// Nobody needs the subjects any more whose names begin so.
    pub fn forget_all(&self, prefix: &str) {
        self.troubles().retain(|(_, subject), _| !subject.starts_with(prefix));
    }

    /// Whether there is this trouble.
    pub fn has(&self, code: Code) -> bool {
        self.troubles().keys().any(|(other, _)| *other == code)
    }

    /// Every trouble, by code and subject.
    pub fn reasons(&self) -> Vec<Reason> {
        let troubles = self.troubles();
        troubles.iter().map(|((code, subject), text)| Reason::new(*code, subject, text)).collect()
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<(Code, String), String>> {
        // No holder leaves anything half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_lasts_until_it_is_over() {
        let health = Health::default();
        health.report(Code::ExchangeMissing, "os2mo", "it is gone");
        health.report(Code::ExchangeMissing, "routed", "it is gone");
        health.report(Code::ExchangeMissing, "os2mo", "it is gone for good");
        health.over(Code::BrokerBlocked, "broker", "nothing was wrong");
        let texts: Vec<String> = health.reasons().into_iter().map(|reason| reason.text).collect();
        assert_eq!(texts, ["it is gone for good", "it is gone"]);
        health.over(Code::ExchangeMissing, "os2mo", "it is back");
        assert_eq!(health.reasons().len(), 1);
        health.report(Code::NotPermitted, "os2mo", "no");
        health.forget("os2mo");
        assert_eq!(health.reasons().len(), 1);
        assert!(health.has(Code::ExchangeMissing) && !health.has(Code::BrokerBlocked));
        assert!(!is_ready(&health.reasons()));
    }

    #[test]
    fn what_people_are_only_told_leaves_the_router_ready() {
        let health = Health::default();
        health.report(Code::Overdue, "delayed", "late");
        assert!(is_ready(&health.reasons()));
        health.report(Code::StoreUnavailable, "store", "it is away");
        assert!(!is_ready(&health.reasons()));
    }
}
