//! The way to a server over TCP, which can be closed for a while, or be narrow.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// How often a second something comes over a narrow road.
const STEPS: usize = 50;

/// Forwards connections while it is open.
pub struct Road {
    url: String,
    is_open: watch::Sender<bool>,
    _accepting: AbortOnDropHandle<()>,
}

impl Road {
    /// An open one to the server of a URL.
    pub async fn to(url: &str) -> Self {
        Self::narrow(url, usize::MAX).await
    }

    /// An open one that lets so many bytes a second come from the server.
    pub async fn narrow(url: &str, pace: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_, after) = url.split_once('@').unwrap();
        let (server, _) = after.split_once('/').unwrap();
        let url = url.replace(server, &listener.local_addr().unwrap().to_string());
        let server: SocketAddr = server.parse().unwrap();
        let is_open = watch::Sender::new(true);
        let open = is_open.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, pace, open.clone()));
            }
        });
        Self { url, is_open, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// The URL of the server by this way.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends every connection, and each new one at once.
    pub fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Opens it again.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    pace: usize,
    mut open: watch::Receiver<bool>,
) {
    let closed = async {
        let _ = open.wait_for(|is_open| !is_open).await;
    };
    let carried = async {
        let mut server = TcpStream::connect(server).await?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let there = async {
            copy(&mut from_client, &mut to_server).await?;
            to_server.shutdown().await
        };
        tokio::try_join!(there, paced(&mut from_server, &mut to_client, pace))
    };
    tokio::select! {
        // A connection that ends is what this is for.
        _ = carried => {}
        () = closed => {}
    }
}

async fn paced(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    pace: usize,
) -> io::Result<()> {
    let mut step = vec![0; (pace / STEPS).clamp(1, 64 << 10)];
    loop {
        let read = from.read(&mut step).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&step[..read]).await?;
        if pace < usize::MAX {
            sleep(Duration::from_secs(1) * read as u32 / pace as u32).await;
        }
    }
}
