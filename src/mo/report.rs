//! What people hear of MO: troubles for readiness and the log.

use tracing::{debug, info, warn};

use super::core::Notice;
use super::documents::Operation;
use super::failure::Failure;
use super::keys::KNOWN;
use crate::health::{Code, Health};

/// A server that does not answer is reported when it has not done so this often in a row.
const REPORTED: u32 = 2;
/// How the subjects of all reports begin.
const SUBJECT: &str = "mo ";

/// Reports to a [`Health`].
pub struct Report {
    health: Health,
    /// Start of the listeners' names.
    user_key: String,
    /// Whether it was told that nobody asks for MO's keys.
    told_of_nothing: bool,
}

impl Report {
    /// Reports to `health`, and names listeners as the settings do.
    pub fn new(health: Health, user_key: String) -> Self {
        Self { health, user_key, told_of_nothing: false }
    }

    /// Another router fetches now: what is wrong is for that one to tell.
    pub fn forget(&self) {
        self.health.forget_all(SUBJECT);
    }

    /// MO is asked for nothing, so nothing will say that it answers again.
    pub fn nothing_is_asked(&self) {
        for operation in [Operation::Fetch, Operation::Declare] {
            self.health.forget(&requests(operation));
        }
    }

    /// Reports what stops the flow. What the core handles otherwise it tells in a [`Notice`].
    pub fn answered(&self, operation: Operation, failure: Option<Failure>, failed: u32) {
        let subject = requests(operation);
        match failure {
            None => self.health.over(Code::MoUnreachable, &subject, "MO answers again"),
            // Which listener it is of, the core finds out.
            Some(Failure::Rejected(_)) if operation != Operation::Acknowledge => {}
            Some(failure @ (Failure::Unavailable { .. } | Failure::Rejected(_)))
                if failed < REPORTED =>
            {
                debug!("a request to MO is sent again: {failure}");
            }
            // Nothing waits for these.
            Some(_) if matches!(operation, Operation::Rerun | Operation::Delete) => {}
            Some(failure) => {
                self.health.report(Code::MoUnreachable, &subject, &failure.to_string());
            }
        }
    }

    /// Whether plugins ask for events, but for none that MO has. It is told once each time: nothing
    /// else would say why nothing comes.
    pub fn nothing_wanted(&mut self, is_so: bool) {
        if is_so && !self.told_of_nothing {
            warn!(
                "no plugin asks for any of MO's GraphQL events, so none are fetched: their keys are one \
                 word ({}). Subscribe to \"*\" or to some of them, in the plugin or in [plugin.NAME] \
                 subscriptions, or name some in [mo] routing_keys. Patterns of several words, such as \
                 \"employee.#\", select events of MO's AMQP only",
                KNOWN.join(", ")
            );
        }
        self.told_of_nothing = is_so;
    }

    /// Tells what the core has noticed.
    pub fn tell(&self, notice: Notice) {
        let subject = |key: &str| format!("mo listener {key}");
        let events = |key: &str| format!("mo events {key}");
        let over = |key: &str, text: &str| {
            self.health.over(Code::MoUnreachable, &subject(key), text);
        };
        let report = |key: &str, text: String| {
            self.health.report(Code::MoUnreachable, &subject(key), &text);
        };
        let name = |key: &str| format!("{}.{key}", self.user_key);
        match notice {
            Notice::Declared(key) => over(&key, "MO has the listener"),
            // Somebody may have deleted the listener that was there before this router started, which
            // only this line shows.
            Notice::Listening(key, uuid) => {
                let listener = name(&key);
                info!(routing_key = key, listener, %uuid, "events come from a listener at MO");
            }
            Notice::Undeclared(key, reason) => {
                let name = name(&key);
                report(&key, format!("MO has no listener {name} for {key:?}: {reason}"));
            }
            Notice::Foreign(key, owner) => {
                let name = name(&key);
                report(
                    &key,
                    format!(
                        "listener {name} belongs to {owner}, and MO gives its events to nobody \
                         else: set [mo] user_key to another name"
                    ),
                );
            }
            Notice::Deleted(key) => {
                let listener = name(&key);
                warn!(
                    routing_key = key,
                    listener,
                    "somebody deleted a listener at MO; it is declared again, and what changed \
                     meanwhile is lost: have MO send it again (`*_refresh` in its GraphQL)"
                );
            }
            Notice::Moved(key, from, to) => {
                let listener = name(&key);
                warn!(
                    routing_key = key,
                    listener,
                    %from,
                    %to,
                    "MO takes this client for another one than before, which has another listener; what \
                     the old one holds stays with it: log in as before to fetch it, or have MO send \
                     it again (`*_refresh` in its GraphQL)"
                );
            }
            Notice::Unfetched(key, reason) => {
                let text = format!("MO does not give its events of {key:?}: {reason}");
                self.health.report(Code::MoUnreachable, &events(&key), &text);
            }
            Notice::Fetched(key) => {
                let text = "MO gives the events of this key again";
                self.health.over(Code::MoUnreachable, &events(&key), text);
            }
            Notice::Stuck(key, reason) => {
                let text =
                    format!("MO keeps its events of {key:?}, which cannot be published: {reason}");
                self.health.report(Code::BindingMissing, &subject(&key), &text);
            }
            Notice::Unstuck(key) => {
                self.health.over(
                    Code::BindingMissing,
                    &subject(&key),
                    "its events are published again",
                );
            }
            Notice::Unwanted(key) => {
                self.health.forget(&subject(&key));
                self.health.forget(&events(&key));
            }
            Notice::Unacknowledged(key, subject, reason) => {
                warn!(
                    routing_key = key,
                    subject, "an event cannot be acknowledged and will come again: {reason}"
                );
            }
            Notice::NotRerun(reason) => {
                info!(
                    "events that MO had leased to a router that is gone are redelivered within minutes, \
                     not at once: {reason}"
                );
            }
            Notice::Retired(key) => {
                warn!(
                    routing_key = key,
                    "the listener at MO that nobody needs any more is deleted"
                );
            }
            Notice::NotRetired(key, reason) => {
                warn!(
                    routing_key = key,
                    "the listener at MO that nobody needs any more cannot be deleted: {reason}"
                );
            }
        }
    }
}

/// What the troubles of requests of this kind are reported of.
fn requests(operation: Operation) -> String {
    format!("mo {}", operation.as_str())
}
