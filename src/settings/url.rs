//! Addresses of servers, whose passwords stay out of every message.

use std::fmt;
use std::ops::Deref;

use url::Url;

use super::value::Value;

/// The URL of a server. It is written out, by `Display` and `Debug`, without its
/// password; as a `str` it is whole.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// RabbitMQ as it is installed, on this machine.
    pub(super) fn local() -> Self {
        Self("amqp://guest:guest@localhost:5672/%2f".into())
    }

    /// # Errors
    /// Says what about the URL is wrong, without its password.
    fn parse(text: &str, schemes: &[&str], example: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| format!("{} {what}; it must be like {example:?}", without_password(text));
        let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
        if !schemes.contains(&url.scheme()) {
            return Err(wrong(&format!("does not begin with {}://", schemes.join(":// or "))));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("names no host"));
        }
        // A bare one of these in a password ends the part of the URL that it is in.
        if url.fragment().is_some()
            || url.path().contains('@')
            || url.query().is_some_and(|q| q.contains('@'))
        {
            return Err(wrong(
                "has a #, ?, / or @ in its password or path that is not escaped (%23, %3F, %2F, %40)",
            ));
        }
        Ok(Self(text.into()))
    }

    /// A broker's. An empty path is taken for the virtual host `/`, as most
    /// clients do, not for one without a name, which does not exist.
    ///
    /// # Errors
    /// Says what about the URL is wrong, without its password.
    pub fn amqp(text: &str) -> Result<Self, String> {
        let Self(text) =
            Self::parse(text, &["amqp", "amqps"], "amqp://user:password@host:5672/%2f")?;
        let mut url = Url::parse(&text).map_err(|error| error.to_string())?;
        if matches!(url.path(), "" | "/") {
            url.set_path("/%2f");
        }
        Ok(Self(url.into()))
    }

    /// A PostgreSQL server's.
    ///
    /// # Errors
    /// Says what about the URL is wrong, without its password.
    pub fn postgres(text: &str) -> Result<Self, String> {
        Self::parse(
            text,
            &["postgres", "postgresql"],
            "postgres://user:password@host:5432/database",
        )
    }

    /// The same server under another name or port.
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
            url.set_host(Some(&bracketed))
                .map_err(|error| format!("{host:?} is not the name of a host ({error})"))?;
        }
        if let Some(port) = port {
            url.set_port(Some(port)).map_err(|()| format!("{self} can have no port"))?;
        }
        Ok(Self(url.into()))
    }
}

impl Value for ServerUrl {
    fn read(text: &str) -> Result<Self, String> {
        Self::amqp(text)
    }

    fn show(&self) -> String {
        // What is in the program's own defaults is no secret.
        self.0.clone()
    }
}

impl Deref for ServerUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", without_password(&self.0))
    }
}

/// The text with whatever may be a password blotted out. It need not be a valid
/// URL, so this rather hides too much: all between the first colon that follows
/// the scheme and the last `@`, and every parameter.
pub(super) fn without_password(text: &str) -> String {
    let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
    let (address, hidden) =
        if parameters.contains('@') { (text, "") } else { (address, parameters) };
    let names = address.find("://").map_or(0, |scheme| scheme + 3);
    let mut shown = match (address[names..].find(':'), address.rfind('@')) {
        (Some(colon), Some(at)) if names + colon < at => {
            format!("{}:***{}", &address[..names + colon], &address[at..])
        }
        _ => address.to_string(),
    };
    if !hidden.is_empty() {
        shown.push_str("?***");
    }
    shown
}
