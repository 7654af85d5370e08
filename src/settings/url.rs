//! URLs of servers, which keep their passwords out of every message.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use super::secret::Secret;
use super::value::SettingValue;
use super::{libpq, pgpass};

/// The URL of a server. `Display` and `Debug` hide its password; only
/// [`ServerUrl::expose`] gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// RabbitMQ on this machine, as installed.
    pub(super) fn local() -> Self {
        Self("amqp://guest:guest@localhost:5672/%2f".into())
    }

    /// The whole URL with its password, to connect with. Not for messages.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// # Errors
    /// Says what is wrong with the URL, without its password.
    fn parse_scheme(text: &str, schemes: &[&str], example: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{} {what}; it must be like {example:?}", redacted(text));
        let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
        if !schemes.contains(&url.scheme()) {
            return Err(wrong(&format!("does not begin with {}://", schemes.join(":// or "))));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("names no host"));
        }
        // Unescaped in a password, each of these ends the part of the URL that it is in.
        if url.fragment().is_some()
            || url.path().contains('@')
            || url.query().is_some_and(|query| query.contains('@'))
        {
            return Err(wrong(
                "has a #, ?, / or @ in its password or path that is not escaped (%23, %3F, %2F, %40)",
            ));
        }
        Ok(Self(text.into()))
    }

    /// A broker's. An empty path stands for the virtual host `/`, as in most
    /// clients, not for one with an empty name, which does not exist.
    ///
    /// # Errors
    /// Says what is wrong with the URL, without its password.
    pub fn amqp(text: &str) -> Result<Self, String> {
        let Self(text) =
            Self::parse_scheme(text, &["amqp", "amqps"], "amqp://user:password@host:5672/%2f")?;
        let mut url = Url::parse(&text).map_err(|error| error.to_string())?;
        if matches!(url.path(), "" | "/") {
            url.set_path("/%2f");
        }
        Ok(Self(url.into()))
    }

    /// A PostgreSQL server's, or those of several, of which one is in charge:
    /// `postgres://host1:5432,host2:5432/database?target_session_attrs=read-write`.
    ///
    /// # Errors
    /// Says what is wrong with the URL, without its password.
    pub fn postgres(text: &str) -> Result<Self, String> {
        // A host that is a parameter, or comes from elsewhere, may be any.
        for host in hosts(text) {
            let (before, after) = (&text[..host.start], &text[host.end..]);
            let host = if host.is_empty() { "localhost" } else { &text[host.clone()] };
            // Its other hosts are looked at by themselves.
            let before = before.rsplit_once(['@', '/']).map_or(0, |(kept, _)| kept.len() + 1);
            let after = after.find(['/', '?']).map_or("", |end| &after[end..]);
            Self::parse_scheme(
                &format!("{}{host}{after}", &text[..before]),
                &["postgres", "postgresql"],
                "postgres://user:password@host:5432/database",
            )?;
        }
        Ok(Self(text.into()))
    }

    /// The same URL with another user or password, where they are given.
    ///
    /// # Errors
    /// There is no place for them in the URL.
    pub(super) fn with_user(
        &self,
        user: Option<&str>,
        password: Option<&Secret>,
    ) -> Result<Self, String> {
        let mut url = Url::parse(&self.0).map_err(|error| error.to_string())?;
        let set = user.map_or(Ok(()), |user| url.set_username(user)).and_then(|()| {
            password.map_or(Ok(()), |password| url.set_password(Some(password.expose())))
        });
        set.map_err(|()| format!("{self} cannot have a user"))?;
        Ok(Self(url.into()))
    }

    /// The password of `other`, if that differs from this URL in its password alone. There is none if
    /// `other` has no password.
    pub fn newer_password(&self, other: &Self) -> Option<Secret> {
        let without = |url: &Self| {
            let mut url = Url::parse(&url.0).ok()?;
            let password = url.password().map(str::to_owned);
            url.set_password(None).ok()?;
            Some((url, password))
        };
        let ((own, old), (url, new)) = (without(self)?, without(other)?);
        let new = new.filter(|new| own == url && old.as_ref() != Some(new))?;
        let new = percent_decode_str(&new).decode_utf8().ok()?;
        Some(Secret::from(new.into_owned()))
    }

    /// The same URL without some of its parameters, and these with their values.
    ///
    /// # Errors
    /// It is no URL.
    pub(super) fn without_parameters(
        &self,
        names: &[&str],
    ) -> Result<(Self, Vec<(String, String)>), String> {
        let mut url = Url::parse(&self.0).map_err(|error| error.to_string())?;
        let pairs = url.query_pairs().into_owned();
        let (taken, kept): (Vec<_>, Vec<_>) =
            pairs.partition(|(name, _)| names.contains(&name.as_str()));
        if taken.is_empty() {
            return Ok((self.clone(), taken));
        }
        match kept.is_empty() {
            true => url.set_query(None),
            false => drop(url.query_pairs_mut().clear().extend_pairs(&kept)),
        }
        Ok((Self(url.into()), taken))
    }

    /// The host that it names, an IPv6 address without its brackets.
    pub fn host(&self) -> String {
        let host = Url::parse(&self.0).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.unwrap_or_default().trim_matches(['[', ']']).to_owned()
    }

    /// The same URL with another host or port.
    ///
    /// # Errors
    /// Names a host that no URL can have.
    pub fn with_address(&self, host: Option<&str>, port: Option<u16>) -> Result<Self, String> {
        let mut url = Url::parse(&self.0).map_err(|error| error.to_string())?;
        if let Some(host) = host {
            let bracketed = if host.contains(':') && !host.starts_with('[') {
                format!("[{host}]")
            } else {
                host.into()
            };
            url.set_host(Some(&bracketed)).map_err(|error| {
                format!("{:?} is not the name of a host ({error})", redacted(host))
            })?;
        }
        if let Some(port) = port {
            url.set_port(Some(port)).map_err(|()| format!("{self} cannot have a port"))?;
        }
        Ok(Self(url.into()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redacted(&self.0))
    }
}

