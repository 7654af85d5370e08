//! Delayed messages while everything between the store and its backend fails at random:
//! none is lost, and a repeat has the first one's `message_id`.
//!
//! ```text
//! cargo test --release --test suite delay_faults                         # a few thousand messages
//! MESSAGES=100000 SEED=7 cargo test --release --test suite delay_faults  # more, in another way
//! ```
//!
//! With PostgreSQL a proxy cuts connections between any two messages of the protocol, delays
//! messages and cancels statements. With SQLite statements are interrupted between any two
//! of their steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::delay::{self, Filter, Store, release};
use mo_router::event::{Datetime, Delayed, Message, Outgoing, Properties};
use mo_router::health::Health;
use mo_router::settings::{ServerUrl, StoreUrl};
use mo_router::transport::{Completed, Fate, Outbox};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::Server;
use crate::support::proxy::{self, From, Proxy};
use crate::support::{ask_until, within_reason};

/// Messages of a run of the test suite.
const MESSAGES: u64 = 3000;

/// How many messages, and the seed of what happens to them.
fn plan() -> (u64, u64) {
    (variable("MESSAGES").unwrap_or(MESSAGES), variable("SEED").unwrap_or(1))
}

#[expect(clippy::disallowed_methods, reason = "what to run, not what a run does")]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[tokio::test]
async fn delay_faults_of_postgresql_lose_nothing() {
    let (messages, seed) = plan();
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let database = server.database();
    let name = database.rsplit_once('/').unwrap().1.to_owned();
    let mut rng = SmallRng::seed_from_u64(seed);
    let harm = Arc::new(AtomicU64::new(0));
    let healed = CancellationToken::new();
    let (done, over) = (Arc::clone(&harm), healed.clone());
    let judge = move |message: &proxy::Message| {
        // Most messages are rows.
        let chance = if message.kind == b'D' { 0.0005 } else { 0.02 };
        if over.is_cancelled() || !rng.random_bool(chance) {
            return proxy::Fate::Pass;
        }
        done.fetch_add(1, Relaxed);
        match rng.random_range(0..8) {
            0 => proxy::Fate::CutBefore,
            1 => proxy::Fate::CutAfter,
            2 | 3 => proxy::Fate::Delay(Duration::from_millis(rng.random_range(1..200))),
            _ if message.from == From::Router => proxy::Fate::Cancel,
            _ => proxy::Fate::Pass,
        }
    };
    let proxy = Proxy::start(server.folder(), Box::new(judge));
    let url = StoreUrl::Postgres(ServerUrl::postgres(&proxy.url(&name)).unwrap());
    let (sent, repeats) = run(&url, messages, seed, healed).await;
    println!(
        "PostgreSQL, seed {seed}: {} faults, {sent} messages, {repeats} repeats, none lost",
        harm.load(Relaxed)
    );
    assert!(harm.load(Relaxed) > 0, "nothing happened to them");
}

#[tokio::test]
async fn delay_faults_of_sqlite_lose_nothing() {
    let (messages, seed) = plan();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(interrupts::NAME);
    interrupts::begin(seed);
    let healed = CancellationToken::new();
    let ending = healed.clone();
    tokio::spawn(async move {
        ending.cancelled().await;
        interrupts::end();
    });
    let (sent, repeats) = run(&StoreUrl::Sqlite(file), messages, seed, healed).await;
    println!(
        "SQLite, seed {seed}: {} faults, {sent} messages, {repeats} repeats, none lost",
        interrupts::count()
    );
    assert!(interrupts::count() > 0, "nothing happened to them");
}

/// Hands messages in, of which some have keys, and has them released until none is left;
/// every now and then by a new session. Returns how many there were, and how many repeats.
async fn run(url: &StoreUrl, messages: u64, seed: u64, healed: CancellationToken) -> (u64, u64) {
    let health = Health::default();
    let store = within_reason("the store", Store::wait_for(url, &health)).await.unwrap();
    let (handle, committing) = delay::accepting(store.clone(), health);
    tokio::spawn(committing);
    let (tell, mut told) = channel();
    let (accept, mut accepted) = channel();
    let stop = CancellationToken::new();
    let (releasing, ended) = (store.clone(), stop.clone());
    let releasing = tokio::spawn(async move {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0xb0);
        while !ended.is_cancelled() {
            let mut broker = Broker::new(tell.clone(), rng.random_range(500..5000), rng.random());
            // Its error is the end of a session, as when the broker goes away.
            let _ = release(&releasing, &mut broker, &Clock::system(), &(), &ended).await;
        }
    });
    for number in 0..messages {
        handle.accept(number, delayed(number), &accept).await;
    }
    for _ in 0..messages {
        let answer = within_reason("a commit", accepted.recv()).await.unwrap();
        assert!(answer.refused.is_none(), "{:?}", answer.refused);
    }
    // Trouble goes on until half of them have been sent, and no fewer than that.
    let mut sent: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    while (sent.len() as u64) < messages {
        let (number, id) = within_reason("the next message", told.recv()).await.unwrap();
        let (first, times) = sent.entry(number).or_insert_with(|| (id.clone(), 0));
        assert_eq!(*first, id, "a repeat of {number} has another id");
        *times += 1;
        if sent.len() as u64 * 10 > messages * 9 {
            healed.cancel();
        }
    }
    ask_until("the store to be empty", || async {
        let census = store.count(Filter::default(), Datetime::now()).await.ok()?;
        (census.total == 0).then_some(())
    })
    .await;
    stop.cancel();
    within_reason("the scheduler to stop", releasing).await.unwrap();
    while let Ok((number, id)) = told.try_recv() {
        let (first, times) = sent.get_mut(&number).expect("all were sent before");
        assert_eq!(*first, id);
        *times += 1;
    }
    let repeats = sent.values().map(|(_, times)| times - 1).sum();
    (messages, repeats)
}

