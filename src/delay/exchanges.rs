//! Exchanges that refuse what is sent to them, because they do not exist or are not permitted.
//! Everything that falls due would become a dead letter. So after some, the others wait in the
//! store until the exchange takes a message again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::health::{Code, Health};
use crate::transport::is_unroutable;

/// How many exchanges are remembered that refuse messages; of more, each message is a dead letter.
const REMEMBERED: usize = 1000;

/// How often one message is sent to see whether the exchange takes it.
const TRIAL: Duration = Duration::from_secs(30);

/// After so long without a message for it, nobody needs to be told of an exchange: messages that
/// wait for it come back every minute.
const UNUSED: Duration = Duration::from_secs(300);

/// The exchanges that refused the last message, by name. They outlive the scheduler's sessions.
#[derive(Debug, Default)]
pub struct Exchanges(BTreeMap<String, Refusing>);

#[derive(Debug, Default)]
struct Refusing {
    /// How many messages in a row.
    count: usize,
    /// None while they are few.
    closed: Option<Closed>,
}

/// Nothing is sent to the exchange.
#[derive(Debug)]
struct Closed {
    /// Why.
    reason: String,
    /// But for one message, from then on.
    try_at: Instant,
    /// When the last message was for it.
    asked_at: Instant,
}

impl Exchanges {
    /// Why a message to this exchange is not to be sent now; none if it is.
    pub fn refuses(&mut self, exchange: &str, now: Instant) -> Option<String> {
        let closed = self.0.get_mut(exchange)?.closed.as_mut()?;
        closed.asked_at = now;
        if closed.try_at <= now {
            closed.try_at = now + TRIAL;
            return None;
        }
        Some(closed.reason.clone())
    }

    /// The exchange refused a message. Returns whether the message is to wait: if it refuses `most`
    /// in a row, that is no fault of the messages.
    pub fn on_refused(
        &mut self,
        exchange: &str,
        reason: &str,
        most: usize,
        now: Instant,
        health: &Health,
    ) -> bool {
        if !self.0.contains_key(exchange) && self.0.len() >= REMEMBERED {
            return false;
        }
        let refusing = self.0.entry(exchange.to_owned()).or_default();
        refusing.count = refusing.count.saturating_add(1);
        if refusing.count < most && refusing.closed.is_none() {
            return false;
        }
        let closed = Closed { reason: reason.to_owned(), try_at: now + TRIAL, asked_at: now };
        let before = refusing.closed.replace(closed);
        if before.is_some_and(|before| code(&before.reason) != code(reason)) {
            over(exchange, health, "it refuses messages for another reason");
        }
        let text =
            format!("delayed messages to exchange {exchange:?} wait until it takes them: {reason}");
        health.report(code(reason), &subject(exchange), &text);
        true
    }

    /// Nobody is told any more of exchanges that no message is for.
    pub fn on_time(&self, now: Instant, health: &Health) {
        for (exchange, refusing) in &self.0 {
            let closed = refusing.closed.as_ref();
            if closed.is_some_and(|closed| closed.asked_at + UNUSED <= now) {
                over(exchange, health, "no delayed message waits for the exchange any more");
            }
        }
    }

    /// The exchange did not refuse a message.
    pub fn on_taken(&mut self, exchange: &str, health: &Health) {
        let Some(refusing) = self.0.remove(exchange) else { return };
        if refusing.closed.is_some() {
            over(exchange, health, "the exchange takes delayed messages again");
        }
    }
}

/// By the words of the broker, or of whoever has looked for the exchange.
fn code(reason: &str) -> Code {
    let is_missing = reason.contains("404 NOT_FOUND") || reason.contains("does not exist");
    let is_unbound = is_unroutable(reason);
    match (is_missing, is_unbound) {
        (true, _) => Code::ExchangeMissing,
        (false, true) => Code::BindingMissing,
        (false, false) => Code::NotPermitted,
    }
}

