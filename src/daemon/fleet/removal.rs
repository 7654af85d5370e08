//! What becomes of a plugin whose file is gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use tracing::{info, warn};

use super::life::{Life, Retirement};
use super::member::Member;
use super::{Fleet, Happened};
use crate::amqp::{Broker, topology};
use crate::backoff::{Backoff, Policy};
use crate::router::State;
use crate::unhung::{PATIENCE, answer_within};

/// The pauses before bindings that could not be undone are tried again.
const UNBIND_PAUSES: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(30));

/// The pauses before a queue that could not be deleted is tried again.
const DELETE_PAUSES: Policy = Policy::new(Duration::from_secs(1), Duration::from_mins(5));

/// How long another router may be without its consumer: its connection is lost, and it makes
/// a new one with growing pauses.
const RECONNECTION: Duration = Duration::from_secs(60);

/// How soon to look again whether a file that does not run is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the broker may take to notice that this router does not consume any more.
const LINGERING: Duration = Duration::from_secs(3);

/// What came of removing a plugin at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Done,
    /// Its file is still there.
    FileIsThere(PathBuf),
    /// There is no such plugin.
    Unknown,
}

impl Fleet {
    /// Removes a plugin whose file is gone, without keeping its bindings: from now on its queue
    /// gets no more events. Also if it still runs because the folder cannot be read.
    ///
    /// A file system that does not answer is one that cannot be read.
    pub async fn remove_at_once(self: &Arc<Self>, name: &str) -> Removal {
        let looked = self.members().get(name).map(|Member { life, .. }| {
            (life.path().map(PathBuf::from), life.removed_at().is_some())
        });
        let Some((file, was_removed)) = looked else { return Removal::Unknown };
        if let Some(file) = file {
            let of_file = file.clone();
            let is_there = answer_within(PATIENCE, move || of_file.exists()).await.unwrap_or(false);
            // The events of one that was removed need not wait for its new file.
            if is_there && !was_removed {
                return Removal::FileIsThere(file);
            }
            if !is_there {
                if let Some(forgetter) = self.forgetter.get() {
                    forgetter.forget(name);
                }
                self.remove(name);
            }
        }
        // Of a file that never was a plugin, nothing is left.
        if let Some(member) = self.members().get(name) {
            member.life.unbind_at_once();
        }
        Removal::Done
    }

    /// Stops a plugin whose file is gone. Its bindings and its queue are kept for a while.
    pub(super) fn remove(self: &Arc<Self>, name: &str) {
        let remove = |life: Life| life.remove(self.clock.now(), &self.stop);
        if let Some(Some(retirement)) = self.advance(name, remove) {
            self.note(name, Happened::Removed, None, None);
            let (fleet, name) = (Arc::clone(self), name.to_owned());
            tokio::spawn(async move { fleet.retire(&name, retirement).await });
        }
    }

    /// Cleans up at the broker after a removed plugin: undoes its bindings, and deletes its
    /// queue, when each has been kept for long enough. Ends early if a file with its name
    /// returns.
    async fn retire(&self, name: &str, retirement: Retirement) {
        retirement.sessions_ended.cancelled().await;
        // Without a broker, it leaves nothing behind.
        if let Some(broker) = self.endpoints.broker() {
            {
                // Not while it is being declared for the last time.
                let _topology = self.topology.lock().await;
                self.health.forget(&topology::queue_name(broker, name));
            }
            self.unbind_removed(broker, name, &retirement).await;
            self.delete_removed(broker, name, &retirement).await;
        }
        // Nothing changes if a file has returned.
        self.advance(name, |life| (life.forget(&retirement), ()));
    }

    /// Deletes a removed plugin's queue when it has been kept for long enough, and keeps trying. If
    /// another router consumes from it, it stays.
    async fn delete_removed(&self, broker: &Broker, name: &str, retirement: &Retirement) {
        let mut backoff = Backoff::new(DELETE_PAUSES);
        let mut pause = self.keep_queue();
        loop {
            let kept = self.kept_for(pause, broker, name, retirement);
            let deleted = match retirement.returned.run_until_cancelled(kept).await {
                None => return,
                Some(Ok(false)) => {
                    info!(plugin = name, "another router consumes from a removed plugin's queue");
                    return;
                }
                Some(Ok(true)) => topology::delete_queue(broker, name).await,
                Some(Err(error)) => Err(error),
            };
            match deleted {
                Ok(messages) => {
                    // None if a person has deleted it.
                    warn!(plugin = name, messages, "the queue of a removed plugin is deleted");
                    return;
                }
                Err(error) => {
                    pause = backoff.next_pause();
                    warn!(
                        plugin = name,
                        retry_in = ?pause,
                        "the queue of a removed plugin cannot be deleted: {error:#}"
                    );
                }
            }
        }
    }

