//! Connections to the broker, opened when needed and reopened when broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::backlog::Backlog;
use super::blocking::Blocking;
use super::channel::{Channel, close_channel};
use super::gate::{Gate, Opening};
use super::limit::ChannelLimit;
use super::notices::Notices;
use super::outputs::Outputs;
use super::pool::{Access, ConnectionStatus, Pool};
use super::probe::Probe;
use super::renewed::Renewed;
use super::wire::room::Place;
use crate::backoff::{Backoff, Policy};
use crate::health::{Code, Health};
use crate::settings;

/// How many connections are used for publishing, at most.
const PUBLISHERS: usize = 8;

/// The pauses between attempts to connect.
const RECONNECT: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(10));

/// For how long the broker may still count a channel that it has closed: it counts asynchronously.
const COUNTED_ON: Duration = Duration::from_millis(250);

/// The broker that the settings name. Shared by everything that uses it, on any runtime.
pub struct Broker {
    settings: settings::Amqp,
    health: Health,
    access: Access,
    /// For consuming only. A broker that is short of memory stops reading from connections
    /// that publish, and acknowledgements must still reach it then.
    consuming: Pool,
    /// For reading dead letters. Large ones that wait are read slowly, and so is all else that comes
    /// on the connection.
    letters: Pool,
    /// For declaring and asking, which on a connection that consumes would wait behind
    /// thousands of deliveries. Some refusals end the connection, and with it only these.
    declaring: Pool,
    /// Several, used in turn: for each frame that it sends, lapin goes through all channels
    /// of the connection, at some 30 ns each.
    publishing: [Pool; PUBLISHERS],
    next_publishing: AtomicUsize,
    probe: Probe,
    gate: Gate,
    limit: ChannelLimit,
    /// Held by what opens a channel near the limit ([`Broker::alone`]).
    trying: Mutex<()>,
    /// Held by the task that tries to reach the broker while others wait for it.
    reconnecting: Mutex<()>,
    dead_letters: Backlog,
    notices: Notices,
    outputs: Outputs,
    renewed: Renewed,
}

impl Broker {
    /// Does not connect yet.
    ///
    /// # Panics
    /// Outside a tokio runtime, which will run the connections.
    pub fn new(settings: settings::Amqp) -> Self {
        Self::reporting(settings, Health::default())
    }

    /// As [`Broker::new`], and tells `health` what is wrong with the broker.
    ///
    /// # Panics
    /// Outside a tokio runtime, which will run the connections.
    pub fn reporting(settings: settings::Amqp, health: Health) -> Self {
        let blocking = Arc::new(Blocking::new(health.clone()));
        let access = Access::new(settings.clone(), Handle::current(), blocking);
        Self {
            settings,
            limit: ChannelLimit::new(health.clone()),
            trying: Mutex::default(),
            health,
            access,
            consuming: Pool::new("consume", "mo-router (consuming)"),
            letters: Pool::new("consume", "mo-router (reading dead letters)"),
            declaring: Pool::new("declare", "mo-router (declaring)"),
            publishing: std::array::from_fn(|_| Pool::new("publish", "mo-router (publishing)")),
            next_publishing: AtomicUsize::new(0),
            probe: Probe::new(),
            gate: Gate::default(),
            reconnecting: Mutex::default(),
            dead_letters: Backlog::default(),
            notices: Notices::default(),
            outputs: Outputs::default(),
            renewed: Renewed::default(),
        }
    }

    /// What is wrong with the broker, and with what there must be at it.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The `[amqp]` settings.
    pub fn settings(&self) -> &settings::Amqp {
        &self.settings
    }

    /// What it connects with.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Whether the broker blocks publishing: it reads nothing that is published.
    pub fn is_blocked(&self) -> bool {
        self.access.blocking.is_blocked()
    }

    /// Has the broker say whether it blocks publishing, unless it is known to: it does not say so to
    /// a router that publishes nothing. It is asked with a message to `exchange`, which goes nowhere.
    ///
    /// # Errors
    /// The broker is unreachable.
    pub async fn ask_whether_it_blocks(&self, exchange: &str) -> Result<()> {
        if self.is_blocked() {
            return Ok(());
        }
        let _alone = self.alone().await;
        self.probe.ask(&self.access, exchange).await
    }

    /// What is known of the number of dead letters.
    pub(super) fn dead_letters(&self) -> &Backlog {
        &self.dead_letters
    }

    /// What is told once.
    pub(super) fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Exchanges to publish to that cannot be used.
    pub(super) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Exchanges that were deleted and made again.
    pub(super) fn renewed(&self) -> &Renewed {
        &self.renewed
    }

