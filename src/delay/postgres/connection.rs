//! Connections to the database.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::access::Access;
use super::doubt::Doubt;
use super::hosts::Place;
use super::in_time;
use crate::delay::alarm::Alarm;
use crate::tls::Tls;

/// The channel on which changes that people make are announced.
const CHANNEL: &str = "mo_router_delayed";

/// How long a connection may be silent before either end considers it broken.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a server may take to let the router in, unless the URL says otherwise
/// (`connect_timeout`).
const CONNECTING: Duration = Duration::from_secs(10);

/// How long a server may take to begin to announce changes.
const LISTENING: Duration = Duration::from_secs(5);

/// A connection to a database. If it is dropped, it is closed and its transaction
/// rolled back.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    /// Whether what it has committed may be on this server alone.
    pub doubt: Doubt,
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// What a server tells besides its answers, and to whom.
#[derive(Clone, Debug)]
struct Listeners {
    alarm: Arc<Alarm>,
    doubt: Doubt,
}

/// Parses `postgres://…`, and adds the options that a daemon needs, where the URL does not have
/// its own.
pub fn access(url: &str) -> Result<Access> {
    let mut access = Access::parse(url)?;
    let config = &mut access.config;
    if config.get_application_name().is_none() {
        config.application_name("mo-router");
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(SILENCE / 3);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(SILENCE / 3);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(2);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    Ok(access)
}

/// Opens a connection to the first server that has what is asked for. Its notifications ring
/// `alarm`.
pub async fn connect(access: &Access, alarm: Arc<Alarm>) -> Result<Connection> {
    let doubt = Doubt::default();
    let listeners = Listeners { alarm, doubt: doubt.clone() };
    // Before a server's time begins.
    let (config, tls) = (access.config_now().await?, access.tls().await?);
    let limit = config.get_connect_timeout().copied().unwrap_or(CONNECTING);
    let attempt = |place: Place| {
        let tls = tls.as_ref().map(Tls::for_another);
        connect_to(access, place.with(&config), tls, listeners.clone())
    };
    let client = access.hosts.first_good(limit, attempt).await?;
    Ok(Connection { client, doubt })
}

/// Makes connections with TLS.
pub fn connector(tls: &Tls) -> MakeRustlsConnect {
    MakeRustlsConnect::new(tls.config.as_ref().clone())
}

/// The same at one server: with TLS where that is asked for, or where nothing is asked for and
/// the server has it.
async fn connect_to(
    access: &Access,
    config: Config,
    tls: Option<Tls>,
    listeners: Listeners,
) -> Result<Client> {
    let Some(tls) = tls else { return open_with(&config, NoTls, listeners).await };
    match open_with(&config, connector(&tls), listeners.clone()).await {
        Err(error) if access.may_be_plain(&error) => {
            let plain = open_with(&Access::plain(config), NoTls, listeners).await;
            plain.with_context(|| format!("with TLS: {error:#}; without"))
        }
        Err(error) => {
            let refused = super::access::is_refused(&error);
            Err(tls.explain(error, refused))
        }
        opened => opened,
    }
}

async fn open_with<T>(config: &Config, tls: T, listeners: Listeners) -> Result<Client>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static>,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(drive(connection, listeners));
    Ok(client)
}

/// Opens a connection for the store's statements.
pub async fn open(access: &Access, alarm: Arc<Alarm>) -> Result<Connection> {
    let connection = connect(access, alarm).await?;
    in_time(set_up(&connection)).await?;
    Ok(connection)
}

/// Runs a connection until it ends. The calls of its client then fail with the reason.
async fn drive<T: TlsStream + Unpin>(
    mut connection: tokio_postgres::Connection<Socket, T>,
    listeners: Listeners,
) {
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(_)) => listeners.alarm.ring_now(),
            Ok(AsyncMessage::Notice(notice)) => listeners.doubt.hear(&notice),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("lost a connection to the delay store: {error}");
                return;
            }
        }
    }
}

