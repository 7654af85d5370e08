//! Connections to the broker, opened when needed and reopened when broken.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::backlog::Backlog;
use super::wire;
use crate::backoff::{Backoff, Policy};
use crate::settings::{self, ServerUrl};

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What RabbitMQ allows a frame by default, in bytes.
const FRAME_MAX: u32 = 128 << 10;

/// How many connections are used for publishing, at most.
const PUBLISHERS: usize = 8;

/// The pauses between attempts to connect.
const RECONNECT: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(10));

/// The broker that the settings name. Shared by everything that uses it, on any runtime.
pub struct Broker {
    settings: settings::Amqp,
    /// Runs the connections, which outlive the tasks that open them.
    runtime: Handle,
    /// For consuming only. A broker that is short of memory stops reading from connections
    /// that publish, and acknowledgements must still reach it then.
    consuming: SharedConnection,
    /// Several, used in turn: for each frame that it sends, lapin goes through all channels
    /// of the connection, at some 30 ns each.
    publishing: [SharedConnection; PUBLISHERS],
    next_publishing: AtomicUsize,
    /// Held by the task that tries to reach the broker while others wait for it.
    reconnecting: Mutex<()>,
    dead_letters: Backlog,
}

impl Broker {
    /// Does not connect yet.
    ///
    /// # Panics
    /// Outside a tokio runtime, which will run the connections.
    pub fn new(settings: settings::Amqp) -> Self {
        Self {
            settings,
            runtime: Handle::current(),
            consuming: SharedConnection::new("mo-router (consuming)"),
            publishing: [const { SharedConnection::new("mo-router (publishing)") }; PUBLISHERS],
            next_publishing: AtomicUsize::new(0),
            reconnecting: Mutex::default(),
            dead_letters: Backlog::default(),
        }
    }

    /// The `[amqp]` settings.
    pub fn settings(&self) -> &settings::Amqp {
        &self.settings
    }

    /// What is known of the number of dead letters.
    pub(super) fn dead_letters(&self) -> &Backlog {
        &self.dead_letters
    }

    /// A channel for consuming and for declaring.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the connection.
    pub async fn consuming_channel(&self) -> Result<Channel> {
        self.consuming.channel(&self.settings.url, &self.runtime).await
    }

    /// A channel for publishing.
    ///
    /// # Errors
    /// The broker is unreachable, or rejects the connection.
    pub async fn publishing_channel(&self) -> Result<Channel> {
        let turn = self.next_publishing.fetch_add(1, Ordering::Relaxed);
        self.publishing[turn % PUBLISHERS].channel(&self.settings.url, &self.runtime).await
    }

    /// The most bytes of a frame that is published. A content header takes one.
    pub fn frame_max(&self) -> usize {
        let frame_max =
            |connection: &SharedConnection| connection.frame_max.load(Ordering::Relaxed);
        self.publishing.iter().map(frame_max).min().unwrap_or(FRAME_MAX) as usize
    }

    /// Waits until the broker can be reached. Tries again after growing pauses of up to ten
    /// seconds, and logs each failure.
    pub async fn reachable(&self) {
        let _reconnecting = self.reconnecting.lock().await;
        let mut backoff = Backoff::new(RECONNECT);
        let mut waited = false;
        while let Err(error) = self.consuming_channel().await {
            let pause = backoff.next_pause();
            warn!(retry_in = ?pause, "the broker cannot be reached: {error:#}");
            waited = true;
            tokio::time::sleep(pause).await;
        }
        if waited {
            info!("the broker is available again");
        }
    }

    /// Closes the connections, so that the broker notices at once.
    pub async fn close(&self) {
        self.consuming.close().await;
        for connection in &self.publishing {
            connection.close().await;
        }
    }
}

/// One connection, shared by many channels and reopened when it is broken.
struct SharedConnection {
    name: &'static str,
    connection: Mutex<Option<Connection>>,
    /// What was last negotiated.
    frame_max: AtomicU32,
}

impl SharedConnection {
    const fn new(name: &'static str) -> Self {
        let frame_max = AtomicU32::new(FRAME_MAX);
        Self { name, connection: Mutex::const_new(None), frame_max }
    }

    async fn channel(&self, url: &ServerUrl, runtime: &Handle) -> Result<Channel> {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_none_or(|connection| !connection.status().connected()) {
            let connected = runtime.spawn(connect(url.clone(), self.name)).await??;
            self.frame_max.store(connected.configuration().frame_max(), Ordering::Relaxed);
            *connection = Some(connected);
        }
        let connection = connection.as_ref().context("just connected")?;
        connection.create_channel().await.context("opening a channel")
    }

    async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // It may be broken already; nothing depends on it any more.
            let _ = connection.close(200, "mo-router stops".into()).await;
        }
    }
}

async fn connect(url: ServerUrl, name: &'static str) -> Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    tokio::time::timeout(CONNECT_TIMEOUT, wire::connect(url.expose(), properties))
        .await
        .with_context(|| format!("connecting took longer than {CONNECT_TIMEOUT:?}"))?
        .with_context(|| format!("connecting to {}", url))
}

/// Closes a channel that is no longer needed. It may have been closed already.
pub async fn close_channel(channel: Channel) {
    let _ = channel.close(200, "done".into()).await;
}
