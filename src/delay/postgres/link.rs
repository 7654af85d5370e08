//! One connection to the database.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::sql::{self, SILENCE, Statements};
use crate::delay::alarm::Alarm;

/// A connection. Dropped, it is closed, and what it had not committed is undone.
pub struct Link {
    pub client: Client,
    pub statements: Statements,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Reads `postgres://…`, and adds what a daemon needs.
pub fn config(url: &str) -> Result<Config> {
    let mut config: Config =
        url.parse().context("it is not postgres://user:password@host:port/database")?;
    if config.get_application_name().is_none() {
        config.application_name("mo-router");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(SILENCE);
    }
    config
        .keepalives_idle(SILENCE / 3)
        .keepalives_interval(SILENCE / 3)
        .keepalives_retries(2)
        .tcp_user_timeout(SILENCE);
    Ok(config)
}

/// Opens a connection; what it is notified of rings `alarm`.
///
/// With `sslmode=require` it is encrypted, and the server must have a certificate
/// that the system trusts; otherwise it is plain.
pub async fn connect(config: &Config, alarm: Arc<Alarm>) -> Result<Client> {
    if config.get_ssl_mode() == SslMode::Require {
        let (tls, _) = MakeRustlsConnect::with_native_certs()
            .map_err(|errors| anyhow!("the system has no certificates to trust: {errors:?}"))?;
        let (client, connection) = config.connect(tls).await?;
        tokio::spawn(drive(connection, alarm));
        Ok(client)
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(drive(connection, alarm));
        Ok(client)
    }
}

impl Link {
    pub async fn open(config: &Config, alarm: Arc<Alarm>) -> Result<Self> {
        let client = connect(config, alarm).await?;
        sql::prepare(&client).await?;
        let statements = Statements::prepare(&client).await?;
        Ok(Self { client, statements })
    }
}

/// Moves bytes until the connection ends; its client's calls then fail with the reason.
async fn drive<T: TlsStream + Unpin>(mut connection: Connection<Socket, T>, alarm: Arc<Alarm>) {
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(_)) => alarm.ring_now(),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("a connection to the delay store ended: {error}");
                return;
            }
        }
    }
}

/// Keeps a connection on which other processes' changes are heard, and rings
/// once a second besides: what a dead router held is due again, and no one says so.
pub async fn keep_listening(config: Config, alarm: Arc<Alarm>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut listener: Option<Client> = None;
    loop {
        tick.tick().await;
        if listener.as_ref().is_none_or(Client::is_closed) {
            listener = listen(&config, Arc::clone(&alarm)).await.ok();
        }
        alarm.ring_now();
    }
}

async fn listen(config: &Config, alarm: Arc<Alarm>) -> Result<Client> {
    let client = connect(config, alarm).await?;
    sql::prepare(&client).await?;
    sql::listen(&client).await?;
    Ok(client)
}
