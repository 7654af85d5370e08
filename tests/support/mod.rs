//! What the tests share.

pub mod browser;
#[allow(dead_code, reason = "the benchmarks need no TLS")]
pub mod certificates;
#[allow(dead_code, reason = "the benchmarks need no cluster")]
pub mod cluster;
#[allow(dead_code, reason = "the benchmarks need no traces")]
pub mod collector;
pub mod languages;
pub mod letters;
pub mod load;
pub mod memory;
pub mod mo;
pub mod monsters;
pub mod pgbouncer;
pub mod plugins;
pub mod ports;
pub mod postgres;
pub mod proxy;
pub mod rabbitmq;
pub mod raw;
#[allow(dead_code, reason = "most benchmarks need none")]
pub mod reminder;
#[allow(dead_code, reason = "the benchmarks lose no connections")]
pub mod road;
pub mod router;
pub mod scene;
pub mod slow;
pub mod steady;
pub mod threads;
pub mod traffic;
pub mod wasm;

use std::future::Future;
use std::time::Duration;

/// How long a test waits for anything before it fails. Not a measure of anything: on
/// two cores that are busy with other programs, a broker that was killed can take
/// minutes to come back.
pub const PATIENCE: Duration = Duration::from_secs(300);

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

/// Blocks until it is so: for servers that start, outside of a runtime.
///
/// # Panics
/// It takes longer than [`PATIENCE`].
#[expect(
    clippy::disallowed_methods,
    reason = "it starts no runtime, and nothing announces that a server is up"
)]
pub fn block_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks until there is an answer, where nothing announces it. Between two questions there is a pause,
/// however long the answers take: a question may hold up the thread that the others need.
pub async fn ask_until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within_reason(what, asking).await
}
