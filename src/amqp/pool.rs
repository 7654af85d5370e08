//! Connections that many channels share: opened when needed, reopened when broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::join_all;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::answer::{CLOSE_TIMEOUT, answered};
use super::blocking::Blocking;
use super::wire;
use crate::settings::ServerUrl;

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What RabbitMQ allows a frame by default, in bytes.
const FRAME_MAX: u32 = 128 << 10;

/// What a pool connects with.
pub struct Access {
    /// Where the broker is.
    pub url: ServerUrl,
    /// Runs the connections, which outlive the tasks that open them.
    pub runtime: Handle,
    /// Told what the broker says to each connection.
    pub blocking: Arc<Blocking>,
}

/// One connection, and more of them where the broker allows one only a few channels.
pub struct Pool {
    name: &'static str,
    connections: Mutex<Vec<Arc<Member>>>,
    /// What was last negotiated.
    frame_max: AtomicU32,
}

struct Member {
    connection: Connection,
    /// Held for its end.
    _blocking: AbortOnDropHandle<()>,
}

impl Pool {
    /// Does not connect yet.
    pub const fn new(name: &'static str) -> Self {
        let frame_max = AtomicU32::new(FRAME_MAX);
        Self { name, connections: Mutex::const_new(Vec::new()), frame_max }
    }

    /// The most bytes of a frame.
    pub fn frame_max(&self) -> u32 {
        self.frame_max.load(Ordering::Relaxed)
    }

    /// A channel on the first connection that has room for one.
    ///
    /// # Errors
    /// The broker is unreachable, rejects a connection or a channel, or does not answer.
    pub async fn channel(&self, access: &Access) -> Result<Channel> {
        let mut full = 0;
        loop {
            let member = self.member(full, access).await?;
            let opened = answered("opening a channel", async {
                Ok(match member.connection.create_channel().await {
                    Err(error) if matches!(error.kind(), ErrorKind::ChannelsLimitReached) => None,
                    opened => Some(opened.context("opening a channel")?),
                })
            });
            match opened.await? {
                Some(channel) => return Ok(channel),
                // Each connection has room for one channel at least, so this comes to an end.
                None => full += 1,
            }
        }
    }

    /// The connection at `index`, or a new one. Others wait meanwhile, to share it.
    async fn member(&self, index: usize, access: &Access) -> Result<Arc<Member>> {
        let mut connections = self.connections.lock().await;
        connections.retain(|member| member.connection.status().connected());
        if let Some(member) = connections.get(index) {
            return Ok(Arc::clone(member));
        }
        let connect = connect(access.url.clone(), self.name, Arc::clone(&access.blocking));
        let member = Arc::new(access.runtime.spawn(connect).await??);
        let frame_max = member.connection.configuration().frame_max();
        self.frame_max.store(frame_max, Ordering::Relaxed);
        connections.push(Arc::clone(&member));
        Ok(member)
    }

    /// Closes the connections, so that the broker notices at once. Takes at most
    /// [`CLOSE_TIMEOUT`].
    pub async fn close(&self) {
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

async fn connect(url: ServerUrl, name: &'static str, blocking: Arc<Blocking>) -> Result<Member> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, wire::connect(url.expose(), properties))
        .await
        .with_context(|| format!("connecting took longer than {CONNECT_TIMEOUT:?}"))?
        .with_context(|| format!("connecting to {url}"))?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let events = connection.events_listener();
    let follow = tokio::spawn(async move { blocking.follow(events, number).await });
    Ok(Member { connection, _blocking: AbortOnDropHandle::new(follow) })
}
