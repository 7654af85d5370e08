//! What libpq, PostgreSQL's own client library, takes from elsewhere if a URL does not say
//! it: a service file, and variables called `PG…`.

use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is escaped in a value: all but what means nothing anywhere in a URL, and the comma
/// between several hosts.
const SPECIAL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b',');

/// Parameters, and the variables that stand for them.
const VARIABLES: [(&str, &str); 15] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
];

/// Completes `postgres://…` by the service that it or the environment names, then by the
/// environment. `variable` and `read` say what is there.
///
/// # Errors
/// The service is in none of the files where it may be.
pub(super) fn complete(
    url: &str,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<String, String> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parameters: Vec<&str> = query.split('&').filter(|text| !text.is_empty()).collect();
    let name = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_owned();
    let mut given: Vec<String> = parameters.iter().map(|parameter| name(parameter)).collect();
    given.extend(in_address(address).map(str::to_owned));

    let service = parameters.iter().find_map(|parameter| parameter.strip_prefix("service="));
    let service = service.map(str::to_owned).or_else(|| variable("PGSERVICE"));
    parameters.retain(|parameter| !parameter.starts_with("service="));
    let mut completed = match parameters.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", parameters.join("&")),
    };
    let mut add = |key: &str, value: &str| {
        if !given.iter().any(|other| other == key) {
            given.push(key.to_owned());
            completed = with_parameter(&completed, key, value);
        }
    };
    if let Some(service) = service {
        for (key, value) in in_files(&service, &variable, &read)? {
            add(&key, &value);
        }
    }
    for (key, name) in VARIABLES {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            add(key, &value);
        }
    }
    Ok(completed)
}

/// The URL with another parameter, the last one.
pub(super) fn with_parameter(url: &str, key: &str, value: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{key}={}", utf8_percent_encode(value, SPECIAL))
}

/// Whether a URL says where the database is.
pub(super) fn names_host(url: &str) -> bool {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let is_host =
        |parameter: &str| ["host=", "hostaddr="].iter().any(|key| parameter.starts_with(key));
    in_address(address).any(|key| key == "host") || query.split('&').any(is_host)
}

/// The parameters that stand before the question mark.
fn in_address(address: &str) -> impl Iterator<Item = &'static str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let has_password = user.contains(':');
    let has_host = !hosts.is_empty();
    // A host without a port has the usual one.
    let found = [
        ("user", !user.is_empty() && !user.starts_with(':')),
        ("password", has_password),
        ("host", has_host),
        ("hostaddr", has_host),
        ("port", has_host),
        ("dbname", !path.is_empty()),
    ];
    found.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key)
}

/// What the files say of a service: the user's, or else the system's.
fn in_files(
    service: &str,
    variable: &impl Fn(&str) -> Option<String>,
    read: &impl Fn(&Path) -> io::Result<String>,
) -> Result<Vec<(String, String)>, String> {
    let home = variable("HOME").map(|home| Path::new(&home).join(".pg_service.conf"));
    let own = variable("PGSERVICEFILE").map(PathBuf::from).or(home);
    let folder = variable("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".into());
    let files: Vec<PathBuf> =
        own.into_iter().chain([Path::new(&folder).join("pg_service.conf")]).collect();
    for file in &files {
        let found = read(file).ok().and_then(|text| section(&text, service));
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(format!("there is no service {service:?} in {}", files.join(" or ")))
}

fn section(text: &str, service: &str) -> Option<Vec<(String, String)>> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| *line == format!("[{service}]"))?;
    let own = lines.take_while(|line| !line.starts_with('['));
    let pairs = own.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    Some(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(url: &str, variables: &[(&str, &str)], file: &str) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        complete(url, variable, |path| match path == Path::new("/home/mo/.pg_service.conf") {
            true => Ok(file.to_owned()),
            false => Err(io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn what_a_url_says_stays() {
        let url = "postgres://mo:secret@h1:5432,h2:5433/delays?target_session_attrs=read-write";
        let variables = [("PGHOST", "other"), ("PGUSER", "other"), ("PGPASSWORD", "other")];
        assert_eq!(completed(url, &variables, "").unwrap(), url);
        assert_eq!(completed("postgres://h/d", &[], "").unwrap(), "postgres://h/d");
    }

    #[test]
    fn what_it_does_not_say_comes_from_the_environment() {
        let variables = [("PGHOST", "/run/pg"), ("PGPASSWORD", "a&b c"), ("PGDATABASE", "delays")];
        assert_eq!(
            completed("postgres://mo@/", &variables, "").unwrap(),
            "postgres://mo@/?host=%2Frun%2Fpg&dbname=delays&password=a%26b%20c"
        );
    }

    #[test]
    fn somewhere_there_must_be_a_host() {
        for url in ["postgres://h/d", "postgres://mo:pw@h1,h2/d", "postgres:///d?host=%2Frun"] {
            assert!(names_host(url), "{url}");
        }
        for url in ["postgres://", "postgres:///d?user=mo", "postgres://mo:pw@/d"] {
            assert!(!names_host(url), "{url}");
        }
    }

    #[test]
    fn a_service_comes_before_the_environment() {
        let file =
            "[other]\nhost=wrong\n[mo]\n# ours\nhost=db1,db2\nport=5432\nuser = mo\n[last]\nhost=x";
        let variables = [("HOME", "/home/mo"), ("PGHOST", "wrong"), ("PGDATABASE", "delays")];
        let expected = "postgres://?host=db1,db2&port=5432&user=mo&dbname=delays";
        assert_eq!(completed("postgres://?service=mo", &variables, file).unwrap(), expected);
        let error = completed("postgres://?service=none", &variables, file).unwrap_err();
        assert!(error.contains("\"none\"") && error.contains("/home/mo"), "{error}");
    }
}