    /// Waits for so long, and for as long as there is a file. Gives whether nobody consumes from the
    /// queue then.
    async fn kept_for(
        &self,
        time: Duration,
        broker: &Broker,
        name: &str,
        retirement: &Retirement,
    ) -> Result<bool> {
        let patience = RECONNECTION.min(self.keep_queue());
        loop {
            tokio::time::sleep(time).await;
            broker.reachable().await;
            let unused = is_unused(broker, name, patience).await;
            if retirement.at_once.is_cancelled() || !self.has_file(name) {
                return unused;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether there is a file for a removed plugin, which was refused or is being loaded: its
    /// events wait for the one that replaces it.
    fn has_file(&self, name: &str) -> bool {
        let is_refused = |member: &Member| member.life.refusal_reason().is_some();
        self.members().get(name).is_some_and(is_refused) || self.turning().contains(name)
    }

    /// Undoes a removed plugin's bindings when they have been kept for long enough since there
    /// was a file, and keeps trying: until it succeeds, the queue keeps filling. If another router
    /// consumes from the queue, the bindings stay; the last router whose file is removed undoes them.
    async fn unbind_removed(&self, broker: &Broker, name: &str, retirement: &Retirement) {
        let mut backoff = Backoff::new(UNBIND_PAUSES);
        loop {
            let asking = async {
                broker.reachable().await;
                let keep = self.settings().plugins.keep_bindings;
                tokio::select! {
                    unused = is_unused(broker, name, keep) => unused,
                    () = retirement.at_once.cancelled() => {
                        is_unused(broker, name, Duration::ZERO).await
                    }
                }
            };
            let unused = retirement.returned.run_until_cancelled(asking).await;
            let Some(unused) = unused else { return };
            let unbound = match unused {
                Ok(false) => {
                    info!(plugin = name, "plugin removed here; another router still runs it");
                    return;
                }
                Ok(true) if self.has_file(name) && !retirement.at_once.is_cancelled() => {
                    let looking = tokio::time::sleep(LOOK_AGAIN);
                    retirement.returned.run_until_cancelled(looking).await;
                    continue;
                }
                Ok(true) => {
                    let _topology = self.topology.lock().await;
                    if retirement.returned.is_cancelled() {
                        return;
                    }
                    topology::unbind(broker, name, &retirement.bound).await
                }
                Err(error) => Err(error),
            };
            let Err(error) = unbound else {
                info!(plugin = name, "plugin removed; its queue keeps its messages");
                return;
            };
            let pause = backoff.next_pause();
            warn!(
                plugin = name,
                retry_in = ?pause,
                "plugin removed, but its bindings are still there: {error:#}"
            );
            retirement.returned.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// Moves a plugin on in its life; off the list, if nothing is left of it.
    fn advance<T>(
        &self,
        name: &str,
        transition: impl FnOnce(Life) -> (Option<Life>, T),
    ) -> Option<T> {
        let mut members = self.members();
        let Member { life, stats } = members.remove(name)?;
        let (life, result) = transition(life);
        if let Some(life) = life {
            if matches!(life, Life::Refused(_)) {
                stats.set_state(State::Waiting, None);
            }
            members.insert(name.to_owned(), Member { life, stats });
        }
        Some(result)
    }
}

/// Watches a plugin's queue for `time`, and says whether nobody consumed from it: a router
/// that has lost its connection comes back. This router does not consume any more.
///
/// # Errors
/// The broker is unreachable or does not answer.
async fn is_unused(broker: &Broker, plugin: &str, time: Duration) -> Result<bool> {
    let queue = topology::queue_name(broker, plugin);
    let pause = (time / 20).clamp(Duration::from_millis(50), Duration::from_secs(5));
    let begun = Instant::now();
    let mut unused_since = None;
    loop {
        let depth = topology::depth(broker, &queue).await?;
        let now = Instant::now();
        if depth.is_some_and(|depth| depth.consumers > 0) {
            unused_since = None;
            if now - begun > LINGERING {
                return Ok(false);
            }
        } else if now - *unused_since.get_or_insert(now) >= time {
            return Ok(true);
        }
        tokio::time::sleep(pause).await;
    }
}
