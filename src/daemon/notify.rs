//! What the service manager is told: systemd's notification protocol (`sd_notify(3)`), in
//! which each message is a datagram of lines.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use tracing::{debug, warn};

use crate::settings::ServiceManager;

/// The service manager, if one has started the router and wants to know.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Tells whoever has started the router.
    pub fn to(manager: ServiceManager) -> Self {
        let Some(path) = manager.socket else { return Self::default() };
        match open(&path) {
            Ok(socket) => Self { socket: Some(socket), watchdog: manager.watchdog },
            Err(error) => {
                warn!("the service manager cannot be told anything: NOTIFY_SOCKET: {error:#}");
                Self::default()
            }
        }
    }

    /// The router has started, or has read its settings again.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The router reads its settings again.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// The router stops.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Shows that the router still runs, for ever: as often as asked for, and twice in case one
    /// comes late.
    pub async fn keep_alive(&self) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut tick = tokio::time::interval(watchdog / 2);
        loop {
            tick.tick().await;
            self.send("WATCHDOG=1");
        }
    }

    /// Waits for nobody: a manager that does not read misses it.
    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            debug!("the service manager was not told {message:?}: {error}");
        }
    }
}

fn open(path: &str) -> Result<(UnixDatagram, SocketAddr)> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    };
    let address = address.with_context(|| format!("{path:?} is not the address of a socket"))?;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
