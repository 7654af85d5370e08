//! Between lapin and the socket, so that no message that somebody publishes ends the
//! connection, or the process.
//!
//! lapin wants all names and short strings to be UTF-8, which RabbitMQ does not, and ends
//! the connection otherwise; and it reads nested tables by recursion, on a stack of 2 MiB.
//! [`inbound`] looks at the frames that bring messages, and puts what can be read in the
//! place of what cannot, with a [`stand_in`] from which the inbox has the original.
//! [`outbound`] is the way back: it sends properties that lapin cannot write. Both know
//! no sockets. Bodies pass unseen, and so does everything else that a broker sends.

mod fields;
mod frame;
mod inbound;
mod kit;
mod methods;
mod outbound;
pub mod properties;
pub mod stand_in;
mod stream;
#[cfg(test)]
mod tests;

use std::io;

use async_rs::{Runtime, Tokio};
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, Result};

use kit::Kit;
use stream::Stream;

/// How often, in seconds, each side lets the other hear something, unless the URL or the
/// broker wants it more often. A connection is lost when nothing was heard for twice as long.
const HEARTBEAT: u16 = 15;

/// Connects to the broker as [`Connection::connect`] does, with [`HEARTBEAT`].
///
/// # Errors
/// The URL is none, or the broker cannot be reached or refuses.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn connect(url: &str, properties: ConnectionProperties) -> Result<Connection> {
    let mut uri: AMQPUri = url.parse().map_err(io::Error::other)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    let tokio = Tokio::current();
    let kit = Kit(tokio.clone());
    let runtime = Runtime::new(tokio);
    let connect = async move |uri: AMQPUri, _: Runtime<Kit>| {
        let tls = OwnedTLSConfig::default();
        let socket = uri.connect_with_config_async(tls.as_ref(), &runtime).await?;
        Ok(AsyncTcpStream::Plain(Stream::new(socket)))
    };
    Connection::connector(uri, Runtime::new(kit), connect, properties).await
}