/// The URL of an HTTP server, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(ServerUrl);

impl HttpUrl {
    pub(super) fn constant(url: &str) -> Self {
        Self(ServerUrl(url.into()))
    }

    /// The URL of a path below it, which begins with a slash. Not for messages.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.expose())
    }
}

impl SettingValue for HttpUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        let url = ServerUrl::parse_scheme(text, &["http", "https"], "https://mo.example.org")?;
        match text.contains('?') {
            true => {
                Err(format!("{url} has parameters; it must be like \"https://mo.example.org\""))
            }
            false => Ok(Self(url)),
        }
    }

    fn to_text(&self) -> String {
        self.0.expose().into()
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The parameter of a database's URL that names a file with the password. Not libpq's.
pub const PASSWORD_FILE: &str = "passwordfile";

/// Where delayed messages are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:FILE`
    Sqlite(PathBuf),
    /// `postgres://…`, which several routers can share
    Postgres(ServerUrl),
}

impl StoreUrl {
    /// Adds what PostgreSQL's own variables and files say of a database, and the file with its
    /// password, if there is one.
    ///
    /// # Errors
    /// The URL names a service that is in no file, or a password is in one that others can read.
    pub(super) fn complete(
        &mut self,
        variables: &[(String, String)],
        password_file: Option<&Path>,
    ) -> Result<(), String> {
        if let Self::Postgres(ServerUrl(url)) = self {
            let variable = |name: &str| {
                let found = variables.iter().find(|(other, _)| other == name);
                found.map(|(_, value)| value.clone())
            };
            *url = libpq::complete(url, variable, |file| std::fs::read_to_string(file))?;
            if !libpq::names_host(url) {
                return Err(format!("{} names no host, nor does PGHOST", redacted(url)));
            }
            if let Some(file) = password_file {
                *url = libpq::with_parameter(url, PASSWORD_FILE, &file.display().to_string());
            } else if let Some(password) = pgpass::password(url, variable, pgpass::read_private)? {
                *url = libpq::with_parameter(url, "password", &password);
            }
        }
        Ok(())
    }
}

impl SettingValue for StoreUrl {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            Some(("postgres" | "postgresql", _)) => ServerUrl::postgres(text).map(Self::Postgres),
            _ => Err(format!(
                "{:?} must be \"sqlite:FILE\" or \"postgres://user:password@host/database\"",
                redacted(text)
            )),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(url) => url.expose().into(),
        }
    }
}

/// The text without anything that may be a password. It need not be a valid URL, so
/// this hides too much rather than too little: everything between the first colon
/// after the scheme and the last `@`, a port that is no number, and all parameters.
fn redacted(text: &str) -> String {
    let (address, parameters) = match text.split_once('?') {
        // The question mark is part of a password that is not escaped.
        Some((_, parameters)) if parameters.contains('@') => (text, ""),
        Some(parts) => parts,
        None => (text, ""),
    };
    let (scheme, rest) = address.split_at(after_scheme(address));
    let hidden = match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => Some((colon, at)),
        (_, Some(_)) => None,
        (_, None) if scheme.is_empty() => None,
        (_, None) => bad_port(rest).map(|colon| (colon, rest.len())),
    };
    let mut shown = match hidden {
        Some((from, to)) => format!("{scheme}{}:***{}", &rest[..from], &rest[to..]),
        None => address.to_owned(),
    };
    if !parameters.is_empty() {
        shown.push_str("?***");
    }
    shown
}

/// Where the hosts of a URL are: between the user and the path, with commas between them.
pub(super) fn hosts(text: &str) -> Vec<Range<usize>> {
    let start = after_scheme(text);
    let end = text[start..].find(['/', '?']).map_or(text.len(), |end| start + end);
    let start = text[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let mut hosts = Vec::new();
    let mut at = start;
    for host in text[start..end].split(',') {
        hosts.push(at..at + host.len());
        at += host.len() + 1;
    }
    hosts
}

/// Where the rest begins after `scheme://`; 0 without a scheme.
fn after_scheme(address: &str) -> usize {
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    match address.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => scheme.len() + "://".len(),
        _ => 0,
    }
}

/// The colon after the host, if what follows it is not a port.
fn bad_port(rest: &str) -> Option<usize> {
    let host = if rest.starts_with('[') { rest.find(']')? } else { 0 };
    let colon = host + rest[host..].find(':')?;
    let port = rest[colon + 1..].split('/').next()?;
    (!port.bytes().all(|byte| byte.is_ascii_digit())).then_some(colon)
}
