//! How long the broker may take to answer. One that is frozen, or behind a network that
//! drops everything, answers never.

use std::time::Duration;

use anyhow::{Result, bail};

/// How long the broker may take to answer one question. Declarations can wait behind
/// thousands of deliveries on the same connection.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long closing a channel or a connection may take where nothing depends on it.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits for the broker's answer.
///
/// # Errors
/// The answer's own, or that there is none within [`ANSWER_TIMEOUT`].
pub async fn answered<T>(what: &str, answer: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => bail!("{what}: the broker has not answered within {ANSWER_TIMEOUT:?}"),
    }
}
