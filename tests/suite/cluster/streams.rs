//! Two streams of events through the cluster: what sends them and what takes what the
//! routers make of them, each on whichever node answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use lapin::options::BasicAckOptions;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ledger::{LATER_FROM, Ledger};
use crate::support::ask_until;
use crate::support::scene::{MO, ROUTED};
use crate::support::traffic::{Client, Event, Received};

/// The plugin that forwards at once, the routing key that it gives, and the key of its events.
pub const NOW: &str = "now";
pub const NOW_KEY: &str = "employee.engagement.edit";
/// The same of the plugin that delays.
pub const LATER: &str = "later";
pub const LATER_KEY: &str = "employee.it.create";
/// By how much it delays.
pub const DELAY: Duration = Duration::from_secs(3);

/// How often events are sent.
const BEAT: Duration = Duration::from_millis(100);
/// How long a node may take to confirm events.
const CONFIRM: Duration = Duration::from_secs(5);
/// How long the consumer hears nothing before it asks another node.
const SILENCE: Duration = Duration::from_secs(3);

/// Both streams, and what became of them.
pub struct Streams {
    ledger: Arc<Mutex<Ledger>>,
    stop: CancellationToken,
    sending: Vec<JoinHandle<()>>,
    _taking: AbortOnDropHandle<()>,
}

impl Streams {
    /// Sends `rate` events a second, a sixth of them to be delayed.
    pub fn start(urls: Vec<String>, rate: u64) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let stop = CancellationToken::new();
        let later = rate / 6;
        let streams = [(NOW_KEY, 0, rate - later), (LATER_KEY, LATER_FROM, later)];
        let sending = streams.map(|(key, first, rate)| {
            let sender =
                Sender { nodes: Nodes::new(urls.clone()), ledger: Arc::clone(&ledger), key };
            tokio::spawn(sender.send(first, rate, stop.clone()))
        });
        let taking = tokio::spawn(take(Nodes::new(urls), Arc::clone(&ledger)));
        Self { ledger, stop, sending: sending.into(), _taking: AbortOnDropHandle::new(taking) }
    }

    /// What became of the events so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Waits until an event of each stream has arrived that was sent after this call.
    pub async fn flow(&self) {
        self.arrive([1, 1]).await;
    }

    /// Waits until so many events have passed that were sent after this call.
    pub async fn pass(&self, events: u64) {
        self.arrive([events * 5 / 6, events / 6]).await;
    }

    async fn arrive(&self, more: [u64; 2]) {
        let sent = self.ledger().sent();
        let wanted = [sent[0] + more[0], sent[1] + more[1]];
        ask_until("events to arrive", || async {
            let arrived = self.ledger().highest();
            (arrived[0] >= wanted[0] && arrived[1] >= wanted[1]).then_some(())
        })
        .await;
    }

    /// Stops sending, waits until all has arrived, and gives the whole account.
    pub async fn end(&mut self) -> Ledger {
        self.stop.cancel();
        for sending in self.sending.drain(..) {
            sending.await.expect("it sends to the end");
        }
        ask_until("the last events", || async { (self.ledger().lost() == [0, 0]).then_some(()) })
            .await;
        std::mem::take(&mut *self.ledger())
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody's connections, to one node after the other.
struct Nodes {
    urls: Vec<String>,
    next: usize,
}

impl Nodes {
    fn new(urls: Vec<String>) -> Self {
        Self { urls, next: 0 }
    }

    async fn connect(&mut self) -> Client {
        loop {
            let url = &self.urls[self.next % self.urls.len()];
            self.next += 1;
            if let Ok(Ok(client)) = timeout(SILENCE, Client::try_connect(url)).await {
                return client;
            }
            tokio::time::sleep(BEAT).await;
        }
    }
}

struct Sender {
    nodes: Nodes,
    ledger: Arc<Mutex<Ledger>>,
    key: &'static str,
}

impl Sender {
    /// Sends until it is stopped. What is not confirmed is sent again, by another node.
    async fn send(mut self, first: u64, per_second: u64, stop: CancellationToken) {
        let batch = (per_second * BEAT.as_millis() as u64 / 1000).max(1);
        let mut client = self.nodes.connect().await;
        let mut tick = tokio::time::interval(BEAT);
        // What an outage held up is not made up for.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = first;
        while !stop.is_cancelled() {
            tick.tick().await;
            let numbers = next..next + batch;
            next = numbers.end;
            lock(&self.ledger).note_sent(numbers.clone());
            loop {
                let events = numbers.clone().map(|number| event(self.key, number));
                if let Ok(Ok(())) = timeout(CONFIRM, client.try_publish(MO, events)).await {
                    break;
                }
                lock(&self.ledger).note_sent_again(batch);
                client = self.nodes.connect().await;
            }
        }
    }
}

fn event(key: &str, number: u64) -> Event {
    Event { key: key.to_owned(), ..Event::numbered(number, 100) }
}

/// Takes what the routers publish, and acknowledges it.
async fn take(mut nodes: Nodes, ledger: Arc<Mutex<Ledger>>) {
    loop {
        let client = nodes.connect().await;
        let Ok(Ok(mut consumer)) = timeout(SILENCE, client.consume(ROUTED)).await else {
            leave(client).await;
            continue;
        };
        while let Ok(Some(Ok(delivery))) = timeout(SILENCE, consumer.next()).await {
            if delivery.ack(BasicAckOptions::default()).await.is_err() {
                break;
            }
            let redelivered = delivery.redelivered;
            lock(&ledger).note_arrival(Received::from(delivery).number(), redelivered);
        }
        leave(client).await;
    }
}

/// Closes a connection. If a consumer was asked for there, and not waited for, lapin keeps it, and
/// takes in what no one reads.
async fn leave(client: Client) {
    let _ = timeout(SILENCE, client.close()).await;
}
