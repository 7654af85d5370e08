//! Connections to the HTTP address: so many at a time, and each for so long.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response_with_state;
use axum::response::Response;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::debug;

/// How many there are at a time. Others wait until one of them ends.
const MOST: usize = 128;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection is used. Whoever needs another one makes it.
const LIFE: Duration = Duration::from_secs(60);
/// How long the request that is being answered then may still take.
const LAST: Duration = Duration::from_secs(30);
/// The same of one that is answered bit by bit, as a page is that somebody looks at.
const LAST_STREAM: Duration = Duration::from_hours(24);
/// How long to wait when no connection can be taken: there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(MOST));
    // Dropped with the connections.
    let mut connections = JoinSet::new();
    loop {
        // It is never closed.
        let Ok(slot) = Arc::clone(&room).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, peer)) => {
                let router = router.clone();
                connections.spawn(async move {
                    converse(socket, peer, router).await;
                    drop(slot);
                });
            }
            Err(error) => {
                debug!("cannot take a connection over HTTP: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(socket: TcpStream, peer: SocketAddr, router: Router) {
    let streams = Streams::default();
    let router = router
        .layer(Extension(ConnectInfo(peer)))
        .layer(map_response_with_state(streams.clone(), Streams::note));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    // How it ends is the other side's business.
    if tokio::time::timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let last = if streams.0.load(Ordering::Relaxed) { LAST_STREAM } else { LAST };
        let _ = tokio::time::timeout(last, connection).await;
    }
}

/// Whether what a connection was answered last is a stream of events.
#[derive(Clone, Default)]
struct Streams(Arc<AtomicBool>);

impl Streams {
    fn note(State(Self(streams)): State<Self>, response: Response) -> Ready<Response> {
        let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        streams.store(kind == Some(b"text/event-stream"), Ordering::Relaxed);
        ready(response)
    }
}
