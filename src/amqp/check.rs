//! Whether an exchange can be published to.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::broker::Broker;
use super::topology;
use crate::backoff::{Backoff, Policy};

/// The pauses between attempts to ask.
const ASK_AGAIN: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(10));

/// Asks until the broker says whether an exchange can be used, or why it never can. It is asked on a
/// connection of its own: that this one is lost, or slow, is no trouble of what is published to
/// other exchanges.
pub async fn check(broker: Arc<Broker>, exchange: String) -> (String, Result<(), String>) {
    let mut backoff = Backoff::new(ASK_AGAIN);
    loop {
        match topology::ensure_exchange(&broker, &exchange).await {
            Ok(()) => return (exchange, Ok(())),
            Err(error) if topology::is_permanent(&error) => {
                return (exchange, Err(format!("{error:#}")));
            }
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
            (exchange, checked) = check(broker, "x".into()) => panic!("{exchange}: {checked:?}"),
            () = asked => {}
        }
    }
}
