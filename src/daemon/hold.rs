//! Delayed messages that are held until a person has looked at them: after a restore, say, by
//! which some of them would be sent again.

use tokio_util::sync::CancellationToken;

use crate::health::{Code, Health};

/// Whether delayed messages are held. Clones are released together.
#[derive(Clone, Debug)]
pub struct Hold(CancellationToken);

impl Hold {
    /// Messages are sent as they fall due.
    pub fn none() -> Self {
        let hold = Self::until_released();
        hold.release();
        hold
    }

    /// None is sent until [`Hold::release`].
    pub fn until_released() -> Self {
        Self(CancellationToken::new())
    }

    /// Lets messages go. Returns whether they were held.
    pub fn release(&self) -> bool {
        let was_held = !self.0.is_cancelled();
        self.0.cancel();
        was_held
    }

    /// Waits until messages are not held; `health` says so meanwhile.
    pub async fn released(&self, health: &Health) {
        if self.0.is_cancelled() {
            return;
        }
        health.report(
            Code::DelayedHeld,
            "delayed",
            "delayed messages are held: `mo-router delayed list --overdue` shows those that would leave, \
             `mo-router delayed release` lets them go",
        );
        self.0.cancelled().await;
        health.over(Code::DelayedHeld, "delayed", "delayed messages are released");
    }
}
