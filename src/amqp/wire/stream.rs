//! A connection to the broker as lapin sees it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_rs::Tokio;
use async_rs::traits::Reactor;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

use super::channels::Channels;
use super::inbound::Inbound;
use super::outbound::{Outbound, Step};
use super::room::Room;
use super::stand_in::Mark;

/// Bytes that are looked at before some of them are written.
const WINDOW: usize = 256 << 10;

/// While there is no room, so many bytes are read,
const TRICKLE: usize = 64 << 10;
/// and then nothing for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection as lapin makes it, with TLS if the URL says so.
pub type Socket = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Stands between lapin and a stream, which may be encrypted.
pub struct Stream<S> {
    inner: S,
    inbound: Inbound,
    outbound: Outbound,
    channels: Channels,
    room: Arc<Room>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Lapin reads on a thread that has none.
    runtime: Handle,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// In front of a new connection.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(inner: S, room: Arc<Room>) -> Self {
        let mark = Mark::own();
        let inbound = Inbound::new(mark, Arc::clone(&room));
        Self {
            inner,
            inbound,
            outbound: Outbound::new(mark),
            channels: Channels::default(),
            room,
            pause: None,
            runtime: Handle::current(),
        }
    }

    /// Waits while there is no room, but not for long; says how much to read then.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        if !self.room.is_full() {
            self.pause = None;
            return Poll::Ready(usize::MAX);
        }
        let pause = self.pause.get_or_insert_with(|| {
            let _entered = self.runtime.enter();
            Box::pin(sleep(PAUSE))
        });
        let is_over = pause.as_mut().poll(context).is_ready();
        self.room.wake(context.waker());
        if is_over || !self.room.is_full() {
            self.pause = None;
            return Poll::Ready(TRICKLE);
        }
        Poll::Pending
    }

    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, outbound, .. } = self;
        while !outbound.pending.is_empty() {
            let written = ready!(Pin::new(&mut *inner).poll_write(context, &outbound.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            outbound.pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.poll_room(context)).min(buffer.len());
        let buffer = &mut buffer[..most];
        let Self { inner, inbound, channels, .. } = &mut *self;
        let mut inner = Pin::new(inner);
        loop {
            let ready = inbound.ready(channels)?;
            if !ready.is_empty() {
                let count = ready.len().min(buffer.len());
                buffer[..count].copy_from_slice(&ready[..count]);
                inbound.consume(count);
                return Poll::Ready(Ok(count));
            }
            let direct = inbound.direct().min(buffer.len());
            if direct > 0 {
                let count = ready!(inner.as_mut().poll_read(context, &mut buffer[..direct]))?;
                inbound.passed(count);
                return Poll::Ready(Ok(count));
            }
            match ready!(inner.as_mut().poll_read(context, inbound.room()))? {
                // The end, maybe within a frame, which lapin could do nothing with.
                0 => return Poll::Ready(Ok(0)),
                count => inbound.filled(count),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(context))?;
        let bytes = &bytes[..bytes.len().min(WINDOW)];
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Self { inner, inbound, outbound, channels, .. } = &mut *self;
        let step = outbound.step(bytes, channels);
        if let Some(frame_max) = outbound.take_frame_max() {
            inbound.set_frame_max(frame_max);
        }
        match step {
            Step::Pass(count) => {
                let written = ready!(Pin::new(inner).poll_write(context, &bytes[..count]))?;
                outbound.passed(written);
                Poll::Ready(Ok(written))
            }
            // Lapin flushes after each write.
            Step::Taken(count) => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.inner).poll_close(context)
    }
}
