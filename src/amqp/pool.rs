//! Connections that many channels share: opened when needed, reopened when broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::future::join_all;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::answer::{CLOSE_TIMEOUT, answered};
use super::blocking::Blocking;
use super::channel::Channel;
use super::wire::{self, room::Room};
use crate::settings::{self, BrokerServer};

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What RabbitMQ allows a frame by default, in bytes.
const FRAME_MAX: u32 = 128 << 10;

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
    /// What was last negotiated.
    frame_max: AtomicU32,
}

/// How many connections were lost, each counted when it ends, and not only when it is next needed.
#[derive(Default)]
struct Lost {
    count: AtomicU64,
    /// Whether the router ends them itself.
    is_closing: AtomicBool,
}

/// The end of one connection, which is counted once.
struct End {
    lost: Arc<Lost>,
    is_noted: AtomicBool,
}

impl End {
    /// The connection has ended.
    fn note(&self) {
        let Lost { count, is_closing } = &*self.lost;
        if !is_closing.load(Ordering::Relaxed) && !self.is_noted.swap(true, Ordering::Relaxed) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A connection, which is closed when it is dropped: lapin would not do so if numbers of channels
/// are spent.
pub(super) struct Member {
    connection: Arc<Connection>,
    /// What there is room for of messages that come on it.
    room: Arc<Room>,
    /// Whether numbers of channels are spent: lapin opens no channel with the number of one that
    /// the broker has closed, and says so in the words with which the broker closed that.
    is_spent: AtomicBool,
    runtime: Handle,
    end: Arc<End>,
    /// Held for its end.
    _blocking: AbortOnDropHandle<()>,
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
            frame_max: AtomicU32::new(FRAME_MAX),
        }
    }

    /// How the connections are. Not whether the broker blocks them, which is not known here.
    pub fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            name: self.purpose,
            connected: self.open.load(Ordering::Relaxed) > 0,
            blocked: false,
            reconnects: self.lost.count.load(Ordering::Relaxed),
        }
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
            // Each new connection has room for one channel at least, so this comes to an end.
            match answered("opening a channel", member.channel()).await? {
                Some(channel) => return Ok(Channel::new(channel, member)),
                None if member.is_spent.load(Ordering::Relaxed) => self.retire(&member).await,
                None => full += 1,
            }
        }
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
        let end = Arc::new(End { lost: Arc::clone(&self.lost), is_noted: AtomicBool::new(false) });
        let (servers, blocking) = (access.settings.servers()?, Arc::clone(&access.blocking));
        let turn = Arc::clone(&access.turn);
        let connect = connect_to_any(servers, turn, self.purpose, self.name, blocking, open, end);
        let member = Arc::new(access.runtime.spawn(connect).await??);
        let frame_max = member.connection.configuration().frame_max();
        self.frame_max.store(frame_max, Ordering::Relaxed);
        connections.push(Arc::clone(&member));
        Ok(member)
    }

    /// Closes the connections, so that the broker notices at once. Takes at most
    /// [`CLOSE_TIMEOUT`].
    pub async fn close(&self) {
        self.lost.is_closing.store(true, Ordering::Relaxed);
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

impl Member {
    /// What there is room for of messages that come on it.
    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
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
    async fn channel(&self) -> Result<Option<lapin::Channel>> {
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

/// Tries the addresses in turn, beginning with the one that was good last: one connection
/// follows the others to the same node.
async fn connect_to_any(
    servers: Vec<BrokerServer>,
    turn: Arc<AtomicUsize>,
    purpose: &'static str,
    name: &'static str,
    blocking: Arc<Blocking>,
    open: Arc<AtomicU32>,
    end: Arc<End>,
) -> Result<Member> {
    let first = turn.load(Ordering::Relaxed);
    let mut failed: Option<anyhow::Error> = None;
    for index in (0..servers.len()).map(|offset| (first + offset) % servers.len()) {
        let server = &servers[index];
        let (blocking, end) = (Arc::clone(&blocking), Arc::clone(&end));
        let error = match connect(server, purpose, name, blocking, &open, end).await {
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
    server: &BrokerServer,
    purpose: &'static str,
    name: &'static str,
    blocking: Arc<Blocking>,
    open: &Arc<AtomicU32>,
    end: Arc<End>,
) -> Result<Member> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let (connection, room) =
        tokio::time::timeout(CONNECT_TIMEOUT, wire::connect(server, properties))
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
        connection: Arc::new(connection),
        room,
        is_spent: AtomicBool::new(false),
        runtime: Handle::current(),
        end,
        _blocking: AbortOnDropHandle::new(follow),
    })
}
