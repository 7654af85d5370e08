//! How many channels a user may have, on all connections together. The broker tells nobody
//! before the limit is exceeded, and then ends the connection that exceeded it, with
//! everything that others do on it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::ErrorKind;
use tokio::time::Instant;

use crate::health::{Code, Health};

/// For how long after the limit was last exceeded to be careful.
const CAREFUL: Duration = Duration::from_secs(60);

/// RabbitMQ's reply code for something that is not allowed.
const NOT_ALLOWED: u16 = 530;

/// What [`Health`] calls it.
const SUBJECT: &str = "channels";

/// When the limit was exceeded.
#[derive(Debug, Default)]
pub struct ChannelLimit {
    exceeded: Mutex<Option<Instant>>,
    health: Health,
}

impl ChannelLimit {
    /// Reports to `health` as [`Code::NotPermitted`].
    pub fn new(health: Health) -> Self {
        Self { exceeded: Mutex::default(), health }
    }

    /// Whether the limit was exceeded lately, so that a channel should be tried where nothing
    /// depends on the connection.
    pub fn is_near(&self) -> bool {
        let mut exceeded = self.exceeded.lock().unwrap_or_else(PoisonError::into_inner);
        if exceeded.is_some_and(|at| at.elapsed() < CAREFUL) {
            return true;
        }
        if exceeded.take().is_some() {
            self.health.over(Code::NotPermitted, SUBJECT, "there are channels enough again");
        }
        false
    }

    /// Notes an error if it says that the limit is exceeded; returns whether it does.
    pub fn note(&self, error: &anyhow::Error) -> bool {
        let Some(words) = words(error) else { return false };
        *self.exceeded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let text = format!("the broker allows no more channels: {words}");
        self.health.report(Code::NotPermitted, SUBJECT, &text);
        true
    }
}

/// The broker's words, if it says that there are too many channels.
fn words(error: &anyhow::Error) -> Option<&str> {
    match error.downcast_ref::<lapin::Error>()?.kind() {
        ErrorKind::ProtocolError(error) if error.get_id() == NOT_ALLOWED => {
            let words = error.get_message().as_str();
            words.contains("number of channels").then_some(words)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError};

    fn refused(words: &str) -> anyhow::Error {
        let kind = AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED);
        let error =
            lapin::Error::from(ErrorKind::ProtocolError(AMQPError::new(kind, words.into())));
        Err::<(), _>(error).context("opening a channel").unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn careful_for_a_while_after_the_limit_was_exceeded() {
        let health = Health::default();
        let limit = ChannelLimit::new(health.clone());
        assert!(!limit.note(&refused("connection limit (1) is reached")) && !limit.is_near());
        assert!(limit.note(&refused("number of channels opened for user 'u' has reached 8")));
        assert!(limit.is_near() && health.has(Code::NotPermitted));
        tokio::time::sleep(CAREFUL).await;
        assert!(!limit.is_near() && !health.has(Code::NotPermitted));
    }
}
