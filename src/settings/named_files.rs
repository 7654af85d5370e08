//! The files with secrets and certificates that settings name.

use std::path::PathBuf;

use anyhow::{Context, Result};
use percent_encoding::percent_decode_str;

use super::schema::{Amqp, Mo, Settings, Telemetry};
use super::secret::{read_secret, read_token};
use super::url::{PASSWORD_FILE, StoreUrl};
use super::{BrokerUrls, TlsFiles};

/// A file that a setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The setting, such as `[amqp] password_file`.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    content: Content,
}

/// What a file must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// A token for changes over HTTP.
    Token,
    /// URLs of brokers.
    Urls,
    /// A password, as text.
    Secret,
    /// Certificates or a key, which whoever connects looks into.
    Pem,
}

impl NamedFile {
    /// Whether it can be read, by whoever asks, and holds what it should.
    ///
    /// # Errors
    /// Names the setting, the file and what is wrong, without what is in it.
    pub fn check(&self) -> Result<()> {
        let Self { setting, path, content } = self;
        match content {
            Content::Token => read_token(path).map(drop),
            Content::Urls => BrokerUrls::from_file(path).map(drop),
            Content::Secret => read_secret(setting, path).map(drop),
            Content::Pem => {
                let read = std::fs::read(path).map(drop);
                read.with_context(|| format!("{setting} {:?}", path.display().to_string()))
            }
        }
    }
}

/// Gathers the files that there are.
#[derive(Default)]
struct Files(Vec<NamedFile>);

impl Files {
    /// One, if the setting names one. The same file may stand in several URLs.
    fn add(&mut self, setting: &'static str, path: Option<PathBuf>, content: Content) {
        let file = path.map(|path| NamedFile { setting, path, content });
        self.0.extend(file.filter(|file| !self.0.contains(file)));
    }
}

impl Settings {
    /// The files with secrets and certificates that these settings name and `run` reads.
    pub fn files(&self) -> Vec<NamedFile> {
        let mut files = Files::default();
        if self.amqp.enabled {
            of_broker(&self.amqp, &mut files);
        }
        if let StoreUrl::Postgres(url) = &self.delay.store {
            of_database(url.expose(), &mut files);
        }
        if self.mo.enabled {
            let Mo { client_secret_file, ca_file, .. } = &self.mo;
            files.add("[mo] client_secret_file", client_secret_file.clone(), Content::Secret);
            files.add("[mo] ca_file", ca_file.clone(), Content::Pem);
        }
        files.add("[http] token_file", self.http.token_file.clone(), Content::Token);
        let Telemetry { endpoint, otel, .. } = &self.telemetry;
        if endpoint.is_some() || otel.traces_endpoint.is_some() {
            files.add("OTEL_EXPORTER_OTLP_CERTIFICATE", otel.ca_file.clone(), Content::Pem);
        }
        files.0
    }
}

fn of_broker(amqp: &Amqp, files: &mut Files) {
    let Amqp { url_file, password_file, ca_file, cert_file, key_file, .. } = amqp;
    files.add("[amqp] url_file", url_file.clone(), Content::Urls);
    files.add("[amqp] password_file", password_file.clone(), Content::Secret);
    files.add("[amqp] ca_file", ca_file.clone(), Content::Pem);
    files.add("[amqp] cert_file", cert_file.clone(), Content::Pem);
    files.add("[amqp] key_file", key_file.clone(), Content::Pem);
    // None of what the URL names counts if a setting names another, nor can be known if the URL is
    // in a file that cannot be read.
    for server in amqp.servers().unwrap_or_default() {
        let TlsFiles { ca_file: ca, cert_file: cert, key_file: key } = server.tls;
        files.add("[amqp] url: cacertfile", ca.filter(|_| ca_file.is_none()), Content::Pem);
        files.add("[amqp] url: certfile", cert.filter(|_| cert_file.is_none()), Content::Pem);
        files.add("[amqp] url: keyfile", key.filter(|_| key_file.is_none()), Content::Pem);
    }
}

/// As the parameters of its URL name them, of which `[delay] password_file` is one by now.
fn of_database(url: &str, files: &mut Files) {
    let (_, query) = url.split_once('?').unwrap_or((url, ""));
    for (name, value) in query.split('&').filter_map(|parameter| parameter.split_once('=')) {
        let path = percent_decode_str(value).decode_utf8_lossy().into_owned();
        let (setting, content) = match name {
            PASSWORD_FILE => ("[delay] password_file", Content::Secret),
            "sslrootcert" if path != "system" => ("[delay] store: sslrootcert", Content::Pem),
            "sslcert" => ("[delay] store: sslcert", Content::Pem),
            "sslkey" => ("[delay] store: sslkey", Content::Pem),
            _ => continue,
        };
        files.add(setting, Some(path.into()), content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that lines of settings name.
    fn files(lines: &str) -> Vec<NamedFile> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        Settings::load(Some(file.path()), Vec::new()).unwrap().files()
    }

    fn names(lines: &str) -> Vec<(&'static str, String)> {
        let shown = |file: NamedFile| (file.setting, file.path.display().to_string());
        files(lines).into_iter().map(shown).collect()
    }

    #[test]
    fn what_run_reads_is_named_by_its_setting() {
        let own = "amqp = { enabled = true, password_file = '/p', ca_file = '/ca', cert_file = '/c', key_file = '/k' }\n\
                   mo = { enabled = true, client_id = 'x', client_secret_file = '/m', ca_file = '/mca' }\n\
                   http.token_file = '/t'\n\
                   delay = { store = 'postgres://h/d?sslrootcert=%2Froot%20s.pem&sslcert=/dc&sslkey=/dk', password_file = '/d' }";
        let expected = [
            ("[amqp] password_file", "/p"),
            ("[amqp] ca_file", "/ca"),
            ("[amqp] cert_file", "/c"),
            ("[amqp] key_file", "/k"),
            ("[delay] store: sslrootcert", "/root s.pem"),
            ("[delay] store: sslcert", "/dc"),
            ("[delay] store: sslkey", "/dk"),
            ("[delay] password_file", "/d"),
            ("[mo] client_secret_file", "/m"),
            ("[mo] ca_file", "/mca"),
            ("[http] token_file", "/t"),
        ];
        // The password's file cannot be read, and then nobody knows what the URL names.
        assert_eq!(names(own), expected.map(|(setting, path)| (setting, path.to_owned())));
        let url = "amqp = { enabled = true, url = 'amqps://a,b/?cacertfile=/ca&certfile=/c&keyfile=/k', cert_file = '/own' }";
        let expected = [
            ("[amqp] cert_file", "/own"),
            ("[amqp] url: cacertfile", "/ca"),
            ("[amqp] url: keyfile", "/k"),
        ];
        assert_eq!(names(url), expected.map(|(setting, path)| (setting, path.to_owned())));
    }

    #[test]
    fn what_run_does_not_read_is_not_named() {
        let unread = "amqp.password_file = '/p'\nmo.ca_file = '/ca'\ndelay.password_file = '/d'";
        assert_eq!(files(unread), []);
        let system = "delay.store = 'postgres://h/d?sslrootcert=system'";
        assert_eq!(files(system), []);
    }

    #[test]
    fn what_is_in_a_file_is_not_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "http://mo:hunter2@host").unwrap();
        let path = file.path().display().to_string();
        let lines = format!("amqp = {{ enabled = true, url_file = '{path}' }}");
        let error = format!("{:#}", files(&lines)[0].check().unwrap_err());
        assert!(error.contains(&path) && !error.contains("hunter2"), "{error}");
    }
}
