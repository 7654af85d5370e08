//! What a database's URL says of how to connect, beyond what tokio-postgres knows: libpq's
//! parameters of TLS, and a file with the password.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;

use super::hosts::Hosts;
use crate::settings::{PASSWORD_FILE, TlsFiles, read_secret};
use crate::tls::{Check, Tls, Words};
use crate::unhung::Files;

/// What there is to set.
const WORDS: Words = Words {
    authorities: "the URL's sslrootcert",
    identity: "the URL's sslcert and sslkey",
    name: "connect to that name, with hostaddr for the address where they differ",
    plain: "is it PostgreSQL's port?",
};

/// The setting that names the file with the password.
const PASSWORD_SETTING: &str = "[delay] password_file";

/// The parameters that name files of TLS.
const TLS_FILES: &str = "sslrootcert, sslcert or sslkey in the URL of [delay] store";

/// How libpq calls it that the system's authorities are meant.
const OF_THE_SYSTEM: &str = "system";

/// What else tokio-postgres knows.
const KNOWN: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];

/// What means something to libpq, and nothing here: there is neither GSSAPI nor compression,
/// and text is always UTF-8. The file with passwords has been read with the settings.
const IGNORED: [&str; 9] = [
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "passfile",
    "sslcompression",
    "sslsni",
];

/// How to connect to a database.
#[derive(Clone, Debug)]
pub struct Access {
    /// Without a host, and without the password in the file.
    pub config: Config,
    /// Where the database may be.
    pub hosts: Hosts,
    files: TlsFiles,
    check: Check,
    password_file: Option<PathBuf>,
    passwords: Files,
    certificates: Files,
}

impl Access {
    /// Parses `postgres://…`. Where it says nothing of TLS, that is tried first, without looking
    /// at the server's certificate, as libpq does; `sslmode=require` looks at all of it, which
    /// libpq calls `verify-full`.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub fn parse(url: &str) -> Result<Self> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut kept, mut files) = (Vec::new(), TlsFiles::default());
        let (mut mode, mut password_file) = (None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = || decoded(value).with_context(|| format!("its {name} is not UTF-8"));
            match name {
                "sslmode" => mode = Some(value()?),
                "sslrootcert" => {
                    files.ca_file =
                        Some(value()?).filter(|file| file != OF_THE_SYSTEM).map(Into::into);
                }
                "sslcert" => files.cert_file = Some(value()?.into()),
                "sslkey" => files.key_file = Some(value()?.into()),
                PASSWORD_FILE => password_file = Some(value()?.into()),
                "target_session_attrs" => {
                    let asked = value()?;
                    // PostgreSQL 14 has the other names for what is nearly the same.
                    let known = match &*asked {
                        "primary" => "read-write",
                        "standby" => "read-only",
                        "prefer-standby" => "any",
                        other => other,
                    };
                    kept.push(format!("{name}={known}"));
                }
                "keepalives_count" => kept.push(format!("keepalives_retries={}", value()?)),
                "gssencmode" if value()? == "require" => bail!("its gssencmode cannot be require"),
                name if IGNORED.contains(&name) => {}
                name if KNOWN.contains(&name) => kept.push(parameter.to_owned()),
                name => bail!("its parameter {name} has no meaning to mo-router: leave it out"),
            }
        }
        let unverified = if files.ca_file.is_some() { Check::Authority } else { Check::Nothing };
        let (mode, check) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Check::Nothing),
            None | Some("allow" | "prefer" | "") => (SslMode::Prefer, unverified),
            Some("verify-ca") => (SslMode::Require, Check::Authority),
            Some("require" | "verify-full") => (SslMode::Require, Check::Everything),
            Some(other) => bail!(
                "its sslmode {other:?} must be disable, prefer, require, verify-ca or verify-full"
            ),
        };
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        let parsed = format!("{address}{query}").parse();
        let config: Config =
            parsed.context("it is not postgres://user:password@host:port/database")?;
        let hosts = Hosts::of(&config)?;
        let mut config = without_hosts(&config);
        // A socket in the file system is on this machine: as in libpq, there is no TLS on it.
        config.ssl_mode(if hosts.are_local() { SslMode::Disable } else { mode });
        let (passwords, certificates) = (Files::of(PASSWORD_SETTING), Files::of(TLS_FILES));
        Ok(Self { config, hosts, files, check, password_file, passwords, certificates })
    }

    /// The configuration with the password that the file holds now.
    ///
    /// # Errors
    /// The file cannot be read, or its file system does not answer.
    pub async fn config_now(&self) -> Result<Config> {
        let mut config = self.config.clone();
        if let Some(file) = self.password_file.clone() {
            let password = self.passwords.read(move || read_secret(PASSWORD_SETTING, &file));
            config.password(password.await?.expose());
        }
        Ok(config)
    }

    /// How to speak TLS, if that is to be spoken.
    ///
    /// # Errors
    /// Names the file that cannot be used, or those whose file system does not answer.
    pub async fn tls(&self) -> Result<Option<Tls>> {
        if self.config.get_ssl_mode() == SslMode::Disable {
            return Ok(None);
        }
        let (files, check) = (self.files.clone(), self.check);
        let tls = self.certificates.read(move || Tls::new(&files, check, WORDS));
        tls.await.map(Some)
    }

    /// The same without TLS.
    pub fn plain(mut config: Config) -> Config {
        config.ssl_mode(SslMode::Disable);
        config
    }

    /// Whether to try without TLS what did not work with it.
    pub fn may_be_plain(&self, error: &anyhow::Error) -> bool {
        // tokio-postgres does not say of what kind its errors are.
        let is_tls = || {
            let error = error.downcast_ref::<tokio_postgres::Error>();
            error.is_some_and(|error| error.to_string().contains("TLS"))
        };
        self.config.get_ssl_mode() == SslMode::Prefer && (is_refused(error) || is_tls())
    }
}

