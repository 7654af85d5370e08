//! How well a folder can be seen.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch::Receiver;

/// How long a scan may take until people are told. A file system whose server is gone answers
/// nothing at all.
pub const SLOW: Duration = Duration::from_secs(10);

/// How often it is looked whether a scan takes long.
const LOOK: Duration = Duration::from_secs(2);

/// How well a folder can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Why it cannot be read; the plugins stay as they are until it can be.
    pub unreadable: Option<String>,
    /// Why its changes are not announced; it is scanned every 2 s.
    pub polling: Option<String>,
}

impl Sight {
    /// Of a folder that has not answered for [`SLOW`].
    pub fn unanswered(dir: &std::path::Path) -> Self {
        let seconds = SLOW.as_secs();
        let why = format!(
            "the plugins' folder {} has not answered for {seconds} s: look at its file system",
            dir.display()
        );
        Self { unreadable: Some(why), polling: None }
    }
}

/// Since when a file system has not answered, while a folder is scanned.
#[derive(Clone, Debug, Default)]
pub struct Scanning(Arc<Mutex<Option<Instant>>>);

impl Scanning {
    /// A scan begins, or has ended.
    pub(super) fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// A scan has begun now.
    #[expect(clippy::disallowed_methods, reason = "file systems are slow in real time")]
    pub fn begin(&self) {
        self.set(Some(Instant::now()));
    }

    /// The file system has answered, in a scan that goes on: much to read takes its time.
    #[expect(clippy::disallowed_methods, reason = "file systems are slow in real time")]
    pub(super) fn answered(&self) {
        if let Some(since) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            *since = Instant::now();
        }
    }

    /// Whether it has not answered for [`SLOW`].
    #[expect(clippy::disallowed_methods, reason = "file systems are slow in real time")]
    pub fn is_slow(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| Instant::now().saturating_duration_since(since) >= SLOW)
    }
}

/// What tells how well a folder can be seen, when that changes.
pub struct Sights {
    pub(super) dir: PathBuf,
    pub(super) told: Receiver<Sight>,
    pub(super) scanning: Scanning,
    /// Whether it was slow when it was told last.
    pub(super) was_slow: bool,
}

impl Sights {
    /// Waits until something has changed. Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Sight {
        loop {
            let told = tokio::time::timeout(LOOK, self.told.changed()).await;
            let is_slow = self.scanning.is_slow();
            if matches!(told, Ok(Ok(()))) || is_slow != self.was_slow {
                self.was_slow = is_slow;
                let sight = self.told.borrow_and_update().clone();
                return match is_slow {
                    // Whether its changes are announced, it does not say.
                    true => Sight { polling: sight.polling, ..Sight::unanswered(&self.dir) },
                    false => sight,
                };
            }
            if let Ok(Err(_)) = told {
                // The folder is not watched any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "file systems are slow in real time")]
    async fn a_folder_that_does_not_answer_is_told_until_it_does() {
        let (tell, told) = watch::channel(Sight::default());
        let scanning = Scanning::default();
        let (dir, of_thread) = ("/plugins".into(), scanning.clone());
        let mut sights = Sights { dir, told, scanning, was_slow: false };
        of_thread.set(Some(Instant::now()));
        let wait = tokio::time::timeout(Duration::from_secs(60), sights.changed());
        assert!(wait.await.is_err(), "by the real clock it has only just begun");
        of_thread.set(Instant::now().checked_sub(SLOW));
        let sight = sights.changed().await;
        let why = "the plugins' folder /plugins has not answered for 10 s: look at its file system";
        assert_eq!(sight.unreadable.as_deref(), Some(why));
        // It reads on.
        of_thread.answered();
        assert_eq!(sights.changed().await, Sight::default());
        of_thread.set(None);
        of_thread.answered();
        assert!(!of_thread.is_slow() && of_thread.0.lock().unwrap().is_none(), "it is not scanned");
        tell.send_replace(Sight { polling: Some("no inotify".into()), ..Sight::default() });
        assert!(sights.changed().await.polling.is_some());
        of_thread.set(Instant::now().checked_sub(SLOW));
        let sight = sights.changed().await;
        assert!(sight.unreadable.is_some() && sight.polling.is_some(), "{sight:?}");
    }
}
