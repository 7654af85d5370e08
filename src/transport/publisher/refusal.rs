//! What a broker says when it closes a channel.

use std::fmt;

use crate::event::Outgoing;
use crate::transport::Fate;

/// AMQP's reply code for something that the user may not do.
const ACCESS_REFUSED: u16 = 403;
/// AMQP's reply code for something that does not exist.
const NOT_FOUND: u16 = 404;

/// Why a broker closed a channel, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// AMQP's reply code.
    pub code: u16,
    /// The reply text.
    pub text: String,
}

impl Refusal {
    /// The broker has not said why.
    pub fn unknown() -> Self {
        Self { code: 0, text: "it closed the channel, and nothing says why".into() }
    }

    /// Whether a message can be to blame.
    pub(super) fn is_known(&self) -> bool {
        self.code != 0
    }

    /// The fate of the message to blame: whether the reason concerns others as well. That a dead
    /// letter is not permitted is never its own fault: in another form it would be no more so.
    pub(super) fn fate(&self, outgoing: &Outgoing) -> Fate {
        let reason = self.to_string();
        let is_letter = matches!(outgoing, Outgoing::Dead(_));
        let exchange = self.missing_exchange().or(self.refused_exchange());
        match exchange.is_some() || (is_letter && self.code == ACCESS_REFUSED) {
            true => Fate::Refused(reason),
            false => Fate::Unacceptable(reason),
        }
    }

    /// The exchange that it says does not exist.
    pub fn missing_exchange(&self) -> Option<&str> {
        self.exchange().filter(|_| self.code == NOT_FOUND)
    }

    /// The exchange that it does not permit, whatever the message.
    pub(super) fn refused_exchange(&self) -> Option<&str> {
        let whole = self.code == ACCESS_REFUSED && !self.text.contains(" topic '");
        self.exchange().filter(|_| whole)
    }

    /// The exchange that it names, where it does not permit or find one. It names nothing
    /// else then (`rabbit_access_control.erl`, `rabbit_misc.erl`).
    pub(super) fn exchange(&self) -> Option<&str> {
        if !matches!(self.code, ACCESS_REFUSED | NOT_FOUND) {
            return None;
        }
        let (_, from) = self.text.split_once("exchange '")?;
        from.split_once("' in vhost").map(|(name, _)| name)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker refuses it: {} {}", self.code, self.text)
    }
}
