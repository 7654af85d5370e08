//! MO's GraphQL events as a server in this process: what the router talks to in tests, and what
//! `cargo run --example mo-endpoint` serves.
//!
//! It does what MO 66 does, and `tests/suite/mo_endpoint.rs` plays recorded requests against it to
//! show that. Beside that it can be told to misbehave ([`Faults`]), and its clock can be moved.

#![allow(
    dead_code,
    missing_docs,
    unused_imports,
    unreachable_pub,
    reason = "the tests use one part of it and the example another"
)]

mod fields;
mod graphql;
mod server;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

pub use world::{MO, PRIORITY, Row, World};

/// Who MO takes a client for that has no identity of its own.
pub const NOBODY: Uuid = Uuid::from_u128(1);

/// A client that may log in.
#[derive(Clone, Debug)]
pub struct Account {
    pub client_id: String,
    pub secret: String,
    /// The claim `uuid` of its tokens.
    pub identity: Option<Uuid>,
    /// None: every role.
    pub roles: Option<Vec<String>>,
}

/// How it misbehaves. Of each, the request with that number does, and every multiple; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Answers 503 and does nothing.
    pub refuse_every: u64,
    /// Closes the connection and does nothing.
    pub cut_before_every: u64,
    /// Does what was asked, and closes the connection in the middle of the answer.
    pub cut_after_every: u64,
    /// Answers with an error that says nothing, and does nothing.
    pub error_every: u64,
    /// Finds every listener locked by another transaction.
    pub lock_every: u64,
    /// How long each request takes at least.
    pub delay: Duration,
    /// With a refusal: how many seconds not to ask.
    pub retry_after: Option<u64>,
}

/// What is shared with the server.
struct Shared {
    world: Mutex<World>,
    accounts: Mutex<Vec<Account>>,
    faults: Mutex<Faults>,
    started: Instant,
    /// How far the clock was moved.
    moved: Mutex<Duration>,
    /// How long tokens live.
    token_life: Mutex<Duration>,
    /// Whose token it is, and when it expires.
    tokens: Mutex<BTreeMap<String, (String, Duration)>>,
    /// Requests to GraphQL so far, and those for tokens.
    requests: Mutex<(u64, u64)>,
}

/// A running endpoint. It ends with this value.
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

impl Endpoint {
    /// Serves on a free port of this machine. Whoever asks may do everything.
    pub async fn start() -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port")
    }

    /// Serves on an address.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn on(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new()),
            accounts: Mutex::default(),
            faults: Mutex::default(),
            started: Instant::now(),
            moved: Mutex::default(),
            token_life: Mutex::new(Duration::from_secs(300)),
            tokens: Mutex::default(),
            requests: Mutex::default(),
        });
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _server: AbortOnDropHandle::new(server) })
    }

    /// What goes into `[mo] url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What goes into `[mo] auth_server`.
    pub fn auth_server(&self) -> String {
        format!("{}/auth", self.url())
    }

    /// Only those who log in may ask, from now on.
    pub fn add_account(&self, account: Account) {
        lock(&self.shared.accounts).push(account);
    }

    /// Nobody may log in as one of those that could so far.
    pub fn clear_accounts(&self) {
        lock(&self.shared.accounts).clear();
    }

    /// No token is known any more.
    pub fn forget_tokens(&self) {
        lock(&self.shared.tokens).clear();
    }

    /// Tokens live so long.
    pub fn set_token_life(&self, life: Duration) {
        *lock(&self.shared.token_life) = life;
    }

    /// It misbehaves like this from now on.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// The clock goes forward.
    pub fn advance(&self, by: Duration) {
        *lock(&self.shared.moved) += by;
    }

    /// MO sends an event.
    pub fn emit(&self, routing_key: &str, subject: &str) {
        self.world().emit(MO, routing_key, subject, PRIORITY);
    }

    /// What MO keeps, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// The listener of a key in MO's namespace.
    pub fn listener(&self, routing_key: &str) -> Option<Uuid> {
        let world = self.world();
        let mut listeners = world.listeners.iter();
        let found = listeners.find(|(_, l)| l.namespace == MO && l.routing_key == routing_key);
        found.map(|(uuid, _)| *uuid)
    }

    /// How many requests there were: to GraphQL, and for tokens.
    pub fn requests(&self) -> (u64, u64) {
        *lock(&self.shared.requests)
    }
}

impl Shared {
    fn now(&self) -> Duration {
        // After 1970 at once: what was never tried was tried then.
        self.started.elapsed() + *lock(&self.moved)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
