//! Waiting for what the broker says of published messages, thousands at a time.
//!
//! To lapin a message is two promises: that it has been written to the socket, and
//! that the broker has confirmed it. A task that is woken for each would be woken
//! twice for every message, and that costs more than what it is woken for. Here the
//! task is woken for the oldest unwritten message, since those behind it are written
//! after it, and for groups of unconfirmed ones, since the broker confirms many at
//! once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::FutureExt;
use futures::task::AtomicWaker;
use lapin::{Confirmation, PublisherConfirm, Result};
use tokio_util::sync::ReusableBoxFuture;

/// Messages that share a waker. When one of them is confirmed the others are looked
/// at too, so few are better where confirms come one by one, and many where not.
const GROUP: usize = 32;
/// Futures whose room is kept for others, at most; each takes some 1.5 kB.
const SPARE: usize = 256;

/// A message that is being published: done when it has been written to the socket.
type Sending = ReusableBoxFuture<'static, Result<PublisherConfirm>>;

/// The messages of one channel that wait for their confirms, by number.
#[derive(Default)]
pub struct Confirms {
    /// Handed to the channel, and not known to be written; oldest first.
    sending: VecDeque<(u64, Sending)>,
    /// Room for others: lapin's futures are larger than what allocators are quick with.
    spare: Vec<Sending>,
    /// Written, and not confirmed.
    groups: Vec<Group>,
    /// Confirmed, and not given out.
    confirmed: VecDeque<(u64, Result<Confirmation>)>,
    bell: Arc<Bell>,
}

struct Group {
    waiting: Vec<(u64, PublisherConfirm)>,
    bell: Arc<GroupBell>,
    waker: Waker,
}

/// Rung when a message of any group is confirmed; wakes the task.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

/// Rung when a message of one group is confirmed.
struct GroupBell {
    rung: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for GroupBell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.rung.store(true, Ordering::Release);
            self.bell.task.wake();
        }
    }
}

impl Confirms {
    /// Hands a message to its channel, whose confirm then comes out under `number`.
    pub fn send(
        &mut self,
        number: u64,
        publish: impl Future<Output = Result<PublisherConfirm>> + Send + 'static,
    ) {
        let mut sending = match self.spare.pop() {
            Some(mut spare) => {
                spare.set(publish);
                spare
            }
            None => ReusableBoxFuture::new(publish),
        };
        // The first poll queues the message's frames. It is written soon after, which
        // nobody is woken for yet.
        match sending.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => self.sending.push_back((number, sending)),
            Poll::Ready(sent) => self.on_sent(number, sending, sent),
        }
    }

    /// The next confirm. Once this is pending, all confirms have been given out that
    /// came before any of those that were given out.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(u64, Result<Confirmation>)> {
        loop {
            if let Some(confirmed) = self.confirmed.pop_front() {
                return Poll::Ready(confirmed);
            }
            while let Some((_, sending)) = self.sending.front_mut()
                && let Poll::Ready(sent) = sending.poll(context)
                && let Some((number, sending)) = self.sending.pop_front()
            {
                self.on_sent(number, sending, sent);
            }
            self.bell.task.register(context.waker());
            if self.bell.rung.swap(false, Ordering::AcqRel) {
                self.collect();
            }
            if self.confirmed.is_empty() {
                return Poll::Pending;
            }
        }
    }

    fn on_sent(&mut self, number: u64, sending: Sending, sent: Result<PublisherConfirm>) {
        if self.spare.len() < SPARE {
            self.spare.push(sending);
        }
        match sent {
            Ok(confirm) => self.wait(number, confirm),
            Err(error) => self.confirmed.push_back((number, Err(error))),
        }
    }

    fn wait(&mut self, number: u64, mut confirm: PublisherConfirm) {
        if self.groups.last().is_none_or(|group| group.waiting.len() == GROUP) {
            self.groups.push(Group::new(Arc::clone(&self.bell)));
        }
        let Some(group) = self.groups.last_mut() else { return };
        match confirm.poll_unpin(&mut Context::from_waker(&group.waker)) {
            Poll::Pending => group.waiting.push((number, confirm)),
            Poll::Ready(confirmation) => self.confirmed.push_back((number, confirmation)),
        }
    }

    /// Takes the confirms out of the groups whose bells were rung.
    fn collect(&mut self) {
        for group in &mut self.groups {
            if group.bell.rung.swap(false, Ordering::AcqRel) {
                let context = &mut Context::from_waker(&group.waker);
                group.waiting.retain_mut(|(number, confirm)| match confirm.poll_unpin(context) {
                    Poll::Pending => true,
                    Poll::Ready(confirmation) => {
                        self.confirmed.push_back((*number, confirmation));
                        false
                    }
                });
            }
        }
        self.groups.retain(|group| !group.waiting.is_empty());
    }
}

impl Group {
    fn new(bell: Arc<Bell>) -> Self {
        let bell = Arc::new(GroupBell { rung: AtomicBool::new(false), bell });
        Self { waiting: Vec::with_capacity(GROUP), waker: Waker::from(Arc::clone(&bell)), bell }
    }
}
