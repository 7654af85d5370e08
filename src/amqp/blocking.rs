//! Whether the broker takes messages. One that is short of memory or disk space stops
//! reading from connections that publish, and tells them why.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use futures::{Stream, StreamExt};
use lapin::Event;
use tokio::sync::watch;

use crate::health::{Code, Health};

/// The connections that the broker blocks, by number, what they are for, and its reasons.
#[derive(Debug, Default)]
pub struct Blocking {
    blocked: watch::Sender<BTreeMap<u64, (&'static str, String)>>,
    health: Health,
}

/// One connection is blocked, until this is dropped.
struct Blocked<'a> {
    blocking: &'a Blocking,
    number: u64,
    /// Why it is blocked no more.
    end: &'static str,
}

impl Blocking {
    /// Reports to `health` as [`Code::BrokerBlocked`].
    pub fn new(health: Health) -> Self {
        Self { blocked: watch::Sender::default(), health }
    }

    /// Follows what happens to a connection for a purpose, which has the number `number`. Ends
    /// with it.
    pub async fn follow(
        &self,
        events: impl Stream<Item = Event>,
        purpose: &'static str,
        number: u64,
    ) {
        let mut events = pin!(events);
        let mut blocked = None;
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    self.note(number, purpose, reason);
                    blocked.get_or_insert_with(|| self.until_dropped(number));
                }
                Event::ConnectionUnblocked => {
                    if let Some(mut over) = blocked.take() {
                        over.end = "the broker takes messages again";
                    }
                }
                // Others say that the broker has closed a channel.
                Event::Error(error) if !error.is_amqp_soft_error() => return,
                _ => {}
            }
        }
    }

    fn note(&self, number: u64, purpose: &'static str, reason: String) {
        self.blocked.send_modify(|blocked| drop(blocked.insert(number, (purpose, reason))));
        self.report();
    }

    fn until_dropped(&self, number: u64) -> Blocked<'_> {
        Blocked { blocking: self, number, end: "the connection that the broker blocked has ended" }
    }

    /// Waits until the broker has blocked publishing for so long without a break; says so.
    pub async fn blocked_for(&self, patience: Duration) -> anyhow::Error {
        let mut blocked = self.blocked.subscribe();
        loop {
            // The sender lives as long as this future does.
            let _ = blocked.wait_for(|blocked| !blocked.is_empty()).await;
            let unblocked = blocked.wait_for(BTreeMap::is_empty);
            if tokio::time::timeout(patience, unblocked).await.is_err() {
                let text = self.text().unwrap_or_else(|| "the broker blocked publishing".into());
                return anyhow!("{text}; given up after {patience:?}");
            }
        }
    }

    /// Whether the broker blocks publishing on any connection.
    pub fn is_blocked(&self) -> bool {
        !self.blocked.borrow().is_empty()
    }

    /// Whether the broker blocks a connection for this purpose.
    pub fn is_blocking(&self, purpose: &str) -> bool {
        self.blocked.borrow().values().any(|(other, _)| *other == purpose)
    }

    /// What the broker says, if it blocks publishing.
    fn text(&self) -> Option<String> {
        let blocked = self.blocked.borrow();
        let (_, (_, reason)) = blocked.first_key_value()?;
        Some(format!("the broker blocks publishing: {reason}"))
    }

    /// Says what the broker says, if it blocks publishing. Returns whether it does.
    fn report(&self) -> bool {
        let text = self.text();
        if let Some(text) = &text {
            self.health.report(Code::BrokerBlocked, "broker", text);
        }
        text.is_some()
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        let Self { blocking, number, end } = self;
        blocking.blocked.send_modify(|blocked| drop(blocked.remove(number)));
        if !blocking.report() {
            blocking.health.over(Code::BrokerBlocked, "broker", end);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, stream};
    use lapin::protocol::AMQPError;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn block<'a>(blocking: &'a Blocking, number: u64, reason: &str) -> Blocked<'a> {
        blocking.note(number, "publish", reason.into());
        blocking.until_dropped(number)
    }

    #[tokio::test(start_paused = true)]
    async fn several_connections_are_one_trouble() {
        let health = Health::default();
        let blocking = Blocking::new(health.clone());
        let first = block(&blocking, 1, "low on memory");
        let second = block(&blocking, 2, "low on memory");
        drop(first);
        let reasons = health.reasons();
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0].text, "the broker blocks publishing: low on memory");
        drop(second);
        assert_eq!(health.reasons(), []);
    }

    #[tokio::test]
    async fn what_becomes_of_a_channel_is_no_end_of_its_connection() {
        let error = |code| {
            let error = AMQPError::from_id(code, "why".into()).unwrap();
            Event::Error(lapin::ErrorKind::ProtocolError(error).into())
        };
        let blocking = Blocking::default();
        let blocked = || Event::ConnectionBlocked("low on memory".into());
        let events = stream::iter([error(404), blocked(), blocked()]).chain(stream::pending());
        let mut follow = pin!(blocking.follow(events, "publish", 1));
        assert!(follow.as_mut().now_or_never().is_none());
        assert!(blocking.is_blocking("publish"));
        // The connection itself is lost.
        let events = stream::iter([blocked(), error(320)]).chain(stream::pending());
        assert!(blocking.follow(events, "declare", 2).now_or_never().is_some());
        assert!(!blocking.is_blocking("declare"));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_starts_anew_with_each_block() {
        let blocking = Blocking::default();
        let given_up = blocking.blocked_for(PATIENCE);
        let broker = async {
            let blocked = block(&blocking, 1, "low on disk");
            tokio::time::sleep(PATIENCE / 2).await;
            drop(blocked);
            tokio::time::sleep(PATIENCE).await;
            let _blocked = block(&blocking, 1, "low on memory");
            std::future::pending::<()>().await;
        };
        let begun = tokio::time::Instant::now();
        let error = tokio::select! {
            error = given_up => error,
            () = broker => unreachable!("it blocks for ever"),
        };
        assert_eq!(begun.elapsed(), PATIENCE * 5 / 2);
        assert!(error.to_string().contains("low on memory"), "{error}");
    }
}
