//! A proxy between the router and PostgreSQL that knows where the protocol's messages begin
//! and end, so that it can do harm between any two of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Which side a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Router,
    Server,
}

/// One message: its type and what follows its length. A connection's first has no type.
#[derive(Debug)]
pub struct Message {
    pub from: From,
    pub kind: u8,
    pub body: Vec<u8>,
}

/// What is done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// The connection ends before it, or after it.
    CutBefore,
    CutAfter,
    /// It passes after a while.
    Delay(Duration),
    /// It passes, and what it started is cancelled.
    Cancel,
    /// A simple query: this one is asked in its place.
    Ask(&'static str),
}

/// Decides what is done with each message.
pub type Judge = Box<dyn FnMut(&Message) -> Fate + Send>;

/// A socket as libpq looks for one, and what is behind it.
pub struct Proxy {
    folder: TempDir,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Before the server whose socket is in this folder.
    pub fn start(server: &Path, judge: Judge) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let socket = server.join(".s.PGSQL.5432");
        let judge = Arc::new(Mutex::new(judge));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, judge) = (socket.clone(), Arc::clone(&judge));
                tokio::spawn(async move {
                    // A connection that ends is what this is for.
                    let _ = serve(client, socket, judge).await;
                });
            }
        });
        Self { folder, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// The URL of a database behind it.
    pub fn url(&self, database: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/{database}")
    }
}

async fn serve(
    client: UnixStream,
    socket: PathBuf,
    judge: Arc<Mutex<Judge>>,
) -> std::io::Result<()> {
    let server = UnixStream::connect(&socket).await?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    // The first message has no type, and is none of those that are to be harmed.
    let length = from_client.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    from_client.read_exact(&mut body).await?;
    to_server.write_u32(length).await?;
    to_server.write_all(&body).await?;

    let ended = CancellationToken::new();
    let key = Arc::new(Mutex::new(Vec::new()));
    let way = |from| Way {
        from,
        socket: socket.clone(),
        judge: Arc::clone(&judge),
        key: Arc::clone(&key),
        ended: ended.clone(),
    };
    tokio::join!(
        way(From::Router).forward(from_client, to_server),
        way(From::Server).forward(from_server, to_client)
    );
    Ok(())
}

/// One direction of one connection.
struct Way {
    from: From,
    socket: PathBuf,
    judge: Arc<Mutex<Judge>>,
    /// What the server wants to see of whoever cancels a statement.
    key: Arc<Mutex<Vec<u8>>>,
    ended: CancellationToken,
}

impl Way {
    async fn forward(self, source: OwnedReadHalf, sink: OwnedWriteHalf) {
        let ended = self.ended.clone();
        let _ = ended.run_until_cancelled(self.forward_all(source, sink)).await;
        ended.cancel();
    }

    async fn forward_all(
        self,
        mut source: OwnedReadHalf,
        mut sink: OwnedWriteHalf,
    ) -> std::io::Result<()> {
        loop {
            let kind = source.read_u8().await?;
            let length = source.read_u32().await?;
            let mut body = vec![0; length as usize - 4];
            source.read_exact(&mut body).await?;
            if self.from == From::Server && kind == b'K' {
                self.key.lock().unwrap().clone_from(&body);
            }
            let mut message = Message { from: self.from, kind, body };
            let fate = (self.judge.lock().unwrap())(&message);
            match &fate {
                Fate::CutBefore => return Ok(()),
                Fate::Delay(pause) => tokio::time::sleep(*pause).await,
                Fate::Ask(query) => message.body = [query.as_bytes(), b"\0"].concat(),
                Fate::Pass | Fate::CutAfter | Fate::Cancel => {}
            }
            sink.write_u8(message.kind).await?;
            sink.write_u32(message.body.len() as u32 + 4).await?;
            sink.write_all(&message.body).await?;
            match fate {
                Fate::CutAfter => return Ok(()),
                Fate::Cancel => self.cancel().await?,
                _ => {}
            }
        }
    }

    /// Asks the server, on another connection, to cancel what this one does.
    async fn cancel(&self) -> std::io::Result<()> {
        const CANCEL_REQUEST: u32 = 80_877_102;
        let key = self.key.lock().unwrap().clone();
        let mut server = UnixStream::connect(&self.socket).await?;
        server.write_u32(8 + key.len() as u32).await?;
        server.write_u32(CANCEL_REQUEST).await?;
        server.write_all(&key).await?;
        // The server closes it when it has passed the request on.
        server.read_u8().await.map(drop).or(Ok(()))
    }
}

impl Message {
    /// The text of a simple query.
    pub fn query(&self) -> Option<&str> {
        let is_query = self.from == From::Router && self.kind == b'Q';
        std::str::from_utf8(&self.body).ok().filter(|_| is_query)
    }
}