    /// A session begins to open: others that open wait until it has come as far as they have.
    pub fn opening(&self) -> Opening<'_> {
        self.gate.opening()
    }

    /// A channel for consuming.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the connection.
    pub async fn consuming_channel(&self) -> Result<Channel> {
        self.lasting(&self.consuming).await
    }

    /// A channel for consuming, and what waits on it, for somebody who tells what was taken of it.
    ///
    /// # Errors
    /// As for [`Broker::consuming_channel`].
    pub(super) async fn consuming_place(&self) -> Result<(Channel, Place)> {
        let channel = self.consuming_channel().await?;
        let place = channel.place();
        Ok((channel, place))
    }

    /// The same for reading dead letters.
    ///
    /// # Errors
    /// As for [`Broker::consuming_channel`].
    pub(super) async fn letters_place(&self) -> Result<(Channel, Place)> {
        let channel = self.lasting(&self.letters).await?;
        let place = channel.place();
        Ok((channel, place))
    }

    /// A channel for declaring, and for asking what there is.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the connection.
    pub async fn declaring_channel(&self) -> Result<Channel> {
        let _alone = self.alone().await;
        self.open(&self.declaring).await
    }

    /// A channel on a connection that others depend on. Near the limit, another channel is
    /// opened before, on the connection for declaring: if the broker ends that one, only this
    /// fails.
    async fn lasting(&self, pool: &Pool) -> Result<Channel> {
        let alone = self.alone().await;
        if alone.is_some() {
            close_channel(self.open(&self.declaring).await?).await;
            sleep(COUNTED_ON).await;
        }
        self.open(pool).await
    }

    /// Near the limit, one channel is opened at a time: another one would take the place that has
    /// just been found, and the broker would end a connection that others depend on.
    async fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        if self.limit.is_near() { Some(self.trying.lock().await) } else { None }
    }

    async fn open(&self, pool: &Pool) -> Result<Channel> {
        let opened = pool.channel(&self.access).await;
        opened.inspect_err(|error| {
            self.limit.note(error);
        })
    }

    /// A channel for publishing.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the connection.
    pub async fn publishing_channel(&self) -> Result<Channel> {
        let turn = self.next_publishing.fetch_add(1, Ordering::Relaxed);
        self.lasting(&self.publishing[turn % PUBLISHERS]).await
    }

    /// Waits until the broker can be reached. Tries again after growing pauses of up to ten
    /// seconds, and reports why it cannot be reached.
    pub async fn reachable(&self) {
        let _reconnecting = self.reconnecting.lock().await;
        let mut backoff = Backoff::new(RECONNECT);
        while let Err(error) = self.declaring_channel().await
            // It is there, then.
            && !self.limit.note(&error)
        {
            let text = format!("the broker cannot be reached: {error:#}");
            self.health.report(Code::BrokerUnreachable, "broker", &text);
            sleep(backoff.next_pause()).await;
        }
        self.health.over(Code::BrokerUnreachable, "broker", "the broker is available again");
        // Reports it when the limit has not been exceeded for long enough.
        self.limit.is_near();
    }

    /// Waits until the broker has blocked publishing for so long without a break: for
    /// commands, which do not wait for ever. The error says why it does.
    pub async fn blocked_for(&self, patience: Duration) -> anyhow::Error {
        self.access.blocking.blocked_for(patience).await
    }

    /// How the connections are: for consuming, for declaring, and all for publishing together.
    pub fn connections(&self) -> Vec<ConnectionStatus> {
        let [consuming, declaring] = [&self.consuming, &self.declaring].map(Pool::status);
        let publishing = self.publishing.iter().map(Pool::status).reduce(|all, one| {
            let reconnects = all.reconnects + one.reconnects;
            ConnectionStatus { connected: all.connected || one.connected, reconnects, ..all }
        });
        let mut all: Vec<_> = [consuming, declaring].into_iter().chain(publishing).collect();
        for connection in &mut all {
            connection.blocked = self.access.blocking.is_blocking(connection.name);
        }
        all
    }

    /// Closes the connections, so that the broker notices at once. Takes at most a few
    /// seconds, whatever the broker does.
    pub async fn close(&self) {
        join_all(self.pools().map(Pool::close)).await;
    }

    /// All connections. First come those that least depends on.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        let few = [self.probe.pool(), &self.letters, &self.declaring, &self.consuming];
        few.into_iter().chain(&self.publishing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Amqp, BrokerUrls};
    use crate::unhung::tests::{Hung, error_of};

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn files_that_cannot_be_read_for_now_hold_up_nothing_else() {
        let hung = Hung::new();
        let url = BrokerUrls::read("amqps://localhost:1").unwrap();
        let password_file = Amqp { password_file: Some(hung.file()), ..Amqp::default() };
        let read = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(read.path(), "secret").unwrap();
        let password_is_there = Some(read.path().to_owned());
        let ca_file = Some(hung.file());
        let ca_file = Amqp { url, ca_file, password_file: password_is_there, ..Amqp::default() };
        let error = async |settings| {
            let broker = Arc::new(Broker::new(settings));
            let again = Arc::clone(&broker);
            let error = error_of(async move { broker.declaring_channel().await.map(drop) }).await;
            // Another attempt, while the thread of the first still waits.
            let second = error_of(async move { again.declaring_channel().await.map(drop) }).await;
            assert_eq!(second, error);
            error
        };
        let (password, ca) = tokio::join!(error(password_file), error(ca_file));
        let of = |what| format!("the file system of [amqp] {what} has not answered for 10s");
        assert!(password.contains(&of("password_file")), "{password}");
        assert!(ca.contains(&of("ca_file, cert_file or key_file")), "{ca}");
    }
}
