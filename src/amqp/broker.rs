//! Connections to the broker: made when needed, waited for when it is away.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::wire;
use crate::backoff::{Backoff, Policy};
use crate::settings::{self, ServerUrl};

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What RabbitMQ allows a frame by default, in bytes.
const FRAME_MAX: u32 = 128 << 10;

/// The most connections that messages leave by.
const PUBLISHING: usize = 8;

/// The pauses between attempts to connect.
const RECONNECT: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(10));

/// The broker that the settings name. Shared by everything that speaks to it, on
/// whatever runtime.
pub struct Broker {
    settings: settings::Amqp,
    /// Where connections live: they outlast those who asked for them.
    runtime: Handle,
    /// What deliveries come over, apart from what is published: a broker that is
    /// short of memory stops reading from connections that publish, and
    /// acknowledgements must still reach it then.
    consuming: Link,
    /// Several, used in turns: for each frame that it sends, lapin looks at every
    /// channel of the connection, some 30 ns each.
    publishing: [Link; PUBLISHING],
    next_publishing: AtomicUsize,
    /// Held by the one that tries to reach the broker, for all who wait for it.
    reaching: Mutex<()>,
}

impl Broker {
    /// Connects to nothing yet.
    ///
    /// # Panics
    /// Outside a tokio runtime, on which its connections are to live.
    pub fn new(settings: settings::Amqp) -> Self {
        Self {
            settings,
            runtime: Handle::current(),
            consuming: Link::new("mo-router (consuming)"),
            publishing: [const { Link::new("mo-router (publishing)") }; PUBLISHING],
            next_publishing: AtomicUsize::new(0),
            reaching: Mutex::default(),
        }
    }

    /// What the settings say of it.
    pub fn settings(&self) -> &settings::Amqp {
        &self.settings
    }

    /// A channel for consuming and for declaring.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses.
    pub async fn consuming_channel(&self) -> Result<Channel> {
        self.consuming.channel(&self.settings.url, &self.runtime).await
    }

    /// A channel for publishing.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses.
    pub async fn publishing_channel(&self) -> Result<Channel> {
        let turn = self.next_publishing.fetch_add(1, Ordering::Relaxed);
        self.publishing[turn % PUBLISHING].channel(&self.settings.url, &self.runtime).await
    }

    /// The most bytes of a frame that is published. A content header takes one.
    pub fn frame_max(&self) -> usize {
        let frame_max = |link: &Link| link.frame_max.load(Ordering::Relaxed);
        self.publishing.iter().map(frame_max).min().unwrap_or(FRAME_MAX) as usize
    }

    /// Waits until the broker can be reached, with growing pauses up to ten
    /// seconds, and says so in the log.
    pub async fn reachable(&self) {
        let _reaching = self.reaching.lock().await;
        let mut backoff = Backoff::new(RECONNECT);
        let mut waited = false;
        while let Err(error) = self.consuming_channel().await {
            let pause = backoff.next_pause();
            warn!(retry_in = ?pause, "the broker cannot be reached: {error:#}");
            waited = true;
            tokio::time::sleep(pause).await;
        }
        if waited {
            info!("the broker is back");
        }
    }

    /// Closes the connections, so that the broker sees the end at once.
    pub async fn close(&self) {
        self.consuming.close().await;
        for link in &self.publishing {
            link.close().await;
        }
    }
}

/// One connection, made again when it is broken.
struct Link {
    name: &'static str,
    connection: Mutex<Option<Connection>>,
    /// What was last negotiated.
    frame_max: AtomicU32,
}

impl Link {
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
            // It may be broken already; there is nothing left to lose on it.
            let _ = connection.close(200, "mo-router stops".into()).await;
        }
    }
}

async fn connect(url: ServerUrl, name: &'static str) -> Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    tokio::time::timeout(CONNECT_TIMEOUT, wire::connect(&url, properties))
        .await
        .with_context(|| format!("connecting took longer than {CONNECT_TIMEOUT:?}"))?
        .with_context(|| format!("connecting to {}", url))
}
