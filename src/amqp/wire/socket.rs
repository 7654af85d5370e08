//! The socket, and TLS on it if the URL says so.

use anyhow::{Context, Result};
use async_rs::{Runtime, Tokio};
use lapin::AsyncTcpStream;
use lapin::tcp::RustlsConnector;
use lapin::uri::AMQPUri;

use super::stream::Socket;
use crate::settings::BrokerServer;
use crate::tls::{Check, Tls, Words};

/// What there is to set.
const WORDS: Words = Words {
    authorities: "[amqp] ca_file",
    identity: "[amqp] cert_file and key_file",
    name: "connect to that name, or say in [amqp] server_name which one to expect",
    plain: "is it the broker's port for TLS (5671), or should the URL begin with amqp://?",
};

/// How to speak TLS with the broker.
///
/// # Errors
/// Names the file that cannot be read or used.
pub(super) fn tls(server: &BrokerServer) -> Result<Tls> {
    Tls::new(&server.tls, Check::Everything, WORDS)
}

/// Connects to the host and the port.
///
/// # Errors
/// The host is unknown or unreachable, or is not who it should be.
pub(super) async fn open(
    uri: &AMQPUri,
    server: &BrokerServer,
    tls: Option<&Tls>,
    runtime: &Runtime<Tokio>,
) -> Result<Socket> {
    let host = &uri.authority.host;
    let address = runtime.to_socket_addrs((host.clone(), uri.authority.port));
    let socket = AsyncTcpStream::connect(runtime, address).await?;
    let Some(tls) = tls else { return Ok(socket) };
    let name = server.server_name.as_ref().unwrap_or(host);
    let connector = RustlsConnector::from(tls.config.as_ref().clone());
    let secured = socket.into_rustls(&connector, name).await;
    secured.context("TLS").map_err(|error| tls.explain(error, true))
}
