//! Where the broker is, and how to log in to it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::url::{ServerUrl, hosts};
use super::value::SettingValue;

/// The brokers of one cluster, at least one: URLs with commas between them, or one URL with
/// commas between its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrls(pub(super) Vec<ServerUrl>);

/// Files that TLS needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates, in PEM, of authorities to trust. If none: the system's.
    pub ca_file: Option<PathBuf>,
    /// The router's certificate, in PEM, with those in between.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

/// One broker, and all that a connection to it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerServer {
    /// With the user and the password to log in with.
    pub url: ServerUrl,
    /// For `amqps://`.
    pub tls: TlsFiles,
    /// The name that is in its certificate, if that is not the URL's host.
    pub server_name: Option<String>,
}

impl BrokerUrls {
    /// RabbitMQ on this machine, as installed.
    pub(super) fn local() -> Self {
        Self(vec![ServerUrl::local()])
    }

    /// # Errors
    /// Says what is wrong with one of them, without passwords.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut urls = Vec::new();
        for url in split(text) {
            let hosts = hosts(url);
            let (Some(first), Some(last)) = (hosts.first(), hosts.last()) else { continue };
            let (before, after) = (&url[..first.start], &url[last.end..]);
            for host in &hosts {
                let host = url[host.clone()].trim();
                urls.push(ServerUrl::amqp(&format!("{before}{host}{after}"))?);
            }
        }
        Ok(Self(urls))
    }

    /// Those that `[amqp] url_file` holds now.
    ///
    /// # Errors
    /// It cannot be read, or holds no URL of a broker. What it holds is not shown.
    pub(super) fn from_file(file: &Path) -> Result<Self> {
        let what = || format!("[amqp] url_file {:?}", file.display().to_string());
        let text = std::fs::read_to_string(file).with_context(what)?;
        Self::read(text.trim()).map_err(|wrong| anyhow!(wrong)).with_context(what)
    }

    /// The first one with another host or port, and none else; all if neither is given.
    ///
    /// # Errors
    /// Names a host that no URL can have.
    pub(super) fn with_address(
        &self,
        host: Option<&str>,
        port: Option<u16>,
    ) -> Result<Self, String> {
        match self.0.first() {
            Some(first) if host.is_some() || port.is_some() => {
                Ok(Self(vec![first.with_address(host, port)?]))
            }
            _ => Ok(self.clone()),
        }
    }

    /// The URLs with their passwords. Not for messages.
    pub fn expose(&self) -> String {
        let urls: Vec<&str> = self.0.iter().map(ServerUrl::expose).collect();
        urls.join(",")
    }
}

/// Whole URLs: a comma can be part of a password, but not with a scheme behind it.
fn split(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut rest = text.trim();
    while let Some(end) = rest.match_indices(',').map(|(at, _)| at).find(|at| {
        ["amqp://", "amqps://"].iter().any(|s| rest[at + 1..].trim_start().starts_with(s))
    }) {
        urls.push(rest[..end].trim_end());
        rest = rest[end + 1..].trim_start();
    }
    urls.push(rest);
    urls
}

impl SettingValue for BrokerUrls {
    fn parse(text: &str) -> Result<Self, String> {
        Self::read(text)
    }

    fn to_text(&self) -> String {
        self.expose()
    }
}

impl fmt::Display for BrokerUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, url) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{url}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        BrokerUrls::read(text).unwrap().to_string()
    }

    #[test]
    fn several_addresses_stand_in_one_url_or_in_several() {
        assert_eq!(
            shown("amqp://mo:hunter2@a:5672,b,[::1]:99/x?heartbeat=5"),
            "amqp://mo:***@a:5672/x?***, amqp://mo:***@b/x?***, amqp://mo:***@[::1]:99/x?***"
        );
        assert_eq!(
            shown("amqp://mo:h,unter@a, amqps://mo@b/x"),
            "amqp://mo:***@a/%2f, amqps://mo@b/x"
        );
        let error = BrokerUrls::read("amqp://mo:hunter2@a,,b/x").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(BrokerUrls::read("").is_err());
    }
}
