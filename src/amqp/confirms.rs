//! Waiting for the broker's confirms of thousands of published messages.
//!
//! lapin returns two futures for a message: one for writing it to the socket, one for its
//! confirm. A task that is woken by each of them is woken twice for every message, which
//! costs more than the work it then does. Here, the task is woken by the oldest unwritten
//! message only, because later ones are written after it, and by groups of unconfirmed
//! messages, because the broker confirms many at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::FutureExt;
use futures::task::AtomicWaker;
use lapin::{Confirmation, PublisherConfirm, Result};
use tokio_util::sync::ReusableBoxFuture;

/// How many messages share a waker. When one of them is confirmed, the others are polled
/// too. Smaller groups are better when confirms come one by one, larger ones when they come
/// together.
const GROUP: usize = 32;
/// How many futures' allocations are kept for reuse. Each takes some 1.5 kB.
const SPARE: usize = 256;

/// A message that is being published. Ready when it has been written to the socket.
type Sending = ReusableBoxFuture<'static, Result<PublisherConfirm>>;

/// The messages of one channel that await their confirms, by number.
#[derive(Default)]
pub struct Confirms {
    /// Given to the channel, but not known to be written; oldest first.
    sending: VecDeque<(u64, Sending)>,
    /// Allocations to reuse: lapin's futures are too large for allocators' fast paths.
    spare: Vec<Sending>,
    /// Written, but not confirmed.
    groups: Vec<Group>,
    /// Confirmed, but not returned yet.
    confirmed: VecDeque<(u64, Result<Confirmation>)>,
    wakeup: Arc<Wakeup>,
}

struct Group {
    waiting: Vec<(u64, PublisherConfirm)>,
    wakeup: Arc<GroupWakeup>,
    waker: Waker,
}

/// Wakes the task when a message of any group is confirmed.
#[derive(Default)]
struct Wakeup {
    woken: AtomicBool,
    task: AtomicWaker,
}

/// Wakes the task when a message of one group is confirmed, and marks the group.
struct GroupWakeup {
    woken: AtomicBool,
    all: Arc<Wakeup>,
}

impl Wake for GroupWakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.all.woken.store(true, Ordering::Release);
            self.all.task.wake();
        }
    }
}

impl Confirms {
    /// Publishes a message. Its confirm is returned with `number`.
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
        // The first poll queues the message's frames. They are written soon, and the task
        // need not be woken for that yet.
        match sending.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => self.sending.push_back((number, sending)),
            Poll::Ready(sent) => self.on_sent(number, sending, sent),
        }
    }

    /// Whether there is no message that awaits its confirm, as far as [`Confirms::poll_next`] has
    /// seen.
    pub fn is_empty(&self) -> bool {
        self.sending.is_empty() && self.groups.is_empty()
    }

    /// Whether all that was sent has been written to the socket, as far as
    /// [`Confirms::poll_next`] has seen.
    pub fn all_written(&self) -> bool {
        self.sending.is_empty()
    }

    /// The next confirm. When this is pending, every confirm that came before one that was
    /// returned has been returned too.
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
            self.wakeup.task.register(context.waker());
            if self.wakeup.woken.swap(false, Ordering::AcqRel) {
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
            self.groups.push(Group::new(Arc::clone(&self.wakeup)));
        }
        let Some(group) = self.groups.last_mut() else { return };
        match confirm.poll_unpin(&mut Context::from_waker(&group.waker)) {
            Poll::Pending => group.waiting.push((number, confirm)),
            Poll::Ready(confirmation) => self.confirmed.push_back((number, confirmation)),
        }
    }

    /// Collects the confirms of the groups that were woken.
    fn collect(&mut self) {
        for group in &mut self.groups {
            if group.wakeup.woken.swap(false, Ordering::AcqRel) {
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
    fn new(all: Arc<Wakeup>) -> Self {
        let wakeup = Arc::new(GroupWakeup { woken: AtomicBool::new(false), all });
        let waker = Waker::from(Arc::clone(&wakeup));
        Self { waiting: Vec::with_capacity(GROUP), wakeup, waker }
    }
}
