//! Events at a steady rate, while a plugin is replaced again and again: when each
//! was sent and came out, and by which version.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::scene::{MO, ROUTED, Scene};
use super::traffic::{Client, Event, Received, numbered};
use super::within_reason;

/// How often events are sent.
const BEAT: Duration = Duration::from_millis(10);

/// The routing key of a message that is no event.
const LOOK: &str = "look";

/// A stream of events that goes on until it is stopped.
pub struct Steady {
    replacements: Arc<Replacements>,
    stop: CancellationToken,
    /// How many events are to come out, once that is known.
    expected: Arc<OnceLock<usize>>,
    sent: JoinHandle<Vec<Moment>>,
    came: JoinHandle<Vec<(Received, Moment)>>,
    /// How many have come.
    count: watch::Receiver<usize>,
}

/// How many replacements have begun, and how many are known to be done.
#[derive(Default)]
struct Replacements {
    begun: AtomicU64,
    done: AtomicU64,
}

/// A point in time, between replacements.
#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    begun: u64,
    done: u64,
}

/// What became of one event.
pub struct Passage {
    /// What came out.
    pub received: Received,
    /// When it came out.
    #[allow(dead_code, reason = "the benchmarks ask, the tests do not")]
    pub came: Instant,
    /// How long it took from when it was to be sent.
    pub took: Duration,
    /// The first version and the last, counted from 0, that can have been current
    /// between its sending and its coming out.
    pub versions: (u64, u64),
}

impl Steady {
    /// Begins to send so many events a second, and to take out what becomes of them.
    pub async fn start(scene: &Scene, per_second: u64) -> Self {
        let replacements = Arc::new(Replacements::default());
        let (stop, expected) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let (sender, receiver) =
            (Client::connect(&scene.url).await, Client::connect(&scene.url).await);
        let sending = send(sender, per_second, Arc::clone(&replacements), stop.clone());
        let (tell, count) = watch::channel(0);
        let taking = take(receiver, Arc::clone(&replacements), Arc::clone(&expected), tell);
        let (sent, came) = (tokio::spawn(sending), tokio::spawn(taking));
        Self { replacements, stop, expected, sent, count, came }
    }

    /// Does something that puts the next version in place, and is over when that
    /// is current.
    pub async fn replace(&self, replacing: impl Future<Output = ()>) {
        self.replacements.begun.fetch_add(1, SeqCst);
        replacing.await;
        self.replacements.done.fetch_add(1, SeqCst);
    }

    /// Waits until so many more events have come.
    pub async fn pass(&self, events: usize) {
        let mut count = self.count.clone();
        let enough = *count.borrow() + events;
        within_reason("events", count.wait_for(|count| *count >= enough)).await.unwrap();
    }

    /// Stops sending, and waits until everything that was sent has come out.
    pub async fn stop(self, scene: &Scene) -> Vec<Passage> {
        self.stop.cancel();
        let sent = self.sent.await.unwrap();
        self.expected.set(sent.len()).expect("it stops once");
        // All may be there already: this makes the other side look.
        scene.client.publish(ROUTED, [Event::new(LOOK, "")]).await;
        let came = self.came.await.unwrap();
        let passage = |(received, out): (Received, Moment)| {
            let sent = sent[received.number() as usize];
            Passage {
                came: out.at,
                took: out.at.saturating_duration_since(sent.at),
                versions: (sent.done, out.begun),
                received,
            }
        };
        came.into_iter().map(passage).collect()
    }
}

impl Replacements {
    fn moment(&self) -> Moment {
        Moment { at: Instant::now(), begun: self.begun.load(SeqCst), done: self.done.load(SeqCst) }
    }
}

async fn send(
    client: Client,
    per_second: u64,
    replacements: Arc<Replacements>,
    stop: CancellationToken,
) -> Vec<Moment> {
    let at_a_time = per_second * BEAT.as_millis() as u64 / 1000;
    let (mut sent, mut confirms) = (Vec::new(), Vec::new());
    let mut beat = tokio::time::interval(BEAT);
    while !stop.is_cancelled() {
        beat.tick().await;
        let numbers = sent.len() as u64..sent.len() as u64 + at_a_time;
        sent.extend(numbers.clone().map(|_| replacements.moment()));
        confirms.extend(client.send(MO, numbered(numbers)).await.unwrap());
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack(), "the broker refused an event");
    }
    sent
}

async fn take(
    client: Client,
    replacements: Arc<Replacements>,
    expected: Arc<OnceLock<usize>>,
    count: watch::Sender<usize>,
) -> Vec<(Received, Moment)> {
    let (mut came, mut numbers, mut looked) = (Vec::new(), HashSet::new(), false);
    let is_last = |message: Received| {
        if message.routing_key == LOOK {
            looked = true;
        } else {
            numbers.insert(message.number());
            came.push((message, replacements.moment()));
            count.send_replace(came.len());
        }
        looked && expected.get().is_some_and(|expected| numbers.len() >= *expected)
    };
    client.take_each(ROUTED, is_last).await;
    came
}
