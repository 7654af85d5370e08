//! The way to a server over TCP, which can be closed for a while.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Forwards connections while it is open.
pub struct Road {
    url: String,
    is_open: watch::Sender<bool>,
    _accepting: AbortOnDropHandle<()>,
}

impl Road {
    /// An open one to the server of a URL.
    pub async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_, after) = url.split_once('@').unwrap();
        let (server, _) = after.split_once('/').unwrap();
        let url = url.replace(server, &listener.local_addr().unwrap().to_string());
        let server: SocketAddr = server.parse().unwrap();
        let is_open = watch::Sender::new(true);
        let open = is_open.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, open.clone()));
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

async fn carry(mut client: TcpStream, server: SocketAddr, mut open: watch::Receiver<bool>) {
    let closed = async {
        let _ = open.wait_for(|is_open| !is_open).await;
    };
    let carried = async {
        let mut server = TcpStream::connect(server).await?;
        copy_bidirectional(&mut client, &mut server).await
    };
    tokio::select! {
        // A connection that ends is what this is for.
        _ = carried => {}
        () = closed => {}
    }
}
