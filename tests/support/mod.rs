//! What the tests share.

pub mod languages;
pub mod plugins;
pub mod postgres;
pub mod rabbitmq;
pub mod raw;
pub mod router;
pub mod scene;
pub mod steady;
pub mod traffic;

use std::future::Future;
use std::time::Duration;

/// How long a test waits for anything before it fails: on two busy cores, a
/// broker that has been killed can take most of a minute to come back.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for `what`.
///
/// # Panics
/// It takes longer than [`PATIENCE`].
pub async fn within_reason<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Asks until there is an answer, for what nobody tells of by itself.
pub async fn ask_until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    within_reason(what, asking).await
}
