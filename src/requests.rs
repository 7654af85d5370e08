//! What sends HTTP requests to other programs: with TLS by rustls, as for the broker.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::DateTime;
use rustls::crypto::ring;
use tracing::warn;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::event::Datetime;

/// The longest that a server may want not to be asked.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What to know of a server before it is asked.
#[derive(Clone, Debug)]
pub struct Server {
    /// A file with certificates of authorities to trust, in PEM; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// The setting that names the file.
    pub ca_setting: &'static str,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a connection may be idle before another one is made.
    pub max_idle: Duration,
}

/// What sends requests to a server. Connections are kept, and no redirect is followed: what a request
/// carries is for that server alone.
pub struct Agents {
    server: Server,
    current: Mutex<Agent>,
}

impl Agents {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The file with certificates cannot be read, or has none.
    pub fn new(server: Server) -> Result<Self> {
        let current = Mutex::new(agent(&server)?);
        Ok(Self { server, current })
    }

    /// Sends a request. If the server's certificate is not trusted, the next one is sent with the
    /// authorities that are trusted then: they change, too, in a process that lives for years.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn with<T>(
        &self,
        send: impl FnOnce(&Agent) -> Result<T, ureq::Error>,
    ) -> Result<T, ureq::Error> {
        let agent = self.current().clone();
        send(&agent).inspect_err(|error| {
            if is_of_certificate(error) {
                match self::agent(&self.server) {
                    Ok(agent) => *self.current() = agent,
                    Err(error) => warn!("the authorities to trust stay as they were: {error:#}"),
                }
            }
        })
    }

    fn current(&self) -> MutexGuard<'_, Agent> {
        // No holder leaves anything half done.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server's certificate is not trusted, or something is wrong with it.
pub fn is_of_certificate(error: &ureq::Error) -> bool {
    error.to_string().contains("certificate")
}

fn agent(server: &Server) -> Result<Agent> {
    let roots = match &server.ca_file {
        Some(file) => {
            from_file(file).with_context(|| format!("{} {}", server.ca_setting, file.display()))?
        }
        None => of_the_system(),
    };
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    Ok(Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(server.timeout))
        .timeout_connect(Some(server.connect_timeout))
        .max_idle_age(server.max_idle)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("mo-router/", env!("CARGO_PKG_VERSION")))
        .build()
        .into())
}

fn from_file(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(file)?;
    let items: Vec<PemItem> = parse_pem(&pem).collect::<Result<_, _>>()?;
    let certificates = items.into_iter().filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        bail!("it has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----");
    }
    Ok(certificates)
}

/// Those that the system trusts, or that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn of_the_system() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!("some of the system's certificates cannot be read: {error}");
    }
    found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

/// How long a server wants not to be asked, by its header `Retry-After`: seconds, or a date.
pub fn retry_after(text: &str, now: Datetime) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
            Datetime::from_unix(date.timestamp(), 0)?.saturating_since(now)
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_when_to_come_again() {
        let now = Datetime::from_unix(1_445_412_000, 0).unwrap();
        assert_eq!(retry_after("30", now), Some(Duration::from_secs(30)));
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now),
            Some(Duration::from_secs(480))
        );
        assert_eq!(retry_after("Wed, 21 Oct 2014 07:28:00 GMT", now), None, "no such Wednesday");
        assert_eq!(retry_after("100000", now), Some(LONGEST_RETRY_AFTER));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let server = |ca_file: Option<&Path>| Server {
            ca_file: ca_file.map(Path::to_owned),
            ca_setting: "[mo] ca_file",
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            max_idle: Duration::from_secs(1),
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = format!("{:#}", agent(&server(Some(file.path()))).unwrap_err());
        assert!(error.contains("[mo] ca_file") && error.contains("no certificate"), "{error}");
        assert!(Agents::new(server(None)).is_ok());
    }
}
