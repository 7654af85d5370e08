//! Between lapin and the socket, so that no message that somebody publishes ends the
//! connection, or the process.
//!
//! lapin wants all names and short strings to be UTF-8, which RabbitMQ does not, and ends
//! the connection otherwise; and it reads nested tables by recursion, on a stack of 2 MiB.
//! [`inbound`] looks at the frames that bring messages, and puts what can be read in the
//! place of what cannot, with a [`stand_in`] from which the inbox has the original.
//! [`outbound`] is the way back: it sends properties that lapin cannot write. Both know
//! no sockets, and neither lets pass what would end the connection on a channel that is closed:
//! [`channels`]. [`room`] bounds what large messages take that wait in lapin. Bodies pass unseen,
//! and so does everything else that a broker sends.

mod channels;
mod fields;
mod frame;
mod inbound;
mod kit;
mod methods;
mod outbound;
pub mod properties;
pub mod room;
pub mod stand_in;
mod stream;
#[cfg(test)]
mod tests;

mod socket;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use async_rs::{Runtime, Tokio};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind};

use crate::settings::BrokerServer;
use crate::tls::Tls;
use kit::Kit;
use room::Room;
use stream::Stream;

/// How often, in seconds, each side lets the other hear something, unless the URL or the
/// broker wants it more often. A connection is lost when nothing was heard for twice as long.
const HEARTBEAT: u16 = 15;

/// How to speak TLS with the broker, if its URL says so. Reads files.
///
/// # Errors
/// The URL is none, or a file of TLS cannot be used.
pub fn tls(server: &BrokerServer) -> Result<Option<Tls>> {
    match parsed(server)?.scheme {
        AMQPScheme::AMQPS => socket::tls(server).map(Some),
        AMQPScheme::AMQP => Ok(None),
    }
}

fn parsed(server: &BrokerServer) -> Result<AMQPUri> {
    // What is wrong is not told: it may have the password.
    server.url.expose().parse().map_err(|_| anyhow!("it is not the URL of a broker"))
}

/// Connects to the broker as [`Connection::connect`] does, with [`HEARTBEAT`]; also gives what
/// there is room for on the connection.
///
/// # Errors
/// The URL is none, or the broker cannot be reached or refuses.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn connect(
    server: &BrokerServer,
    tls: Option<Tls>,
    properties: ConnectionProperties,
) -> Result<(Connection, Arc<Room>)> {
    let mut uri = parsed(server)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    // lapin takes an address of IPv6 for no host, and no host for localhost.
    uri.authority.host = server.url.host();
    let tokio = Tokio::current();
    let kit = Kit(tokio.clone());
    let socket = socket::open(&uri, server, tls.as_ref(), &Runtime::new(tokio)).await?;
    let room = Arc::<Room>::default();
    // It is asked for once: a connection that is lost is not made again by lapin.
    let socket = Mutex::new(Some(AsyncTcpStream::Plain(Stream::new(socket, Arc::clone(&room)))));
    let connect = async move |_: AMQPUri, _: Runtime<Kit>| {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        socket.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    };
    let connected = Connection::connector(uri, Runtime::new(kit), connect, properties).await;
    let connection = connected.map_err(|error| {
        let ended = !matches!(error.kind(), ErrorKind::ProtocolError(_));
        match tls {
            Some(tls) => tls.explain(error.into(), ended),
            None => error.into(),
        }
    })?;
    Ok((connection, room))
}
