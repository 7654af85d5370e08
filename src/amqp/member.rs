//! One connection of a pool, and how it is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::blocking::Blocking;
use super::lost::End;
use super::wire::{self, room::Room};
use crate::settings::{BrokerServer, ServerUrl};
use crate::tls::Tls;

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, which is closed when it is dropped: lapin would not do so if numbers of channels
/// are spent.
pub(super) struct Member {
    pub(super) connection: Arc<Connection>,
    /// What there is room for of messages that come on it.
    room: Arc<Room>,
    /// Whether numbers of channels are spent: lapin opens no channel with the number of one that
    /// the broker has closed, and says so in the words with which the broker closed that.
    pub(super) is_spent: AtomicBool,
    /// The most bytes of a frame, as agreed on when it was made.
    frame_max: usize,
    runtime: Handle,
    /// With the password that the broker was told last.
    pub(super) login: Mutex<ServerUrl>,
    pub(super) end: Arc<End>,
    /// Held for its end.
    _blocking: AbortOnDropHandle<()>,
}

impl Member {
    /// What there is room for of messages that come on it.
    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// The most bytes of a frame on it.
    pub(super) fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// Whether it is there still.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// What runs it.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// A new channel; none if there are as many as there may be.
    pub(super) async fn channel(&self) -> Result<Option<lapin::Channel>> {
        loop {
            match self.connection.create_channel().await {
                Ok(channel) => return Ok(Some(channel)),
                Err(error) if matches!(error.kind(), ErrorKind::ChannelsLimitReached) => {
                    return Ok(None);
                }
                // No broker answers so. The number counts as taken from here on, and lapin has
                // another one next.
                Err(error) if error.is_amqp_soft_error() => {
                    self.is_spent.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error).context("opening a channel"),
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.connection.status().connected() {
            let connection = Arc::clone(&self.connection);
            self.runtime.spawn(async move {
                // Nothing depends on it.
                let _ = connection.close(200, "done".into()).await;
            });
        }
    }
}

/// A connection that is there as long as this is.
struct Open(Arc<AtomicU32>);

impl Open {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One broker, and how to speak TLS with it, if that is to be spoken.
pub(super) struct Target {
    pub(super) server: BrokerServer,
    pub(super) tls: Result<Option<Tls>>,
}

/// Tries the addresses in turn, beginning with the one that was good last: one connection
/// follows the others to the same node.
pub(super) async fn connect_to_any(
    mut targets: Vec<Target>,
    turn: Arc<AtomicUsize>,
    purpose: &'static str,
    name: &'static str,
    blocking: Arc<Blocking>,
    open: Arc<AtomicU32>,
    end: Arc<End>,
) -> Result<Member> {
    let count = targets.len().max(1);
    let first = turn.load(Ordering::Relaxed) % count;
    targets.rotate_left(first);
    let mut failed: Option<anyhow::Error> = None;
    for (offset, target) in targets.into_iter().enumerate() {
        let index = (first + offset) % count;
        let (blocking, end) = (Arc::clone(&blocking), Arc::clone(&end));
        let error = match connect(target, purpose, name, blocking, &open, end).await {
            Ok(member) => {
                turn.store(index, Ordering::Relaxed);
                return Ok(member);
            }
            Err(error) => error,
        };
        failed = Some(match failed {
            None => error,
            Some(before) => error.context(format!("{before:#}; then")),
        });
    }
    Err(failed.unwrap_or_else(|| anyhow!("[amqp] url names no broker")))
}

async fn connect(
    Target { server, tls }: Target,
    purpose: &'static str,
    name: &'static str,
    blocking: Arc<Blocking>,
    open: &Arc<AtomicU32>,
    end: Arc<End>,
) -> Result<Member> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = async { wire::connect(&server, tls?, properties).await };
    let (connection, room) = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| anyhow!("connecting took longer than {CONNECT_TIMEOUT:?}"))
        .flatten()
        .with_context(|| format!("connecting to {}", server.url))?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let events = connection.events_listener();
    let open = Open::new(open);
    let ended = Arc::clone(&end);
    let follow = tokio::spawn(async move {
        blocking.follow(events, purpose, number).await;
        drop(open);
        ended.note();
    });
    Ok(Member {
        frame_max: connection.configuration().frame_max() as usize,
        connection: Arc::new(connection),
        room,
        is_spent: AtomicBool::new(false),
        runtime: Handle::current(),
        login: Mutex::new(server.url),
        end,
        _blocking: AbortOnDropHandle::new(follow),
    })
}
