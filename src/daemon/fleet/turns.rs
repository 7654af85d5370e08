//! Who follows which change when: those of one plugin one after the other, those of
//! different plugins side by side. The newest change of a plugin is the one that counts.

use std::collections::BTreeSet;
use std::collections::btree_map::{Entry, VacantEntry};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Fleet, Started, lock};
use crate::keep::caught;
use crate::plugins::Change;

/// A plugin for which a change is being followed, and what comes after it.
pub(super) struct Turn {
    next: Option<Task>,
    /// Its settings have changed.
    reload: bool,
    /// Cancelled when a change has come that is newer than the one that is being followed.
    newer: CancellationToken,
}

/// A change to follow.
struct Task {
    what: What,
    /// Told what came of it, unless a newer change comes first.
    tell: Option<oneshot::Sender<Option<Started>>>,
}

enum What {
    Change(Change),
    /// Take the settings of now: for the version that runs, and for a file that is refused.
    Reload,
}

impl Fleet {
    /// Follows a change in the folder, soon: a file that is being compiled for the same plugin
    /// is given up.
    pub fn follow(self: &Arc<Self>, change: Change) {
        self.hand_in(change, None);
    }

    /// The same; gives what is told when the change has been followed.
    pub(super) fn follow_first(
        self: &Arc<Self>,
        change: Change,
    ) -> oneshot::Receiver<Option<Started>> {
        let (tell, told) = oneshot::channel();
        self.hand_in(change, Some(tell));
        told
    }

    fn hand_in(self: &Arc<Self>, change: Change, tell: Option<oneshot::Sender<Option<Started>>>) {
        let name = change.name().to_owned();
        match lock(&self.turns).entry(name) {
            Entry::Occupied(mut turn) => {
                // The one before may wait for the broker, and others for the room.
                let what = What::Change(change.without_content());
                turn.get_mut().newer.cancel();
                turn.get_mut().next = Some(Task { what, tell });
            }
            Entry::Vacant(turn) => self.begin(turn, Task { what: What::Change(change), tell }),
        }
    }

    /// The plugins whose changes are being followed.
    pub(super) fn turning(&self) -> BTreeSet<String> {
        lock(&self.turns).keys().cloned().collect()
    }

    /// Reloads a plugin whose settings have changed, soon.
    pub(super) fn reload(self: &Arc<Self>, name: &str) {
        match lock(&self.turns).entry(name.to_owned()) {
            Entry::Occupied(mut turn) => turn.get_mut().reload = true,
            Entry::Vacant(turn) => self.begin(turn, Task { what: What::Reload, tell: None }),
        }
    }

    /// Follows the first change of a plugin for which none is being followed.
    fn begin(self: &Arc<Self>, turn: VacantEntry<'_, String, Turn>, task: Task) {
        let (name, newer) = (turn.key().clone(), self.stop.child_token());
        turn.insert(Turn { next: None, reload: false, newer: newer.clone() });
        tokio::spawn(Arc::clone(self).take_turns(name, task, newer));
    }

    /// Follows the changes of one plugin until there is no other.
    async fn take_turns(
        self: Arc<Self>,
        name: String,
        mut task: Task,
        mut newer: CancellationToken,
    ) {
        loop {
            let following = async {
                Ok(match task.what {
                    What::Change(change) => self.apply(change, &newer).await,
                    What::Reload => {
                        self.renew(&name).await;
                        None
                    }
                })
            };
            // A panic has been reported where it happened.
            let started = caught(following).await.unwrap_or_default();
            if let Some(tell) = task.tell {
                // Nobody may be waiting.
                let _ = tell.send(started);
            }
            let mut turns = lock(&self.turns);
            let Some(turn) = turns.get_mut(&name) else { return };
            task = match (turn.next.take(), turn.reload) {
                (Some(next), _) => next,
                (None, true) => {
                    turn.reload = false;
                    Task { what: What::Reload, tell: None }
                }
                (None, false) => {
                    turns.remove(&name);
                    return;
                }
            };
            newer = self.stop.child_token();
            turn.newer = newer.clone();
        }
    }
}