/// Keeps a connection open that is notified of changes by other processes, and also rings
/// once a second: when a router dies, its messages are due again without a notification.
pub async fn keep_listening(access: Access, alarm: Arc<Alarm>) {
    let listening = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut listener: Option<Connection> = None;
        loop {
            tick.tick().await;
            if listener.as_ref().is_none_or(|listener| listener.is_closed()) {
                listener = listen(&access, Arc::clone(&alarm)).await.ok();
            }
        }
    };
    // However long it takes to listen.
    tokio::join!(alarm.ring_each_second(), listening);
}

async fn listen(access: &Access, alarm: Arc<Alarm>) -> Result<Connection> {
    let client = connect(access, alarm).await?;
    let asked = async {
        set_up(&client).await?;
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await.map_err(anyhow::Error::from)
    };
    timeout(LISTENING, asked).await??;
    Ok(client)
}

/// Sets a new connection's options.
async fn set_up(client: &Client) -> Result<()> {
    // JIT compilation costs more than our queries gain from it. The timeouts are for a
    // router whose machine or network fails: by default the server would keep its claims for
    // hours. They have no effect on a connection that does not use TCP. A pooler may give the
    // connection to others of the same user and database, whom these options do not hurt.
    let silence = SILENCE.as_secs();
    let settings = format!(
        "SET jit = off; SET tcp_keepalives_idle = {}; SET tcp_keepalives_interval = {};
         SET tcp_keepalives_count = 2; SET tcp_user_timeout = '{silence}s'",
        silence / 3,
        silence / 3
    );
    Ok(client.batch_execute(&settings).await?)
}

/// Notifies all routers of a change. They would notice it a second later anyway.
pub async fn announce(client: &Client) {
    if let Err(error) = client.batch_execute(&format!("NOTIFY {CHANNEL}")).await {
        tracing::debug!("a change is noticed a second later: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unhung::tests::{Hung, error_of};

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn files_that_cannot_be_read_for_now_hold_up_nothing_else() {
        let (hung, read) = (Hung::new(), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(read.path(), "secret").unwrap();
        let error = async |parameters: &str| {
            let file = hung.file().display().to_string();
            let access = access(&format!("postgres://localhost:1/d?{parameters}={file}")).unwrap();
            let again = access.clone();
            let error =
                error_of(async move { connect(&access, Arc::new(Alarm::new())).await }).await;
            // Another attempt, while the thread of the first still waits.
            let second =
                error_of(async move { connect(&again, Arc::new(Alarm::new())).await }).await;
            assert_eq!(second, error);
            error
        };
        let with_password = format!("passwordfile={}&sslrootcert", read.path().display());
        let (password, ca) = tokio::join!(error("passwordfile"), error(&with_password));
        let has_not = "has not answered for 10s";
        assert!(password.contains(&format!("[delay] password_file {has_not}")), "{password}");
        assert!(ca.contains("sslrootcert") && ca.contains(has_not), "{ca}");
    }

    #[test]
    fn what_the_url_says_of_keepalives_is_kept() {
        let of = |parameters: &str| {
            let config = access(&format!("postgres://mo@db/delays{parameters}")).unwrap().config;
            let timeout = config.get_tcp_user_timeout().copied();
            let (interval, retries) =
                (config.get_keepalives_interval(), config.get_keepalives_retries());
            (config.get_keepalives_idle(), interval, retries, timeout)
        };
        let third = SILENCE / 3;
        assert_eq!(of(""), (third, Some(third), Some(2), Some(SILENCE)));
        let url =
            "?keepalives_idle=1&keepalives_interval=2&keepalives_retries=3&tcp_user_timeout=4";
        let seconds = Duration::from_secs;
        assert_eq!(of(url), (seconds(1), Some(seconds(2)), Some(3), Some(seconds(4))));
    }
}
