//! Changing messages that may be on their way.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::record::Changed;

/// How long to wait for messages that are being sent, and how often to look.
const IN_FLIGHT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Changes messages. Those in flight are tried again for a while: the broker may not take
/// them, and then they can be changed.
///
/// # Errors
/// Those of `change`. The error says how many were changed until then.
pub async fn settled<F: Future<Output = Result<Changed>>>(
    ids: &[i64],
    change: impl Fn(Vec<i64>) -> F,
) -> Result<Changed> {
    let given_up = Instant::now() + IN_FLIGHT;
    let mut all = change(ids.to_vec()).await?;
    while !all.in_flight.is_empty() && Instant::now() < given_up {
        tokio::time::sleep(PAUSE).await;
        let more = change(std::mem::take(&mut all.in_flight)).await;
        let more = more.with_context(|| format!("after {} were changed", all.done.len()))?;
        all.done.extend(more.done);
        all.in_flight = more.in_flight;
    }
    Ok(all)
}
