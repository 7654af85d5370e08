//! File systems that may not answer at all, such as one whose server is gone.

use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

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

/// The same for those who ask one after the other: the thread that asks has the turn, and gives it back
/// with the answer. So a file system that hangs takes one thread, however often it is asked: there
/// are so many of them for all that the router asks of file systems and names.
pub async fn answer_in_turn<T: Send + 'static>(
    limit: Duration,
    turn: OwnedMutexGuard<()>,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<(T, OwnedMutexGuard<()>)> {
    answer_within(limit, move || (ask(), turn)).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Barrier;
    use std::sync::mpsc::sync_channel;

    use tokio::sync::Mutex;

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

    #[tokio::test]
    async fn what_does_not_answer_keeps_the_turn() {
        let (turns, (answers, hung)) = (Arc::new(Mutex::new(())), sync_channel::<()>(0));
        let (turn, wait) = (Arc::clone(&turns).lock_owned().await, move || hung.recv());
        assert!(answer_in_turn(Duration::from_millis(50), turn, wait).await.is_none());
        assert!(turns.try_lock().is_err(), "another one may ask");
        drop(answers);
        let turn = Arc::clone(&turns).lock_owned().await;
        let answered = answer_in_turn(Duration::from_secs(60), turn, || 7).await;
        assert!(answered.is_some_and(|(answer, _turn)| answer == 7 && turns.try_lock().is_err()));
        assert!(turns.try_lock().is_ok());
    }
}