/// A message that is due soon.
fn delayed(number: u64) -> Delayed {
    let message = Message {
        exchange: "out".into(),
        routing_key: number.to_string(),
        properties: Properties {
            message_id: Some(uuid::Uuid::from_u128(u128::from(number) * 31 + 7).to_string()),
            ..Properties::default()
        }
        .into(),
        body: vec![b'x'; 200].into(),
    };
    let due = Datetime::now().saturating_add(Duration::from_millis(number % 1000));
    // Every tenth has a key of its own, which is stored in another way.
    let key = number.is_multiple_of(10).then(|| number.to_string());
    Delayed { message, due, plugin: "p".into(), version: "1".into(), key, uuid: String::new() }
}

/// A broker that confirms what it gets, rejects some of it, and goes away after a while.
struct Broker {
    tell: mpsc::UnboundedSender<(u64, String)>,
    left: u32,
    rng: SmallRng,
    waiting: Vec<(u64, Outgoing)>,
}

impl Broker {
    fn new(tell: mpsc::UnboundedSender<(u64, String)>, left: u32, seed: u64) -> Self {
        Self { tell, left, rng: SmallRng::seed_from_u64(seed), waiting: Vec::new() }
    }
}

impl Outbox for Broker {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        self.waiting.push((token, outgoing));
    }

    fn copy(&mut self, token: u64) -> Option<Outgoing> {
        let (_, outgoing) = self.waiting.iter().find(|(other, _)| *other == token)?;
        Some(outgoing.clone())
    }

    fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        let at = self.waiting.iter().position(|(other, _)| *other == token)?;
        Some(self.waiting.swap_remove(at).1)
    }

    fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        self.abandon(token)
    }

    async fn completed(&mut self) -> anyhow::Result<Completed> {
        if self.waiting.is_empty() {
            return std::future::pending().await;
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            anyhow::bail!("the broker went away");
        }
        let at = self.rng.random_range(0..self.waiting.len());
        let (token, outgoing) = self.waiting.swap_remove(at);
        let fate = match &outgoing {
            Outgoing::Message(_) if self.rng.random_bool(0.002) => Fate::Nacked("full".into()),
            Outgoing::Message(message) => {
                let number = message.routing_key.parse().unwrap();
                let _ = self.tell.send((number, message.id().to_owned()));
                Fate::Confirmed
            }
            Outgoing::Dead(letter) => panic!("{letter:?}"),
        };
        Ok(Completed { token, outgoing, fate })
    }
}

#[expect(clippy::disallowed_methods, reason = "a test sends what it sends, and ends")]
fn channel<T>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

/// Interrupts statements of SQLite's at random, on every connection to one file.
mod interrupts {
    use std::ffi::{c_char, c_int};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};
    use rusqlite::auto_extension::{init_auto_extension, register_auto_extension};
    use rusqlite::{Connection, ffi};

    /// The file's name, which no other test has.
    pub const NAME: &str = "interrupted.db";

    /// A statement is looked at each time that it has done so many steps.
    const STEPS: c_int = 20;

    static ACTIVE: AtomicBool = AtomicBool::new(false);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static RNG: Mutex<Option<SmallRng>> = Mutex::new(None);

    #[expect(unsafe_code, reason = "SQLite's own way to reach every connection of a process")]
    pub fn begin(seed: u64) {
        *RNG.lock().unwrap() = Some(SmallRng::seed_from_u64(seed));
        ACTIVE.store(true, Relaxed);
        // Safety: the extension opens and closes no database.
        unsafe { register_auto_extension(extension) }.unwrap();
    }

    pub fn end() {
        ACTIVE.store(false, Relaxed);
    }

    pub fn count() -> u64 {
        COUNT.load(Relaxed)
    }

    #[expect(unsafe_code, reason = "called by SQLite")]
    unsafe extern "C" fn extension(
        db: *mut ffi::sqlite3,
        message: *mut *mut c_char,
        _: *const ffi::sqlite3_api_routines,
    ) -> c_int {
        // Safety: SQLite hands a connection over that it has just opened.
        unsafe { init_auto_extension(db, message, watch) }
    }

    #[expect(clippy::mem_forget, reason = "the handler must outlive this view of the connection")]
    fn watch(mut connection: Connection) -> rusqlite::Result<()> {
        if connection.path().is_some_and(|path| path.ends_with(NAME)) {
            connection.progress_handler(STEPS, Some(interrupts))?;
        }
        std::mem::forget(connection);
        Ok(())
    }

    fn interrupts() -> bool {
        let mut rng = RNG.lock().unwrap();
        let harm = ACTIVE.load(Relaxed) && rng.as_mut().is_some_and(|rng| rng.random_bool(0.0001));
        COUNT.fetch_add(u64::from(harm), Relaxed);
        harm
    }
}
