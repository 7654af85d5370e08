//! The brokers that `[amqp]` names, and all that a connection to each needs.

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::broker::{BrokerServer, BrokerUrls, TlsFiles};
use super::schema::{Amqp, Declare};
use super::secret::{Secret, read_secret};
use super::url::ServerUrl;

impl Amqp {
    /// Whether others make what the router needs: what is there is used as it is.
    pub fn is_passive(&self) -> bool {
        self.declare == Declare::Passive
    }

    /// The setting whose file holds the password, which may change; none if no file does.
    pub fn secret_setting(&self) -> Option<&'static str> {
        match (&self.password_file, &self.password, &self.url_file) {
            (Some(_), _, _) => Some("[amqp] password_file"),
            (None, None, Some(_)) => Some("[amqp] url_file"),
            _ => None,
        }
    }

    /// The brokers to connect to, in this order: what the files hold now, or else the settings.
    ///
    /// # Errors
    /// A file cannot be read, or holds no URL of a broker. What it holds is not shown.
    pub fn servers(&self) -> Result<Vec<BrokerServer>> {
        let urls = match &self.url_file {
            Some(file) => BrokerUrls::from_file(file)?,
            None => self.url.clone(),
        };
        let password = match &self.password_file {
            Some(file) => Some(read_secret("[amqp] password_file", file)?),
            None => self.password.clone(),
        };
        urls.0.into_iter().map(|url| self.server(url, password.as_ref())).collect()
    }

    fn server(&self, url: ServerUrl, password: Option<&Secret>) -> Result<BrokerServer> {
        let wrong = |wrong: String| anyhow!("[amqp] url: {wrong}");
        let (url, parameters) = url
            .without_parameters(&["cacertfile", "certfile", "keyfile", "server_name_indication"])
            .map_err(wrong)?;
        let url = url.with_user(self.username.as_deref(), password).map_err(wrong)?;
        let given = |name: &str| {
            let found = parameters.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let file =
            |own: &Option<PathBuf>, name| own.clone().or_else(|| given(name).map(PathBuf::from));
        Ok(BrokerServer {
            tls: TlsFiles {
                ca_file: file(&self.ca_file, "cacertfile"),
                cert_file: file(&self.cert_file, "certfile"),
                key_file: file(&self.key_file, "keyfile"),
            },
            server_name: self.server_name.clone().or_else(|| given("server_name_indication")),
            url,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn settings_and_parameters_become_what_a_connection_needs() {
        let url = "amqps://mo:old@a,b/x?cacertfile=%2Fca%20s.pem&certfile=/c.pem&keyfile=/k.pem\
                   &server_name_indication=rabbit&heartbeat=5";
        let settings = Amqp {
            url: BrokerUrls::read(url).unwrap(),
            username: Some("router@mo".into()),
            password: Some("p/w".to_owned().into()),
            cert_file: Some("/own.pem".into()),
            ..Amqp::default()
        };
        let servers = settings.servers().unwrap();
        assert_eq!(servers.len(), 2);
        let server = &servers[1];
        assert_eq!(server.url.expose(), "amqps://router%40mo:p%2Fw@b/x?heartbeat=5");
        assert_eq!(server.server_name.as_deref(), Some("rabbit"));
        assert_eq!(server.tls.ca_file.as_deref(), Some(Path::new("/ca s.pem")));
        assert_eq!(server.tls.cert_file.as_deref(), Some(Path::new("/own.pem")));
        assert_eq!(server.tls.key_file.as_deref(), Some(Path::new("/k.pem")));
    }

    #[test]
    fn a_new_password_is_one_for_the_same_user_at_the_same_broker() {
        let url = |text: &str| BrokerUrls::read(text).unwrap().0.remove(0);
        let own = url("amqp://mo:old@a/x?heartbeat=5");
        let newer =
            |text: &str| own.newer_password(&url(text)).map(|secret| secret.expose().to_owned());
        assert_eq!(newer("amqp://mo:n%2Fw@a/x?heartbeat=5").as_deref(), Some("n/w"));
        for other in ["mo:old@a/x", "mo:new@b/x", "other:new@a/x", "mo:new@a/y", "mo@a/x"] {
            assert_eq!(newer(&format!("amqp://{other}?heartbeat=5")), None, "{other}");
        }
    }

    #[test]
    fn a_file_wins_over_a_password_and_is_read_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = Amqp {
            password: Some("old".to_owned().into()),
            password_file: Some(file.path().into()),
            ..Amqp::default()
        };
        for password in ["one", "two"] {
            std::fs::write(file.path(), format!("{password}\n")).unwrap();
            let servers = settings.servers().unwrap();
            let expected = format!("amqp://guest:{password}@localhost:5672/%2f");
            assert_eq!(servers[0].url.expose(), expected);
        }
        let missing = Amqp { password_file: Some("/none".into()), ..Amqp::default() };
        let error = format!("{:#}", missing.servers().unwrap_err());
        assert!(error.contains("[amqp] password_file") && error.contains("/none"), "{error}");
    }
}