/// Whether the server does not let this user connect in this way: its `pg_hba.conf` may want
/// another one.
pub fn is_refused(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<tokio_postgres::Error>();
    error.and_then(tokio_postgres::Error::code)
        == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// All that a configuration says, but for the hosts.
fn without_hosts(config: &Config) -> Config {
    let mut other = Config::new();
    other
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    if let Some(user) = config.get_user() {
        other.user(user);
    }
    if let Some(password) = config.get_password() {
        other.password(password);
    }
    if let Some(name) = config.get_dbname() {
        other.dbname(name);
    }
    if let Some(options) = config.get_options() {
        other.options(options);
    }
    if let Some(name) = config.get_application_name() {
        other.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        other.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        other.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        other.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        other.keepalives_retries(retries);
    }
    other
}

/// The value of a parameter; none if it is not UTF-8.
fn decoded(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parameters: &str) -> Access {
        Access::parse(&format!("postgres://mo:pw@db/delays{parameters}")).unwrap()
    }

    #[test]
    fn what_the_modes_of_libpq_mean() {
        for (parameters, mode, check) in [
            ("", SslMode::Prefer, Check::Nothing),
            ("?sslmode=prefer&sslrootcert=/ca", SslMode::Prefer, Check::Authority),
            ("?sslmode=disable", SslMode::Disable, Check::Nothing),
            ("?sslmode=require&sslrootcert=system", SslMode::Require, Check::Everything),
            ("?sslmode=verify-ca", SslMode::Require, Check::Authority),
            ("?sslmode=verify-full", SslMode::Require, Check::Everything),
        ] {
            let access = of(parameters);
            assert_eq!((access.config.get_ssl_mode(), access.check), (mode, check), "{parameters}");
        }
        let error =
            Access::parse("postgres://mo:hunter2@db/d?sslmode=full").unwrap_err().to_string();
        assert!(error.contains("verify-full") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn other_parameters_stay_and_files_are_taken_out() {
        let access =
            of("?connect_timeout=7&sslcert=%2Fetc%2Fmo%20r.pem&sslkey=/k&application_name=x");
        assert_eq!(access.config.get_application_name(), Some("x"));
        assert_eq!(access.files.cert_file, Some("/etc/mo r.pem".into()));
        assert_eq!(access.files.key_file, Some("/k".into()));
        assert_eq!((decoded("50%"), decoded("%ff")), (Some("50%".into()), None));
    }

    #[test]
    fn what_libpq_knows_is_understood_ignored_or_refused_by_name() {
        let access = of("?target_session_attrs=primary&keepalives_count=3&gssencmode=prefer\
                         &client_encoding=UTF8&passfile=/home/mo/.pgpass");
        let writable = tokio_postgres::config::TargetSessionAttrs::ReadWrite;
        assert_eq!(access.config.get_target_session_attrs(), writable);
        assert_eq!(access.config.get_keepalives_retries(), Some(3));
        assert_eq!(
            (access.config.get_user(), access.config.get_dbname()),
            (Some("mo"), Some("delays"))
        );
        for parameter in ["sslcrl=/crl.pem", "require_auth=scram-sha-256", "gssencmode=require"] {
            let error = Access::parse(&format!("postgres://mo:hunter2@db/d?{parameter}"));
            let error = error.unwrap_err().to_string();
            let (name, _) = parameter.split_once('=').unwrap();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_password_is_that_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let access = of(&format!("?passwordfile={}", file.path().display()));
        for password in ["one", "two"] {
            std::fs::write(file.path(), format!("{password}\n")).unwrap();
            let config = access.config_now().await.unwrap();
            assert_eq!(config.get_password(), Some(password.as_bytes()));
        }
    }
}
