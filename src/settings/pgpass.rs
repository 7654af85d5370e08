//! libpq's password file: `~/.pgpass`, or the file that the URL's `passfile` or `PGPASSFILE`
//! names. Each of its lines is `host:port:database:user:password`.
//! Source: <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The password for the database of a URL that has none; none either if the file is not
/// there or says nothing of it. `variable` and `read` say what is there.
///
/// # Errors
/// The file cannot be read, or others can read it.
pub(super) fn password(
    url: &str,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<Option<String>, String> {
    // What is wrong with a URL is told by who connects with it.
    let Ok(config) = where_to(url).parse::<Config>() else { return Ok(None) };
    let home = || variable("HOME").map(|home| Path::new(&home).join(".pgpass"));
    let named = parameter(url, "passfile").or_else(|| variable("PGPASSFILE"));
    let file = named.map(PathBuf::from).or_else(home);
    let Some(file) = file.filter(|_| config.get_password().is_none()) else { return Ok(None) };
    match read(&file) {
        Ok(text) => Ok(find(&text, &config)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} has the database's password: {error}", file.display())),
    }
}

/// A parameter of a URL; none if it is not UTF-8.
fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let (_, value) = pairs.find(|(other, _)| *other == name)?;
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

/// The URL with no other parameters than those that a line can be about.
fn where_to(url: &str) -> String {
    const ABOUT: [&str; 6] = ["host", "hostaddr", "port", "dbname", "user", "password"];
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let name = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_owned();
    let kept = query.split('&').filter(|parameter| ABOUT.contains(&&*name(parameter)));
    format!("{address}?{}", kept.collect::<Vec<_>>().join("&"))
}

/// Reads a file that only its owner may read.
pub(super) fn read_private(file: &Path) -> io::Result<String> {
    let mode = std::fs::metadata(file)?.permissions().mode();
    match mode & 0o077 {
        0 => std::fs::read_to_string(file),
        _ => Err(io::Error::other(format!(
            "its mode is {:03o}, so that others can read it: chmod 600 {}",
            mode & 0o777,
            file.display()
        ))),
    }
}

/// The password in the first line that matches. Of several hosts the first one counts.
fn find(text: &str, config: &Config) -> Option<String> {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => "localhost".into(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user().unwrap_or_default();
    let wanted = [&*host, &*port, config.get_dbname().unwrap_or(user), user];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let (password, patterns) = fields.split_last()?;
        let matches = patterns.len() == wanted.len()
            && patterns.iter().zip(wanted).all(|(field, wanted)| match field {
                Field { text, is_plain: true } if text == "*" => true,
                Field { text, .. } => text == wanted,
            });
        matches.then(|| password.text.clone())
    })
}

/// A part of a line; `is_plain` without a backslash, so that `*` stands for anything.
struct Field {
    text: String,
    is_plain: bool,
}

/// The parts of a line, where a backslash takes the meaning of what follows it.
fn fields(line: &str) -> Vec<Field> {
    let mut fields = vec![Field { text: String::new(), is_plain: true }];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == ':' {
            fields.push(Field { text: String::new(), is_plain: true });
        } else if let Some(field) = fields.last_mut() {
            let is_escape = letter == '\\';
            field.is_plain &= !is_escape;
            field.text.push(if is_escape { letters.next().unwrap_or(letter) } else { letter });
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password_in(file: &'static str, url: &str) -> Option<String> {
        let variable = |name: &str| (name == "HOME").then(|| "/home/mo".to_owned());
        password(url, variable, |path| {
            assert_eq!(path, Path::new("/home/mo/.pgpass"));
            Ok(file.to_owned())
        })
        .unwrap()
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let file = "# ours\ndb1:5432:mo:router:first\ndb1:*:*:router:second\n*:*:*:*:last";
        let found = |url| password_in(file, url);
        assert_eq!(found("postgres://router@db1/mo").as_deref(), Some("first"));
        assert_eq!(found("postgres://router@db1:5433/mo").as_deref(), Some("second"));
        assert_eq!(found("postgres://router@db2,db1/mo").as_deref(), Some("last"));
        assert_eq!(found("postgres://router:known@db1/mo"), None, "a URL's own password stays");
        let encrypted = "postgres://router@db1/mo?sslrootcert=ca.pem";
        assert_eq!(found(encrypted).as_deref(), Some("first"));
        assert_eq!(password_in("db1:5432:mo:other:x", "postgres://router@db1/mo"), None);
        assert_eq!(password_in("too:few", "postgres://router@db1/mo"), None);
    }

    #[test]
    fn a_url_or_its_service_can_name_the_file() {
        let variable = |name: &str| (name == "PGPASSFILE").then(|| "/other".to_owned());
        let found = password("postgres://router@db1/mo?passfile=%2Frun%2Fmo", variable, |path| {
            assert_eq!(path, Path::new("/run/mo"));
            Ok("*:*:*:*:secret".to_owned())
        });
        assert_eq!(found.unwrap().as_deref(), Some("secret"));
    }

    #[test]
    fn special_characters_are_escaped() {
        let file = r"%2Fno:*:*:*:no
/run/pg:5432:\*:*:no
/run/pg:5432:mo:router:a\:b\\c*";
        let found = password_in(file, "postgres://router@%2Frun%2Fpg/mo");
        assert_eq!(found.as_deref(), Some(r"a:b\c*"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "*:*:*:*:secret").unwrap();
        let found = || {
            let variable =
                |name: &str| (name == "PGPASSFILE").then(|| file.path().display().to_string());
            password("postgres://router@db1/mo", variable, read_private)
        };
        assert_eq!(found().unwrap().as_deref(), Some("secret"));
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o640)).unwrap();
        let error = found().unwrap_err();
        assert!(error.contains("640") && error.contains("chmod 600"), "{error}");
    }
}
