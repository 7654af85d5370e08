//! A channel, which is closed when nobody has it any more.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::answer::CLOSE_TIMEOUT;
use super::member::Member;
use super::wire::room::Place;

/// A channel of a connection that others use, too. The clones are one channel.
///
/// lapin closes a channel that is dropped, and takes it for the end of the connection if the broker
/// closes it at that moment. What somebody closes may fail, so the last one closes it.
#[derive(Clone)]
pub struct Channel(Arc<Held>);

struct Held {
    channel: lapin::Channel,
    /// What it is on, which stays as long as it does.
    member: Arc<Member>,
}

impl Channel {
    /// One that has just been opened there.
    pub(super) fn new(channel: lapin::Channel, member: Arc<Member>) -> Self {
        Self(Arc::new(Held { channel, member }))
    }

    /// Whether its connection is there still, whatever became of itself.
    pub(super) fn has_connection(&self) -> bool {
        self.0.member.is_connected()
    }

    /// The most bytes of a frame on it. A content header takes one.
    pub(super) fn frame_max(&self) -> usize {
        self.0.member.frame_max()
    }

    /// What runs its connection, and outlives whoever has the channel.
    pub(super) fn runtime(&self) -> &Handle {
        self.0.member.runtime()
    }

    /// What waits on it, for somebody who tells what was taken of it.
    pub(super) fn place(&self) -> Place {
        self.0.member.room().place(self.id())
    }
}

/// Closes a channel that is no longer needed. It may have been closed already.
pub async fn close_channel(channel: Channel) {
    close_channel_within(CLOSE_TIMEOUT, channel).await;
}

/// The same where the broker's answer may take as long as `patience`.
pub async fn close_channel_within(patience: Duration, channel: Channel) {
    let _ = tokio::time::timeout(patience, channel.close(200, "done".into())).await;
}

impl Deref for Channel {
    type Target = lapin::Channel;

    fn deref(&self) -> &lapin::Channel {
        &self.0.channel
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.channel.status().connected() {
            let (channel, member) = (self.channel.clone(), Arc::clone(&self.member));
            self.member.runtime().spawn(async move {
                // Nothing depends on it.
                let _ = channel.close(200, "done".into()).await;
                drop(member);
            });
        }
    }
}
