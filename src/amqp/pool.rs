//! Connections that many channels share: opened when needed, reopened when broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::answer::{CLOSE_TIMEOUT, answered};
use super::blocking::Blocking;
use super::channel::Channel;
use super::lost::{End, Lost};
use super::member::{Member, Target, connect_to_any};
use super::wire;
use crate::settings::{self, BrokerServer};
use crate::unhung::Files;

/// What a pool connects with.
pub struct Access {
    /// Where the broker is.
    pub settings: settings::Amqp,
    /// Runs the connections, which outlive the tasks that open them.
    pub runtime: Handle,
    /// Told what the broker says to each connection.
    pub blocking: Arc<Blocking>,
    /// Which of several addresses was the last that a connection was made to.
    pub turn: Arc<AtomicUsize>,
    /// Those with the URL and the password; none if the settings hold both.
    addresses: Option<Files>,
    certificates: Files,
}

impl Access {
    /// To the broker of these settings. `runtime` runs the connections; `blocking` is told what the
    /// broker says.
    pub fn new(settings: settings::Amqp, runtime: Handle, blocking: Arc<Blocking>) -> Self {
        let addresses = match (&settings.password_file, &settings.url_file) {
            (None, None) => None,
            (Some(_), None) => Some("[amqp] password_file"),
            (None, Some(_)) => Some("[amqp] url_file"),
            (Some(_), Some(_)) => Some("[amqp] password_file or url_file"),
        };
        Self {
            settings,
            runtime,
            blocking,
            turn: Arc::default(),
            addresses: addresses.map(Files::of),
            certificates: Files::of("[amqp] ca_file, cert_file or key_file"),
        }
    }

    /// The brokers' addresses, with what the files have now.
    ///
    /// # Errors
    /// A file cannot be read, or holds no URL of a broker; or its file system does not answer.
    pub async fn servers(&self) -> Result<Vec<BrokerServer>> {
        let Some(files) = &self.addresses else { return self.settings.servers() };
        let settings = self.settings.clone();
        self.read(files, move || settings.servers()).await
    }

    /// The same, and how to speak TLS with them.
    async fn targets(&self) -> Result<Vec<Target>> {
        let servers = self.servers().await?;
        let with_tls = |server| Target { tls: wire::tls(&server), server };
        self.read(&self.certificates, move || Ok(servers.into_iter().map(with_tls).collect())).await
    }

    /// Reads files where it holds up neither the connections nor whoever asks for one.
    async fn read<T: Send + 'static>(
        &self,
        files: &Files,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let files = files.clone();
        let reading = self.runtime.spawn(async move { files.read(read).await });
        reading.await.context("reading files has stopped")?
    }
}

/// One connection, and more of them where the broker allows one only a few channels.
pub struct Pool {
    /// What it is for, in a word.
    purpose: &'static str,
    name: &'static str,
    /// Connections that are there.
    open: Arc<AtomicU32>,
    lost: Arc<Lost>,
    connections: Mutex<Vec<Arc<Member>>>,
}

/// How the connections of one purpose are.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// What they are for: `consume`, `declare` or `publish`.
    pub name: &'static str,
    /// Whether there is one.
    pub connected: bool,
    /// Whether the broker blocks it.
    pub blocked: bool,
    /// How many were lost.
    pub reconnects: u64,
}

impl Pool {
    /// Does not connect yet.
    pub fn new(purpose: &'static str, name: &'static str) -> Self {
        Self {
            purpose,
            name,
            open: Arc::default(),
            lost: Arc::default(),
            connections: Mutex::default(),
        }
    }

    /// How the connections are. Not whether the broker blocks them, which is not known here.
    pub fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            name: self.purpose,
            connected: self.open.load(Ordering::Relaxed) > 0,
            blocked: false,
            reconnects: self.lost.count(),
        }
    }

    /// A channel on the first connection that has room for one.
    ///
    /// # Errors
    /// The broker is unreachable, rejects a connection or a channel, or does not answer.
    pub async fn channel(&self, access: &Access) -> Result<Channel> {
        let mut full = 0;
        loop {
            let member = self.member(full, access).await?;
            // Each new connection has room for one channel at least, so this comes to an end.
            match answered("opening a channel", member.channel()).await? {
                Some(channel) => return Ok(Channel::new(channel, member)),
                None if member.is_spent.load(Ordering::Relaxed) => self.retire(&member).await,
                None => full += 1,
            }
        }
    }

    /// The connections that there are.
    pub(super) async fn members(&self) -> Vec<Arc<Member>> {
        self.connections.lock().await.clone()
    }

    /// Opens no more channels on a connection, which ends with those that it has.
    async fn retire(&self, member: &Arc<Member>) {
        self.connections.lock().await.retain(|other| !Arc::ptr_eq(other, member));
    }

    /// The connection at `index`, or a new one. Others wait meanwhile, to share it.
    async fn member(&self, index: usize, access: &Access) -> Result<Arc<Member>> {
        let mut connections = self.connections.lock().await;
        // Whoever follows them may not have come to their end.
        connections.iter().filter(|member| !member.is_connected()).for_each(|member| {
            member.end.note();
        });
        connections.retain(|member| member.is_connected());
        if let Some(member) = connections.get(index) {
            return Ok(Arc::clone(member));
        }
        let open = Arc::clone(&self.open);
        let end = End::new(&self.lost);
        let (targets, blocking) = (access.targets().await?, Arc::clone(&access.blocking));
        let turn = Arc::clone(&access.turn);
        let connect = connect_to_any(targets, turn, self.purpose, self.name, blocking, open, end);
        let member = Arc::new(access.runtime.spawn(connect).await??);
        connections.push(Arc::clone(&member));
        Ok(member)
    }

    /// Closes the connections, so that the broker notices at once. Takes at most
    /// [`CLOSE_TIMEOUT`].
    pub async fn close(&self) {
        self.lost.on_closing();
        let closing = async {
            let connections = std::mem::take(&mut *self.connections.lock().await);
            // Nothing can be written to a blocked connection. It ends with the process.
            let writable =
                connections.iter().filter(|member| !member.connection.status().blocked());
            join_all(writable.map(|member| {
                // It may be broken already; nothing depends on it any more.
                member.connection.close(200, "mo-router stops".into())
            }))
            .await;
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}
