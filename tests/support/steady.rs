//! Events at a steady rate while a plugin is replaced again and again: when each was
//! sent, when it was routed, and by which version.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::scene::{MO, ROUTED, Scene};
use super::traffic::{Client, Event, Received, numbered};
use super::within_reason;

/// How often events are sent.
const BEAT: Duration = Duration::from_millis(10);

/// The routing key of a message that is not an event.
const LOOK: &str = "look";

/// A stream of events that continues until it is stopped.
pub struct Steady {
    progress: Arc<Progress>,
    stop: CancellationToken,
    /// How many events must be routed in total, once that is known.
    expected: Arc<OnceLock<usize>>,
    sending: JoinHandle<Vec<Moment>>,
    taking: JoinHandle<Vec<(Received, Moment)>>,
    /// How many different events have been routed.
    routed: watch::Receiver<usize>,
}

/// How far the two sides are.
#[derive(Default)]
struct Progress {
    /// How many replacements have begun.
    begun: AtomicU64,
    /// How many replacements are known to be complete.
    done: AtomicU64,
    /// How many events have a number. It is raised before they are sent.
    numbered: AtomicUsize,
}

/// A point in time, and the replacements before it.
#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    begun: u64,
    done: u64,
}

/// What became of one event.
pub struct Passage {
    /// The message it was routed as.
    pub received: Received,
    /// When that message was received.
    #[allow(dead_code, reason = "the benchmarks ask, the tests do not")]
    pub came: Instant,
    /// The time from sending the event to receiving the message.
    pub took: Duration,
    /// The first and the last version, counted from 0, that can have been current
    /// in that time.
    pub versions: (u64, u64),
}

impl Steady {
    /// Sends so many events a second, however many of them wait to be routed.
    #[allow(dead_code, reason = "the benchmarks do, the tests do not")]
    pub async fn start(scene: &Scene, per_second: u64) -> Self {
        Self::start_within(scene, per_second, usize::MAX).await
    }

    /// Sends so many events a second, but pauses while more than `most` of them wait to
    /// be routed: on a slow machine the backlog stays short.
    pub async fn start_within(scene: &Scene, per_second: u64, most: usize) -> Self {
        let progress = Arc::new(Progress::default());
        let (stop, expected) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let (tell, routed) = watch::channel(0);
        let sender = Sender {
            client: Client::connect(&scene.url).await,
            progress: Arc::clone(&progress),
            routed: routed.clone(),
            stop: stop.clone(),
        };
        let receiver = Client::connect(&scene.url).await;
        let taking = take(receiver, Arc::clone(&progress), Arc::clone(&expected), tell);
        let (sending, taking) = (tokio::spawn(sender.send(per_second, most)), tokio::spawn(taking));
        Self { progress, stop, expected, sending, taking, routed }
    }

    /// Runs `replacing`, which puts the next version in place and returns once that
    /// version is current.
    pub async fn replace(&self, replacing: impl Future<Output = ()>) {
        self.progress.begun.fetch_add(1, SeqCst);
        replacing.await;
        self.progress.done.fetch_add(1, SeqCst);
    }

    /// Waits until so many events have been routed that were sent after this call.
    pub async fn pass(&self, events: usize) {
        // Older ones may still be waiting: among so many, at least `events` are newer.
        let enough = self.progress.numbered.load(SeqCst) + events;
        let mut routed = self.routed.clone();
        within_reason("events", routed.wait_for(|routed| *routed >= enough)).await.unwrap();
    }

    /// Stops sending, and waits until every event has been routed.
    pub async fn stop(self, scene: &Scene) -> Vec<Passage> {
        self.stop.cancel();
        let sent = self.sending.await.unwrap();
        self.expected.set(sent.len()).expect("it stops once");
        // All may have been received already: this makes the other side look.
        scene.client.publish(ROUTED, [Event::new(LOOK, "")]).await;
        let routed = self.taking.await.unwrap();
        let passage = |(received, out): (Received, Moment)| {
            let sent = sent[received.number() as usize];
            Passage {
                came: out.at,
                took: out.at.saturating_duration_since(sent.at),
                versions: (sent.done, out.begun),
                received,
            }
        };
        routed.into_iter().map(passage).collect()
    }
}

impl Progress {
    fn moment(&self) -> Moment {
        Moment { at: Instant::now(), begun: self.begun.load(SeqCst), done: self.done.load(SeqCst) }
    }
}

/// The side that sends.
struct Sender {
    client: Client,
    progress: Arc<Progress>,
    routed: watch::Receiver<usize>,
    stop: CancellationToken,
}

impl Sender {
    /// Sends until it is stopped. Returns when each event was sent.
    async fn send(mut self, per_second: u64, most: usize) -> Vec<Moment> {
        let at_a_time = (per_second * BEAT.as_millis() as u64 / 1000) as usize;
        let (mut sent, mut confirms) = (Vec::new(), Vec::new());
        let mut beat = tokio::time::interval(BEAT);
        loop {
            beat.tick().await;
            let is_room = |routed: &usize| sent.len() - routed <= most;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                room = self.routed.wait_for(is_room) => drop(room.expect("the other side runs")),
            }
            self.progress.numbered.fetch_add(at_a_time, SeqCst);
            let numbers = sent.len() as u64..(sent.len() + at_a_time) as u64;
            sent.extend(numbers.clone().map(|_| self.progress.moment()));
            confirms.extend(self.client.send(MO, numbered(numbers)).await.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack(), "the broker refused an event");
        }
        sent
    }
}

/// The side that takes what was routed, until that is as much as `expected`.
async fn take(
    client: Client,
    progress: Arc<Progress>,
    expected: Arc<OnceLock<usize>>,
    tell: watch::Sender<usize>,
) -> Vec<(Received, Moment)> {
    let (mut received, mut numbers, mut looked) = (Vec::new(), HashSet::new(), false);
    let is_last = |message: Received| {
        if message.routing_key == LOOK {
            looked = true;
        } else {
            numbers.insert(message.number());
            received.push((message, progress.moment()));
            tell.send_replace(numbers.len());
        }
        looked && expected.get().is_some_and(|expected| numbers.len() >= *expected)
    };
    client.take_each(ROUTED, is_last).await;
    received
}
