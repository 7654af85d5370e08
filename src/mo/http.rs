//! Requests over HTTP, with TLS by rustls as for the broker.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::DateTime;
use rustls::crypto::ring;
use tracing::warn;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, http::Response};

use super::failure::{Failure, SHOWN};
use crate::event::{Datetime, shortened};
use crate::settings::HttpUrl;

/// How long a request may take: MO is slow when it is busy.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be idle before another one is made: MO's server closes it after 5 s,
/// and a request that crosses that is lost.
const MAX_IDLE: Duration = Duration::from_secs(3);
/// The largest answer, in bytes: what a backlog of 100,000 events is when it is listed.
const LARGEST: u64 = 32 << 20;
/// The longest that a server may want not to be asked.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What sends requests. Connections are kept.
///
/// # Errors
/// The file with certificates cannot be read, or has none.
pub fn agent(ca_file: Option<&Path>) -> Result<Agent> {
    let roots = match ca_file {
        Some(file) => {
            from_file(file).with_context(|| format!("[mo] ca_file {}", file.display()))?
        }
        None => of_the_system(),
    };
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    Ok(Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .max_idle_age(MAX_IDLE)
        // The access token must not follow to another server.
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

/// The status and the body of what a server answers.
///
/// # Errors
/// It does not answer, or says that it cannot now.
pub fn read(
    sent: Result<Response<Body>, ureq::Error>,
    server: &HttpUrl,
) -> Result<(u16, String), Failure> {
    let mut answer = sent.map_err(|error| unreachable_error(server, &error))?;
    let status = answer.status().as_u16();
    let header = answer.headers().get("retry-after");
    let wait = header.and_then(|text| retry_after(text.to_str().ok()?, Datetime::now()));
    let body = answer.body_mut().with_config().limit(LARGEST).lossy_utf8(true).read_to_string();
    let body = body.map_err(|error| unreachable_error(server, &error))?;
    if status >= 500 || status == 429 || status == 408 {
        let said = shortened(body.trim(), SHOWN);
        return Err(Failure::Unavailable {
            text: format!("{server} cannot answer now: status {status} {said:?}"),
            retry_after: wait,
        });
    }
    Ok((status, body))
}

fn unreachable_error(server: &HttpUrl, error: &ureq::Error) -> Failure {
    let said = error.to_string();
    let fix = match said.contains("certificate") {
        true => ": name the authority that signed it in [mo] ca_file",
        false => "",
    };
    Failure::unavailable(format!("{server} does not answer: {said}{fix}"))
}

/// A `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: Datetime) -> Option<Duration> {
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
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = format!("{:#}", agent(Some(file.path())).unwrap_err());
        assert!(error.contains("ca_file") && error.contains("no certificate"), "{error}");
        assert!(agent(None).is_ok());
    }
}
