//! File systems that may not answer at all, such as one whose server is gone.

use std::time::Duration;

/// How long somebody who waits for an answer of the router's lets it wait for a file system: well
/// below what a command waits.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Asks a file system, and waits so long for its answer. None if there is none by then: the thread
/// that asks goes on waiting, and nobody else does.
pub async fn answer_within<T: Send + 'static>(
    limit: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::time::timeout(limit, tokio::task::spawn_blocking(ask)).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_what_does_not_answer() {
        assert_eq!(answer_within(Duration::from_secs(60), || 7).await, Some(7));
        let barrier = Arc::new(Barrier::new(2));
        let hung = Arc::clone(&barrier);
        let asked = answer_within(Duration::from_millis(50), move || hung.wait().is_leader());
        assert_eq!(asked.await, None);
        barrier.wait();
    }
}
