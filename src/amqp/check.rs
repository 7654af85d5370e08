//! Whether an exchange can be published to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;
use tracing::warn;

use super::broker::Broker;
use super::topology;
use crate::backoff::{Backoff, Policy};

/// The pauses between attempts to ask.
const ASK_AGAIN: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(10));

/// An exchange, and whether it can be used, or why it never can; or no connection is there.
pub type Checked = (String, Result<Result<(), String>>);

/// Asks until the broker says whether an exchange can be used, or why it never can. It is asked on a
/// connection of its own: that this one is lost, or slow, is no trouble of what is published to
/// other exchanges, as long as there is a connection that publishes.
///
/// # Errors
/// That connection is lost, too, as `is_connected` says.
pub async fn check(
    broker: Arc<Broker>,
    exchange: String,
    is_connected: impl Fn() -> bool,
) -> Checked {
    let mut backoff = Backoff::new(ASK_AGAIN);
    loop {
        // Dead letters need their queue as well.
        let ensured = match exchange == topology::DEAD {
            true => topology::declare_dead_letters(&broker).await,
            false => topology::ensure_exchange(&broker, &exchange).await,
        };
        match ensured {
            Ok(()) => return (exchange, Ok(Ok(()))),
            Err(error) if topology::is_permanent(&error) => {
                return (exchange, Ok(Err(format!("{error:#}"))));
            }
            Err(error) if !is_connected() => return (exchange, Err(error)),
            Err(error) => warn!(
                "it is not known whether exchange {exchange:?} can be used, and messages wait for \
                 that: {error:#}"
            ),
        }
        sleep(backoff.next_pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::settings::{Amqp, BrokerUrls};

    #[tokio::test]
    async fn a_broker_that_does_not_answer_is_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://{}", listener.local_addr().unwrap());
        let url = BrokerUrls::read(&url).unwrap();
        let broker = Arc::new(Broker::new(Amqp { url, ..Amqp::default() }));
        let asked = async {
            for _ in 0..3 {
                // It ends at once.
                drop(listener.accept().await.unwrap());
            }
        };
        tokio::select! {
            (exchange, checked) = check(broker, "x".into(), || true) => panic!("{exchange}: {checked:?}"),
            () = asked => {}
        }
    }

    #[tokio::test]
    async fn where_nothing_can_be_published_nobody_asks_for_ever() {
        // Nobody listens there.
        let url = BrokerUrls::read("amqp://127.0.0.1:1").unwrap();
        let broker = Arc::new(Broker::new(Amqp { url, ..Amqp::default() }));
        let (exchange, checked) = check(broker, "x".into(), || false).await;
        assert!(exchange == "x" && checked.is_err(), "{exchange}: {checked:?}");
    }
}
