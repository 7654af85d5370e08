//! Cancels what nobody waits for any more.
//!
//! The server goes on with a statement whose client was dropped, and keeps its connection until
//! then. While a table is locked these would pile up until the server takes no more, and a row
//! would be stored once for each attempt.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};

use super::access::Access;
use super::connection::connector;
use super::slots::Slot;

/// How long the server may take to be told.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was asked, until it is answered.
struct Question<'a> {
    access: &'a Access,
    /// None once it is answered.
    token: Option<CancelToken>,
    /// Its connection's, which lasts until the server was told.
    slot: Option<Slot>,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let Some(token) = self.token.take() else { return };
        // Without a runtime the process ends, and its connections with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (access, slot) = (self.access.clone(), self.slot.take());
        runtime.spawn(async move {
            let _until_told = slot;
            let told = timeout(PATIENCE, cancel(&access, &token)).await;
            if let Err(error) = told.context("no answer").and_then(|told| told) {
                tracing::debug!("could not cancel a statement of the delay store: {error:#}");
            }
        });
    }
}

/// Waits for `task`, which asks the server that `token` is of. If it is dropped before it ends,
/// the server is told to cancel what it is doing. The connection must not be used again then.
pub async fn or_cancelled<T>(
    access: &Access,
    token: CancelToken,
    task: impl Future<Output = T>,
) -> T {
    or_cancelled_in(None, access, token, task).await
}

/// As [`or_cancelled`], and keeps the slot until the server has answered, or was told.
pub async fn or_cancelled_in<T>(
    slot: Option<Slot>,
    access: &Access,
    token: CancelToken,
    task: impl Future<Output = T>,
) -> T {
    let mut question = Question { access, token: Some(token), slot };
    let answer = task.await;
    question.token = None;
    answer
}

/// Waits for `task` for at most `limit`. Then the server is told to cancel it, and what it says
/// counts: what only waits for a standby to confirm is done. Gives whether it came to that.
pub async fn or_cancelled_after<T>(
    limit: Duration,
    access: &Access,
    token: CancelToken,
    task: impl Future<Output = T>,
) -> (Option<T>, bool) {
    let mut asked = pin!(or_cancelled(access, token.clone(), task));
    if let Ok(answer) = timeout(limit, &mut asked).await {
        return (Some(answer), false);
    }
    // If it cannot be told, it does not answer either.
    let _ = timeout(PATIENCE, cancel(access, &token)).await;
    (timeout(PATIENCE, asked).await.ok(), true)
}

async fn cancel(access: &Access, token: &CancelToken) -> Result<()> {
    match access.tls().await? {
        Some(tls) => token.cancel_query(connector(&tls)).await?,
        None => token.cancel_query(NoTls).await?,
    }
    Ok(())
}