fn subject(exchange: &str) -> String {
    format!("delayed messages to {exchange}")
}

fn over(exchange: &str, health: &Health, text: &str) {
    for code in [Code::ExchangeMissing, Code::BindingMissing, Code::NotPermitted] {
        health.over(code, &subject(exchange), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::transport::unroutable;

    const FORBIDDEN: &str =
        "the broker refuses it: 403 ACCESS_REFUSED - write access to exchange 'x'";
    const MISSING: &str = "exchange \"x\" does not exist: create it";

    fn nothing_known() -> (Exchanges, Health, Instant) {
        (Exchanges::default(), Health::default(), Clock::system().instant())
    }

    #[test]
    fn after_some_in_a_row_the_others_wait_until_one_is_taken() {
        let (mut exchanges, health, now) = nothing_known();
        let refused =
            |exchanges: &mut Exchanges| exchanges.on_refused("x", FORBIDDEN, 3, now, &health);
        assert!(!refused(&mut exchanges) && !refused(&mut exchanges));
        exchanges.on_taken("x", &health);
        assert!(!refused(&mut exchanges) && !refused(&mut exchanges), "in a row");
        assert!(exchanges.refuses("x", now).is_none() && !health.has(Code::NotPermitted));
        assert!(refused(&mut exchanges) && health.has(Code::NotPermitted));
        assert_eq!(exchanges.refuses("x", now).as_deref(), Some(FORBIDDEN));
        assert_eq!(exchanges.refuses("y", now), None, "each for itself");

        let later = now + TRIAL;
        assert_eq!(exchanges.refuses("x", later), None, "one is tried");
        assert!(exchanges.refuses("x", later).is_some(), "and no other");
        assert!(refused(&mut exchanges), "it is not lost either");
        exchanges.on_taken("x", &health);
        assert!(exchanges.refuses("x", later).is_none() && health.reasons().is_empty());
    }

    #[test]
    fn nobody_is_told_of_one_that_no_message_is_for() {
        let (mut exchanges, health, now) = nothing_known();
        exchanges.on_refused("x", FORBIDDEN, 1, now, &health);
        let later = now + UNUSED / 2;
        exchanges.refuses("x", later);
        exchanges.on_time(now + UNUSED, &health);
        assert!(health.has(Code::NotPermitted));
        exchanges.on_time(later + UNUSED, &health);
        assert!(!health.has(Code::NotPermitted));
        assert!(exchanges.on_refused("x", FORBIDDEN, 20, later + UNUSED, &health), "it is known");
        assert!(health.has(Code::NotPermitted));
    }

    #[test]
    fn the_reason_is_the_last_one() {
        let (mut exchanges, health, now) = nothing_known();
        assert!(exchanges.on_refused("x", MISSING, 1, now, &health));
        assert!(health.has(Code::ExchangeMissing));
        assert!(exchanges.on_refused("x", FORBIDDEN, 1, now, &health));
        let reasons = health.reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].code == Code::NotPermitted && reasons[0].text.contains(FORBIDDEN));
    }

    #[test]
    fn one_that_was_made_again_without_its_queues_is_told_as_such() {
        let (mut exchanges, health, now) = nothing_known();
        let unbound = unroutable("x", "a.b.c", "312 NO_ROUTE");
        let unbound = format!("exchange \"x\" was deleted and made again. {unbound}");
        assert!(exchanges.on_refused("x", &unbound, 1, now, &health));
        assert!(health.has(Code::BindingMissing));
        exchanges.on_taken("x", &health);
        assert!(health.reasons().is_empty());
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (mut exchanges, health, now) = nothing_known();
        for number in 0..REMEMBERED {
            exchanges.on_refused(&number.to_string(), MISSING, 2, now, &health);
        }
        assert!(!exchanges.on_refused("x", MISSING, 1, now, &health));
        assert!(exchanges.on_refused("0", MISSING, 2, now, &health));
    }
}
