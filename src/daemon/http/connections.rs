//! Connections to the HTTP address: so many at a time, and each for so long.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{BoxError, Extension, Router};
use futures::StreamExt;
use futures::stream::unfold;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

/// How many there are at a time. Others wait until one of them ends.
const MOST: usize = 128;
/// How long the head of a request may take, and each part of its body.
const HEAD: Duration = Duration::from_secs(5);
/// How long all of a body may take: time for the largest plugin on a slow line.
const BODY: Duration = Duration::from_secs(60);
/// How long a connection is used. Whoever needs another one makes it.
const LIFE: Duration = Duration::from_secs(60);
/// How long the answer to a request may still take to be read then.
const LAST: Duration = Duration::from_secs(30);
/// The same of a request that is not answered yet: trying a plugin takes longest. A change that takes
/// longer is finished, but its answer is lost.
const LAST_REQUEST: Duration = Duration::from_mins(4);
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
    let doing = Doing::default();
    let router = router
        .layer(Extension(ConnectInfo(peer)))
        .layer(from_fn_with_state(doing.clone(), Doing::note));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    // How it ends is the other side's business.
    if tokio::time::timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(doing.last(), connection).await;
    }
}

/// A body that ends with an error when nothing comes of it for as long as a head may take, or all
/// of it takes too long.
fn timely(body: Body) -> Body {
    let end = Instant::now() + BODY;
    Body::from_stream(unfold(Some(body.into_data_stream()), move |parts| async move {
        let mut parts = parts?;
        match timeout_at(end.min(Instant::now() + HEAD), parts.next()).await {
            Ok(Some(part)) => Some((part.map_err(BoxError::from), Some(parts))),
            Ok(None) => None,
            Err(_) => Some((Err("the rest of the request does not come".into()), None)),
        }
    }))
}

/// What a connection is used for.
#[derive(Clone, Default)]
struct Doing(Arc<Flags>);

#[derive(Default)]
struct Flags {
    /// A request is not answered yet.
    is_asked: AtomicBool,
    /// The last answer is a stream of events.
    is_stream: AtomicBool,
}

impl Doing {
    async fn note(State(Self(flags)): State<Self>, request: Request, next: Next) -> Response {
        flags.is_asked.store(true, Ordering::Relaxed);
        let response = next.run(request.map(timely)).await;
        let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        flags.is_stream.store(kind == Some(b"text/event-stream"), Ordering::Relaxed);
        flags.is_asked.store(false, Ordering::Relaxed);
        response
    }

    /// How long it may go on when its time is over.
    fn last(&self) -> Duration {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        match (is(&self.0.is_asked), is(&self.0.is_stream)) {
            (true, _) => LAST_REQUEST,
            (false, true) => LAST_STREAM,
            (false, false) => LAST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_byte_by_byte_ends() {
        let bytes = unfold((), async |()| {
            tokio::time::sleep(HEAD / 2).await;
            Some((Ok::<_, BoxError>("x"), ()))
        });
        let begun = Instant::now();
        let read = axum::body::to_bytes(timely(Body::from_stream(bytes)), 1 << 20).await;
        assert!(read.is_err());
        assert_eq!(begun.elapsed(), BODY);
    }
}
