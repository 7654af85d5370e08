//! Whether the broker takes messages, asked where nothing is published: when it is short of memory
//! or disk space, it tells that only to connections that publish.

use std::time::Duration;

use anyhow::{Context, Result};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::channel::{Channel, close_channel};
use super::pool::{Access, Pool};
use super::properties::short;

/// For how long nobody asks again when the broker refuses the question, which it writes to its log
/// each time.
const AFTER_REFUSAL: Duration = Duration::from_mins(1);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Asks by publishing a message that goes nowhere.
pub struct Probe {
    /// Of its own: once blocked, nothing on it is answered until the broker takes messages again.
    connections: Pool,
    /// When to ask again.
    not_before: Mutex<Option<Instant>>,
}

impl Probe {
    /// Does not connect yet.
    pub fn new() -> Self {
        // Whoever asks which connections are blocked is told what those would be that publish.
        let connections = Pool::new("publish", "mo-router (asking whether it may publish)");
        Self { connections, not_before: Mutex::default() }
    }

    /// Asks. If the broker blocks, it tells that to the connection, and does not answer. Where the user
    /// may not publish to the exchange, nothing is learnt.
    ///
    /// # Errors
    /// The broker is unreachable, or refuses.
    pub async fn ask(&self, access: &Access, exchange: &str) -> Result<()> {
        let mut not_before = self.not_before.lock().await;
        if not_before.is_some_and(|time| Instant::now() < time) {
            return Ok(());
        }
        let channel = self.connections.channel(access).await?;
        match timeout(ANSWER, publish_nothing(&channel, exchange)).await {
            Ok(Ok(())) => close_channel(channel).await,
            Ok(Err(error)) => {
                *not_before = Some(Instant::now() + AFTER_REFUSAL);
                return Err(error).context("asking whether the broker takes messages");
            }
            // It blocks, or is slow; what it says is reported where its connections are followed.
            Err(_) => {}
        }
        Ok(())
    }

    /// Its connection.
    pub fn pool(&self) -> &Pool {
        &self.connections
    }
}

/// Publishes a message in a transaction that is rolled back: no queue ever has it.
async fn publish_nothing(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    channel.tx_select().await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish(short(exchange), "".into(), options, b"", properties).await?;
    channel.tx_rollback().await
}
